"""Whom an OAuth server asks about people: it knows no password and keeps no session."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["People", "Person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may allow a client something."""

    id: str
    name: str
    """As the consent page greets them."""
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    """What `userinfo` tells, by scope: `{"email": {"email": "ann@example.com", "email_verified": False}}`."""
    signed_in_us: int | None = None
    """When they signed in, microseconds since the epoch. None: it is not known, and then not told."""


class People(Protocol):
    """Knows who is signed in, and who is still there."""

    async def signed_in(self, scope: Mapping[str, Any]) -> Person | None:
        """Return whose session a request (an ASGI scope) carries. None: nobody's."""
        ...

    async def find(self, person_id: str) -> Person | None:
        """Return somebody who may still sign in. None: there is no such person any more."""
        ...

    def sign_in(self, back: str) -> str:
        """Return the path where one signs in and comes back to `back`, a path of the same host."""
        ...
