"""What goes wrong with a cache, told by what the caller can do about it."""

from collections.abc import Sequence

from archstone.errors import BackendError, ConfigError, InvalidError, RejectedError

__all__ = [
    "CacheBusyError",
    "CacheClosedError",
    "CacheConfigError",
    "CacheStoreError",
    "KeyTemplateError",
    "UncacheableError",
    "UnknownStoreError",
    "WriteBehindFullError",
]


class CacheConfigError(ConfigError, code="cache.config"):
    """A cache cannot work as it was described."""

    def __init__(self, cache: str, fault: str) -> None:
        super().__init__(cache, fault)
        self.cache = cache
        self.fault = fault

    def __str__(self) -> str:
        return f"cache {self.cache!r}: {self.fault}"


class CacheClosedError(ConfigError, code="cache.closed"):
    """A cache is used before it is open or after it is closed. Nothing was done."""

    def __init__(self, cache: str) -> None:
        super().__init__(cache)
        self.cache = cache

    def __str__(self) -> str:
        return f"cache {self.cache!r} is not open: nothing was done; use it inside `async with cache:`"


class UnknownStoreError(ConfigError, code="cache.unknown-store"):
    """No store answers to the scheme of a URL."""

    def __init__(self, scheme: str, known: Sequence[str]) -> None:
        super().__init__(scheme, known)
        self.scheme = scheme
        self.known = known

    def __str__(self) -> str:
        return f"no cache store for {self.scheme!r}: known are {', '.join(self.known)}; install the plug-in, or mend it"


class KeyTemplateError(ConfigError, code="cache.key-template"):
    """The template of a key or a tag names what the function does not have."""

    def __init__(self, template: str, fault: str) -> None:
        super().__init__(template, fault)
        self.template = template
        self.fault = fault

    def __str__(self) -> str:
        return f"key template {self.template!r}: {self.fault}"


class UncacheableError(InvalidError, code="cache.uncacheable", status=500):
    """A value cannot be part of a key, or cannot be written down. Nothing was kept."""

    def __init__(self, what: str, fault: str) -> None:
        super().__init__(what, fault)
        self.what = what
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.what}: {self.fault}"


class CacheBusyError(RejectedError, code="cache.busy"):
    """So many loads wait for their turn at the origin that no more are taken. This one was not begun."""

    def __init__(self, cache: str, waiting: int, retry_after_s: float) -> None:
        super().__init__(cache, waiting, retry_after_s)
        self.cache = cache
        self.waiting = waiting
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"cache {self.cache!r}: {self.waiting} loads wait for the origin, which is the limit; this one was not "
            f"begun, try again in {self.retry_after_s:g} s"
        )


class WriteBehindFullError(RejectedError, code="cache.behind-full"):
    """So many values wait to be saved at the origin that no more are taken. This one was not."""

    def __init__(self, name: str, pending: int, retry_after_s: float) -> None:
        super().__init__(name, pending, retry_after_s)
        self.name = name
        self.pending = pending
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"write-behind {self.name!r}: {self.pending} values wait for the origin, which is the limit; nothing was "
            f"done, try again in {self.retry_after_s:.1f} s, and see why saving does not keep up"
        )


class CacheStoreError(BackendError, code="cache.store"):
    """The store of a cache failed or is away; the cause says how. An invalidation may not have taken effect."""

    def __init__(self, store: str, what: str) -> None:
        super().__init__(store, what)
        self.store = store
        self.what = what

    def __str__(self) -> str:
        return f"cache store {self.store!r} failed at {self.what}; see the cause, and repeat an invalidation"
