"""Fetch a picture by way of `archstone.security.Outgoing`: whatever is no picture with 200 is an `ImageError`."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from archstone.security import Allowed, Outgoing, OutgoingBounds, OutgoingError, Resolve
from archstone.systems.shop.images.bounds import ImageBounds
from archstone.systems.shop.images.failures import ImageError

__all__ = ["Fetch", "Fetcher"]

_WANTED: Final = {"Accept": "image/avif, image/webp, image/png, image/jpeg, image/gif"}

Fetch = Callable[[str], Awaitable[bytes]]
"""Returns what is found at an address, or raises ImageError."""


class Fetcher:
    """Fetches pictures. It keeps no connection and remembers nothing."""

    def __init__(
        self,
        allowed: Allowed,
        bounds: ImageBounds,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Say whom to trust, and for how long to wait; see `Outgoing`."""
        limits = OutgoingBounds(answer_bytes=bounds.original_bytes, total_s=bounds.fetch_s, connect_s=bounds.connect_s)
        self._outgoing = Outgoing(allowed, limits, resolve=resolve, tls=tls, agent="archstone-shop")

    async def fetch(self, url: str) -> bytes:
        """Return what is found at an address. Cancelled, or failed, it leaves no connection behind.

        Raises:
            ImageError: there is nothing, or it may not be asked for.
        """
        try:
            found = await self._outgoing.fetch(url, headers=_WANTED)
        except OutgoingError as error:
            raise ImageError(error.fault, error.why, host=error.host, dead=error.dead) from error
        if found.status != 200:
            raise ImageError("answer", f"status {found.status}")
        return found.body
