"""Values kept near, and forgotten in time: cache-aside, tags, no stampedes, in memory, on Redis, in tiers.

    Cache                     get, set, load, aside, invalidate           start here
    Life                      how long values are good for
    Store                     where entries are kept: the port, with `archstone.cache.testing.StoreConformance`
    codec_for, Codec          values to bytes, typed
    WriteBehind               durable at once, at the origin a little later
    key_of                    keys and tags by hand
    invalidates               a handler that invalidates by event
    warm                      load before the traffic comes

A store is chosen by URL (`memory:`, `sqlite:///cache.db`, `redis://...`, or tiers of them). A cache works alone,
without a System.
"""

from archstone.cache.behind import Pace, WriteBehind, WriteBehindStatistics
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
    WriteBehindFullError,
)
from archstone.cache.events import Invalidation, WrongTags, invalidates
from archstone.cache.keys import key_of
from archstone.cache.life import Life
from archstone.cache.store import Busy, Entry, Lease, Store, StoreCounts, Write
from archstone.cache.warming import Warmed, warm

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
    "Invalidation",
    "KeyTemplateError",
    "Lease",
    "Life",
    "Pace",
    "Store",
    "StoreCounts",
    "TypedCodec",
    "UncacheableError",
    "UnknownStoreError",
    "Warmed",
    "Write",
    "WriteBehind",
    "WriteBehindFullError",
    "WriteBehindStatistics",
    "WrongTags",
    "codec_for",
    "invalidates",
    "key_of",
    "warm",
]
