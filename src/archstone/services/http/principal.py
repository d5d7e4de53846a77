"""Who asks, as it travels between services.

The gateway verifies a bearer token once. Behind it the principal travels in the `Archstone-Principal` header, in a
form that a `PrincipalCodec` writes and trusts. Not for the outside: the gateway never reads that header.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from archstone.context import NOBODY, Principal
from archstone.services.http.asgi import Headers
from archstone.services.http.errors import BadRequestError
from archstone.services.http.headers import PRINCIPAL

__all__ = ["PrincipalCodec", "PrincipalHook", "nobody", "read_with"]

PrincipalHook = Callable[[Headers], Principal | Awaitable[Principal]]
"""Says who asks, from the request's headers (lower-case bytes). Raises DeniedError for a credential it refuses."""


class PrincipalCodec(Protocol):
    """Writes a principal for another process, so that it can tell that a process of the same system wrote it."""

    def encode(self, principal: Principal) -> str:
        """Return visible ASCII text, at most 4 KiB."""
        ...

    def decode(self, text: str) -> Principal:
        """Return the principal; raise DeniedError if the text was not written by `encode` with the same secret."""
        ...


def nobody(headers: Headers) -> Principal:  # noqa: ARG001 - the form of a PrincipalHook
    """Take every request as coming from somebody who has not signed in."""
    return NOBODY


def read_with(codec: PrincipalCodec) -> PrincipalHook:
    """Return the hook that reads the header which an HttpTransport with the same codec writes."""

    def read(headers: Headers) -> Principal:
        raw = headers.get(PRINCIPAL)
        if raw is None:
            return NOBODY
        try:
            text = raw.decode("ascii")
        except UnicodeDecodeError:
            raise BadRequestError("header archstone-principal", "must be visible ASCII") from None
        return codec.decode(text)

    return read
