"""How values are read: by hand, as most programs begin, and with each defence against the herd.

A naive reader looks, loads and keeps, and so do a thousand others beside it. `TTL jitter` and `breaker` are added to
exactly that. The other defences are those of `Cache.load`, which makes one load per key whatever else it is told: what
they add to coalescing is that nobody waits for the load.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from archstone.cache import Cache
from archstone.lab.herd.scene import Scene
from archstone.resilience import Breaker, Ratio

__all__ = ["DEFENCES", "Defence", "Load"]

Load = Callable[[str], Awaitable[bytes]]
"""Takes a key and returns its value."""

_NO_BOUND: Final = 1_000_000
_JITTER_RATIO: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """A way to read."""

    name: str
    about: str
    """What it does, in one sentence."""
    one_load: bool = False
    """Whether all who ask for a key at once share a load; else each looks, loads and keeps."""
    jitter_ratio: float = 0.0
    early_beta: float | None = None
    refresh_ahead_ratio: float | None = None
    stale_ratio: float = 0.0
    """For so many times its life a value is served after its end, while it is loaded anew or if that fails."""
    breaker: bool = False
    """Whether one is before the origin: it opens when half of the loads take half of a reader's patience, or fail."""
    bounded: bool = False
    """Whether no more loads are under way than the origin has places."""

    def cache(self, scene: Scene) -> Cache:
        """Return the cache, not yet open."""
        stale_s = self.stale_ratio * scene.ttl_s
        return Cache(
            "memory:",
            name="herd",
            load_limit_s=scene.patience_s,
            max_loads=scene.places if self.bounded else _NO_BOUND,
            max_waiting=_NO_BOUND,
            ttl_s=scene.ttl_s,
            jitter_ratio=self.jitter_ratio,
            early_beta=self.early_beta,
            refresh_ahead_ratio=self.refresh_ahead_ratio,
            stale_while_revalidate_s=stale_s,
            stale_if_error_s=stale_s,
        )

    def reader(self, cache: Cache, origin: Load, scene: Scene) -> Load:
        """Return what a reader calls: through `cache` to `origin`."""
        load = _breaker_of(scene).bind("origin")(origin) if self.breaker else origin

        async def naive(key: str) -> bytes:
            value = await cache.get(key, bytes)
            if value is None:
                value = await load(key)
                await cache.set(key, value)
            return value

        async def coalesced(key: str) -> bytes:
            return await cache.load(key, lambda: load(key), bytes)

        return coalesced if self.one_load else naive


def _breaker_of(scene: Scene) -> Breaker:
    long_s = scene.patience_s / 2
    return Breaker(Ratio(0.5, over_s=long_s, min_calls=20), open_s=long_s / 2, slow_s=long_s, trials=4)


DEFENCES: Final = (
    Defence(name="naive", about="look, load, keep: everybody for himself"),
    Defence(
        name="TTL jitter",
        about="up to three tenths of each life are taken off by chance",
        jitter_ratio=_JITTER_RATIO,
    ),
    Defence(name="coalescing", about="one load for all who ask for a key at once", one_load=True),
    Defence(
        name="early refresh",
        about="one load, begun by chance before the end, the likelier the nearer",
        one_load=True,
        early_beta=1.0,
    ),
    Defence(
        name="refresh-ahead",
        about="one load, begun by the first reader in the last fifth of the life",
        one_load=True,
        refresh_ahead_ratio=0.8,
    ),
    Defence(
        name="stale-while-revalidate",
        about="one load after the end, and the old value meanwhile",
        one_load=True,
        stale_ratio=1.0,
    ),
    Defence(
        name="breaker",
        about="as naive, but an origin that is late or fails is left alone for a while",
        breaker=True,
    ),
    Defence(
        name="all together",
        about="all of these, and no more loads at once than the origin has places",
        one_load=True,
        jitter_ratio=_JITTER_RATIO,
        early_beta=1.0,
        stale_ratio=1.0,
        breaker=True,
        bounded=True,
    ),
)
