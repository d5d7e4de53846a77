"""Which store answers to a URL scheme. Built-in and plugged-in stores are found the same way, when asked."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, cast

from archstone.cache.errors import CacheConfigError, UnknownStoreError
from archstone.cache.store import Store
from archstone.plugins import Implementations

__all__ = ["ENTRY_POINTS", "find_store", "find_stores"]

ENTRY_POINTS: Final = "archstone.cache_stores"
"""Entry-point group: name is the URL scheme, value a callable that takes the URL and returns a `Store`."""

_STORES: Final = Implementations[Callable[[str], Store]](
    ENTRY_POINTS,
    {
        "memory": "archstone.cache.stores.memory:MemoryStore.from_url",
        "redis": "archstone.cache.stores.redis:RedisStore",
        "rediss": "archstone.cache.stores.redis:RedisStore",
        "sqlite": "archstone.cache.stores.sqlite:SqliteStore",
    },
)


def find_store(url: str) -> Store:
    """Return the store that `url` names, not yet open.

    Raises:
        UnknownStoreError: No store answers to the scheme.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    make = _STORES.find(scheme)
    if make is None:
        raise UnknownStoreError(scheme, _STORES.names())
    return make(url)


def find_stores(stores: Sequence[str | Store]) -> Store:
    """Return what `["memory:", far]` means: `far` behind a near store in memory.

    Raises:
        CacheConfigError: They are not two, or the first is not `memory:`.
    """
    near, far = stores if len(stores) == 2 else ("", "")
    if not isinstance(near, str) or not near.startswith("memory:"):
        fault = "tiers are two: memory: first, then the store that processes share"
        raise CacheConfigError(f"{len(stores)} tiers", fault)
    module = import_module("archstone.cache.stores.tiers")
    make = cast("Callable[[str, Store], Store]", module.Tiers.from_url)
    return make(near, find_store(far) if isinstance(far, str) else far)
