"""The shop window: what is only looked at, kept near, and taken out when it is wrong.

Pages and lists of products are asked for far more often than anything about them changes. The services that have them
read them through the window; whatever decides anything (an order's prices, what is held, what the checkout shows) asks
the database.

    return await self.window.shown(f"product:{sku}", load, Product, tags=(f"product:{sku}", ALL))

What makes something wrong is an event: `WRONG` says which, for everybody. In the process that publishes it, nothing
wrong is shown from its commit on, so whoever has changed something sees it. Another process that shares the cache or
has one of its own subscribes `invalidation` to the bus, each under a group of its own, and shows it until the event
arrives. Whatever happens, nothing is shown that is older than `KEEP_S`.

Not for what must be right, and not for what differs from visitor to visitor.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from archstone.cache import Cache, CacheStoreError, Invalidation, WrongTags, invalidates
from archstone.data import Database, Envelope, Event
from archstone.observability import get_logger
from archstone.resilience import Exponential
from archstone.systems.shop.catalog.events import ProductChanged, ProductCreated, ProductsImported
from archstone.systems.shop.inventory.events import StockAdjusted, StockReleased, StockReserved, StockSold

__all__ = ["ALL", "KEEP_S", "LISTS", "WRONG", "Window"]

T = TypeVar("T")

KEEP_S: Final = 30.0
"""Seconds after which everything is read anew: the bound on what can be wrong in it."""
ALL: Final = "catalog"
"""Tag of everything that tells of products."""
LISTS: Final = "lists"
"""Tag of what tells of several: any of them may be in it."""
_AGAIN: Final = Exponential(0.1, cap_s=5.0)
_log = get_logger("archstone.shop.window")


def _stock(event: StockReserved | StockSold | StockReleased) -> Iterable[str]:
    return [f"stock:{line.sku}" for line in event.lines]


def _adjusted(event: StockAdjusted) -> Iterable[str]:
    return [f"stock:{sku}" for sku in event.skus]


WRONG: Final[Mapping[type[Event], WrongTags]] = {
    ProductCreated: ("product:{sku}", LISTS),
    ProductChanged: ("product:{sku}", LISTS),
    ProductsImported: (ALL,),
    StockReserved: _stock,
    StockSold: _stock,
    StockReleased: _stock,
    StockAdjusted: _adjusted,
}
"""What each event makes wrong."""


class Window:
    """Over one cache, which it opens and closes with `async with`."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.invalidation: Invalidation = invalidates(cache, WRONG)
        """A handler for a bus: for processes that do not publish these events themselves."""
        self._wrong: dict[str, int] = {}
        """Tags that are wrong by a commit of this process and not yet invalidated, and which time."""
        self._turn = 0
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.cache.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.wait([work])
        await self.cache.__aexit__(kind, error, traceback)

    def watch(self, db: Database) -> None:
        """Hear of what transactions of `db` publish, at once."""
        db.published.append(self._heard)

    async def shown(self, key: str, load: Callable[[], Awaitable[T]], kind: type[T], *, tags: Sequence[str]) -> T:
        """Return what is in the window under `key`; put it there if it is not.

        Args:
            key: Names it, among everything.
            load: Reads it. It runs for all who ask at once, as nobody.
            kind: Type of it.
            tags: By which it is taken out.
        """
        if self._wrong and not self._wrong.keys().isdisjoint(tags):
            return await load()
        return await self.cache.load(key, load, kind, tags=tags)

    def _heard(self, envelopes: Sequence[Envelope]) -> None:
        if tags := {tag for each in envelopes for tag in self.invalidation.tags(each)}:
            self.take_out(tags)

    def take_out(self, tags: Iterable[str]) -> None:
        """Show nothing of these tags any more that was read before. Call it on the loop, after the commit.

        Until the cache knows, what carries one of them is read from the database.
        """
        self._turn += 1
        self._wrong.update(dict.fromkeys(tags, self._turn))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._tell_cache(), name="shop window")

    async def _tell_cache(self) -> None:
        """Invalidate until nothing is wrong. A store that is away is told when it is back."""
        failures = 0
        while self._wrong:
            told = dict(self._wrong)
            try:
                await self.cache.invalidate(tag=told.keys())
            except CacheStoreError as error:
                failures += 1
                if failures == 1:
                    _log.warning("what is wrong is not taken out yet", tags=len(told), error=str(error))
                await asyncio.sleep(_AGAIN.delay_s(failures))
                continue
            failures = 0
            # What has become wrong once more meanwhile, was read before that.
            self._wrong = {tag: turn for tag, turn in self._wrong.items() if told.get(tag) != turn}
