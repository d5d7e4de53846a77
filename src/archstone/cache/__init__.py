"""Values kept near, and forgotten in time: cache-aside, tags, no stampedes, in memory, on Redis, in tiers.

    Cache                     get, set, load, aside, invalidate           start here
    Life                      how long values are good for
    Store                     where entries are kept: the port, with `archstone.cache.testing.StoreConformance`
    codec_for, Codec          values to bytes, typed
    key_of                    keys and tags by hand

A store is chosen by URL (`memory:`, `redis://...`, `sqlite:///cache.db`), and a cache works alone, without a System.
"""

from archstone.cache.cache import Cache, CacheStatistics
from archstone.cache.codec import BYTES, BytesCodec, Codec, TypedCodec, codec_for
from archstone.cache.errors import (
    CacheBusyError,
    CacheClosedError,
    CacheConfigError,
    CacheStoreError,
    KeyTemplateError,
    UncacheableError,
    UnknownStoreError,
)
from archstone.cache.keys import key_of
from archstone.cache.life import Life
from archstone.cache.store import Busy, Entry, Lease, Store, StoreCounts, Write

__all__ = [
    "BYTES",
    "Busy",
    "BytesCodec",
    "Cache",
    "CacheBusyError",
    "CacheClosedError",
    "CacheConfigError",
    "CacheStatistics",
    "CacheStoreError",
    "Codec",
    "Entry",
    "KeyTemplateError",
    "Lease",
    "Life",
    "Store",
    "StoreCounts",
    "TypedCodec",
    "UncacheableError",
    "UnknownStoreError",
    "Write",
    "codec_for",
    "key_of",
]
