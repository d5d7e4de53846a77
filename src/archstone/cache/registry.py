"""Which store answers to a URL scheme. Built-in and plugged-in stores are found the same way, when asked."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final, cast

from archstone.cache.errors import CacheConfigError, UnknownStoreError
from archstone.cache.store import Store

__all__ = ["ENTRY_POINTS", "find_store", "find_stores"]

ENTRY_POINTS: Final = "archstone.cache_stores"
"""Entry-point group: name is the URL scheme, value a callable that takes the URL and returns a `Store`."""

_BUILT_IN: Final = {
    "memory": "archstone.cache.stores.memory:MemoryStore.from_url",
    "redis": "archstone.cache.stores.redis:RedisStore",
    "sqlite": "archstone.cache.stores.sqlite:SqliteStore",
    "rediss": "archstone.cache.stores.redis:RedisStore",
}


def find_store(url: str) -> Store:
    """Return the store that `url` names, not yet open.

    Raises:
        UnknownStoreError: No store answers to the scheme.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    if (built_in := _BUILT_IN.get(scheme)) is not None:
        module, _, path = built_in.partition(":")
        made: object = import_module(module)
        for name in path.split("."):
            made = getattr(made, name)
        return cast("Callable[[str], Store]", made)(url)
    plugged = entry_points(group=ENTRY_POINTS)
    for found in plugged.select(name=scheme):
        return cast("Callable[[str], Store]", found.load())(url)
    raise UnknownStoreError(scheme, sorted({*_BUILT_IN, *plugged.names}))


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
