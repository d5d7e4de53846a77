"""What a load model hands to the lab: what to send and when, and what to find out afterwards.

A system's `traffic.py` has one object, `load`, of the form `Load`. The lab knows nothing of products and orders.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol

from archstone.lab.http import Http

__all__ = ["Kept", "Load", "Shot"]


class Shot(NamedTuple):
    """One request, in the form in which it goes over the wire."""

    at_s: float
    """When it is due, seconds from the first instant of its phase."""
    kind: str
    """What the report calls it: `browse`, `checkout`."""
    head: bytes
    """Request line and its own headers, each line with its end. Host and Content-Length are added."""
    sender: int
    """Whose headers go with it: an index into what `Load.prepare` returned."""
    body: bytes = b""
    note: Any = None
    """If not None, the body of a good answer is kept beside it for `Load.settle`."""


Kept = tuple[Any, bytes]
"""The note of a shot, and the body of its good answer."""


class Load(Protocol):
    """A system's load model."""

    async def prepare(self, http: Http, *, rate_per_s: float, tell: Callable[[str], None]) -> Sequence[bytes]:
        """Make ready whoever will send, and return the headers of each, each line with its end.

        Args:
            http: Asks the system.
            rate_per_s: The highest rate to come: how many senders are needed follows from it.
            tell: Takes a line for the person who waits.
        """
        ...

    def shots(self, *, rate_per_s: float, duration_s: float, chance: Random) -> list[Shot]:
        """Return what to send in a phase, by time. The same chance gives the same shots."""
        ...

    async def settle(self, http: Http, kept: Sequence[Kept]) -> Mapping[str, Any]:
        """Find out what became of what was accepted: figures by name, `None` for what cannot be known."""
        ...
