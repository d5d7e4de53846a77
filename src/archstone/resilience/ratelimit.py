"""How often one key may come.

    limiter = RateLimit(10, burst=20).bind("api")
    limiter.take(principal.id)                  # or RateLimitedError with retry_after_s
    await limiter.turn(principal.id)            # waits for its turn where `max_wait_s` allows it

    @RateLimit.leaky(5, waiting=50)             # one every 0.2 s, the others wait in line
    async def send(mail: Mail) -> None: ...

Three limits. A *bucket* (the default) lets a rested key take a burst and then a steady rate. It is kept as one number,
the instant at which the key will have paid for all it took: the generic cell rate algorithm, which decides as a token
bucket does. A *leaky* one is a bucket of burst 1 whose callers wait in line: calls leave evenly spaced. A *sliding
window* counts the takes of this window and of the one before: so many in a minute, which is what people are told.

Not shared between processes unless a store is given (`bind(name, store=...)`). Not for threads, except through
`archstone.blocking`: call it on the loop's.

Source: ITU-T I.371 (virtual scheduling form), with a cost per take. Cloudflare 2017, "How we built rate limiting
capable of scaling to millions of domains" (the sliding window counter).
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, overload

from archstone.resilience.callables import name_of
from archstone.resilience.check import SettingsError, check
from archstone.resilience.limiter import Limiter

if TYPE_CHECKING:
    from archstone.resilience.shared import SharedLimiter
    from archstone.resilience.store import SharedState, WithoutStore

__all__ = ["RateLimit"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often a key may come."""

    rate_per_s: float
    """Takes of cost 1 a second, in the long run. Above 0, finite."""
    _: KW_ONLY
    burst: float = 1.0
    """Takes of cost 1 that a rested key may make at once; with kind `window`, in a window. At least 1, finite."""
    kind: Literal["bucket", "window"] = "bucket"
    """`bucket`: a burst, then the rate. `window`: at most `burst` in `burst / rate_per_s` seconds, as far as two counts
    can tell: it takes the window before as evenly filled."""
    max_wait_s: float = 0.0
    """Longest that `turn`, or a decorated function, waits. At least 0, finite; 0: who comes too often is refused at
    once. Only for buckets."""
    max_keys: int = 100_000
    """Keys remembered. At least 1."""
    key: Callable[..., str] | None = None
    """For functions: takes the arguments of a call and returns its key. None: all calls are one key."""

    def __post_init__(self) -> None:
        check(
            self,
            rate_per_s=(0 < self.rate_per_s < float("inf"), "above 0 and finite"),
            burst=(1 <= self.burst < float("inf"), "at least 1 and finite"),
            kind=(self.kind in {"bucket", "window"}, "'bucket' or 'window'"),
            max_wait_s=(
                0 <= self.max_wait_s < float("inf") and (self.max_wait_s == 0 or self.kind == "bucket"),
                "at least 0 and finite, and 0 for a window",
            ),
            max_keys=(self.max_keys >= 1, "at least 1"),
        )

    @classmethod
    def sliding_window(cls, takes: float, *, seconds: float, key: Callable[..., str] | None = None) -> Self:
        """Return a limit of `takes` (at least 1) in any `seconds` (above 0)."""
        if not seconds > 0:
            raise SettingsError("RateLimit", (f"seconds={seconds!r} must be above 0",))
        return cls(takes / seconds, burst=takes, kind="window", key=key)

    @classmethod
    def leaky(cls, rate_per_s: float, *, waiting: int, key: Callable[..., str] | None = None) -> Self:
        """Return a limit that lets calls go evenly spaced, at most `waiting` (at least 0) of a key in line."""
        return cls(rate_per_s, max_wait_s=waiting / rate_per_s if rate_per_s > 0 else 0.0, key=key)

    @overload
    def bind(self, name: str) -> Limiter: ...
    @overload
    def bind(self, name: str, *, store: "SharedState", without_store: "WithoutStore" = ...) -> "SharedLimiter": ...
    @overload
    def bind(
        self, name: str, *, store: "SharedState | None", without_store: "WithoutStore" = ...
    ) -> "Limiter | SharedLimiter": ...
    def bind(
        self, name: str, *, store: "SharedState | None" = None, without_store: "WithoutStore" = "local"
    ) -> "Limiter | SharedLimiter":
        """Return a limiter with this policy and no memory yet.

        Args:
            name: In its errors and metrics. Limiters of one name in one store are one limiter.
            store: Where its count is kept, for all processes that use it. None: in this process.
            without_store: What is done while the store cannot be reached.
        """
        if store is None:
            return Limiter(name, self)
        from archstone.resilience.shared import SharedLimiter  # noqa: PLC0415 - it imports this module

        return SharedLimiter(name, self, store, without_store)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function`, plain or coroutine, behind a limiter of its own, named after it."""
        return self.bind(name_of(function))(function)

    def key_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the key of a call with these arguments."""
        return "" if self.key is None else self.key(*args, **kwargs)
