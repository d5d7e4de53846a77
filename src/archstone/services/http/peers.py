"""Who is at the other end of a connection: asked before a byte of a request is sent, and told to who serves it.

The client's half is a port, `PeerTls`; `archstone.security.mtls` has one by certificates of services. The server's half
is a `PrincipalHook` over what `PeersOnly` has found out: a service that calls by itself is itself.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final, Protocol

from archstone.context import Principal
from archstone.services.errors import NotSignedInError
from archstone.services.http.asgi import Headers
from archstone.services.http.headers import PRINCIPAL
from archstone.services.http.principal import PrincipalCodec, PrincipalHook, read_with

__all__ = ["NamedTls", "PeerTls", "peer_principal"]

PEER: Final = b"archstone-peer"
_SERVICE: Final = frozenset({"service"})


class PeerTls(Protocol):
    """How a client proves itself, and who the other side must be."""

    def context(self) -> ssl.SSLContext:
        """Return the context of a new connection. Those that were opened with another one are used no more."""
        ...

    def check(self, certificate: Mapping[str, Any] | None) -> None:
        """Refuse the other side by its certificate, verified already; raise a DeniedError."""
        ...


class NamedTls:
    """A server whose certificate has the name that it is called by, of an authority that the system trusts."""

    def __init__(self) -> None:
        self._context = ssl.create_default_context()

    def context(self) -> ssl.SSLContext:
        """Return the context, which compares the name itself."""
        return self._context

    def check(self, certificate: Mapping[str, Any] | None) -> None:
        """Look at nothing more."""


def peer_principal(codec: PrincipalCodec | None = None) -> PrincipalHook:
    """Return the hook for a service behind `PeersOnly`: who asks is whom the caller names, or else the caller.

    Args:
        codec: Reads for whom a service calls. None: every call is the calling service's own.
    """
    read = None if codec is None else read_with(codec)

    def hook(headers: Headers) -> Any:
        peer = headers.get(PEER)
        if peer is None:
            raise NotSignedInError("a call between services")
        if read is not None and PRINCIPAL in headers:
            return read(headers)
        return Principal(f"service:{peer.decode('ascii')}", _SERVICE)

    return hook
