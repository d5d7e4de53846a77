"""A picture of elsewhere, small: from the disk, or fetched once for all who wait for it.

Promise: who asks gets the picture or an `ImageError`, and no place of the shop is asked more often than need be: one
fetch for all who want the same, four at once, 64 waiting, beyond which all are refused at once. What failed is not
tried again for ten minutes, a host that does not answer for two. Cancelled, a caller leaves the fetch to the others;
it goes on alone too, since the next caller will want it.

Not for deciding what may be asked for: it fetches whatever address it is given (`mount.py` knows which are ours).
"""

import asyncio
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from archstone.observability import counter, get_logger
from archstone.systems.shop.images.bounds import ImageBounds
from archstone.systems.shop.images.failures import Failures, ImageError
from archstone.systems.shop.images.fetching import Fetch
from archstone.systems.shop.images.paths import key_of
from archstone.systems.shop.images.shared import Shared
from archstone.systems.shop.images.shrinking import checked, shrunk
from archstone.systems.shop.images.store import ImageStore

__all__ = ["ImageProxy"]

_fetches = counter("shop_image_fetches", "Pictures of elsewhere asked for, by what became of it.", ("outcome",))
_log = get_logger("archstone.shop.images")
_PASSING: Final = frozenset({"full", "disk", "known"})
"""Outcomes that say nothing new of the picture."""


class ImageProxy:
    """Fetches, makes small and keeps. Enter it before it is asked; leaving it ends what is under way."""

    def __init__(self, folder: Path, fetch: Fetch, bounds: ImageBounds) -> None:
        """Name the folder, who fetches, and how much there may be of it all."""
        self._fetch = fetch
        self._bounds = bounds
        self._store = ImageStore(folder, most_bytes=bounds.kept_bytes)
        self._failures = Failures()
        self._told = Failures()
        self._originals = Shared[None]("shop image fetch")
        self._smalls = Shared[bytes]("shop image")
        self._fetching = asyncio.Semaphore(bounds.fetches)
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._smalls.close()
        await self._originals.close()

    async def image(self, address: str, width: int) -> bytes:
        """Return a picture as WebP that fits a square of `width` pixels.

        Raises:
            ImageError: it cannot be had now.
        """
        key = key_of(address)
        name = f"{key}-{width}"
        if name not in self._smalls:
            if (kept := await self._store.get(name)) is not None:
                return kept
            if (error := self._failures.find(key)) is not None:
                raise error.again()
        if name not in self._smalls and len(self._smalls) >= self._bounds.fetches + self._bounds.waiting:
            _fetches.labels("full").inc()
            raise ImageError("full", f"{len(self._smalls)} pictures are waited for")
        return await self._smalls.wait(name, lambda: self._made(address, key, width))

    async def _made(self, address: str, key: str, width: int) -> bytes:
        """Make a picture small, for all who wait for this width of it, and keep it."""
        if key not in self._store:
            await self._originals.wait(key, lambda: self._fetched(address, key))
        async with self._making:  # one at a time, and so one original in memory
            original = await self._store.get(key)
            if original is None:
                raise ImageError("disk", "it is gone from the disk")
            try:
                small = await asyncio.to_thread(shrunk, original, width, most_pixels=self._bounds.pixels)
            except ImageError as error:
                await self._store.drop(key)
                self._note(key, error, host=_host_of(address))
                raise
        await self._store.put(f"{key}-{width}", small)
        return small

    async def _fetched(self, address: str, key: str) -> None:
        """Fetch a picture, for all who wait for some width of it, and keep it."""
        host = _host_of(address)
        try:
            self._refuse_dead(host)
            async with self._fetching:
                self._refuse_dead(host)  # it may have been found out while this one waited
                await self._store.put(key, checked(await self._fetch(address)))
        except ImageError as error:
            self._note(key, error, host=host)
            raise
        _fetches.labels("ok").inc()

    def _refuse_dead(self, host: str) -> None:
        if (error := self._failures.find(f"host {host}")) is not None:
            raise error.again()

    def _note(self, key: str, error: ImageError, *, host: str) -> None:
        """Count a failure, remember it, and tell of its host once in a while."""
        _fetches.labels(error.outcome).inc()
        if error.outcome in _PASSING:
            return
        host, bounds = error.host or host, self._bounds
        soon = error.dead or error.outcome == "late"
        self._failures.note(key, error, keep_s=bounds.dead_s if soon else bounds.failed_s)
        if error.dead:
            self._failures.note(f"host {host}", error, keep_s=bounds.dead_s)
        if self._told.find(host) is None:
            self._told.note(host, error, keep_s=bounds.failed_s)
            _log.warning("pictures of a host cannot be shown", host=host, outcome=error.outcome, why=error.why)


def _host_of(address: str) -> str:
    """Return the host that an address names, for those who look; the place to connect to is found by `place_of`."""
    try:
        return (urlsplit(address).hostname or "")[:253]
    except ValueError:
        return ""
