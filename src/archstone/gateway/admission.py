"""Who asks, and under which name they are counted."""

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final, Protocol

from archstone.context import NOBODY, Principal
from archstone.errors import DeniedError
from archstone.gateway.errors import TokenError
from archstone.services.http import Headers, Scope

__all__ = ["Claims", "Tokens", "Verify", "client_key", "principal_of"]

Verify = Callable[[str], Principal | Awaitable[Principal]]
"""Returns whose token it is, at once or after looking it up; raises DeniedError if it is not valid now."""

_BEARER: Final = re.compile(rb"bearer +([!-~]{1,8192})", re.IGNORECASE).fullmatch
_API_KEY: Final = re.compile(rb"[!-~]{1,200}").fullmatch


class Claims(Protocol):
    """What a verified token says, as far as the gateway cares."""

    @property
    def principal(self) -> Principal:
        """Whose token it is."""
        ...


class Tokens(Protocol):
    """Verifies access tokens: `archstone.security.Tokens`, or an adapter to another issuer."""

    def verify(self, text: str, /) -> Claims:
        """Return what the token says; raise DeniedError if it is not valid now."""
        ...


def principal_of(headers: Headers, verify: Verify) -> Principal | Awaitable[Principal]:
    """Return who asks: nobody if neither a token came nor an API key in `X-API-Key`.

    Raises:
        DeniedError: one came, and it is not valid (401). It is not passed over, or an expired session would look
            like a signed-out one.
    """
    raw, key = headers.get(b"authorization"), headers.get(b"x-api-key")
    if raw is None and key is None:
        return NOBODY
    if raw is not None and key is not None:
        raise TokenError("there are two: Authorization and X-API-Key")
    found = _BEARER(raw) if raw is not None else _API_KEY(key or b"")
    if found is None:
        raise TokenError("the header is not of the form 'Bearer <token>'")
    try:
        return verify((found[1] if raw is not None else found[0]).decode())
    except DeniedError as error:
        if error.status == 401:
            raise
        raise TokenError(str(error)) from error


def client_key(scope: Scope) -> str:
    """Return what an anonymous client is counted by: its address, for IPv6 its /64, since one host owns that many."""
    client: tuple[str, int] | None = scope.get("client")
    return "address:unknown" if client is None else _address_key(client[0])


@lru_cache(maxsize=4096)
def _address_key(host: str) -> str:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"address:{host}"
    if not isinstance(address, IPv6Address):
        return f"address:{address}"
    if address.ipv4_mapped is not None:
        return f"address:{address.ipv4_mapped}"
    return f"address:{IPv6Network((address, 64), strict=False)}"
