"""A rate limit in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import update_wrapper
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast

from archstone import context, world
from archstone.observability import counter
from archstone.resilience.callables import is_coroutine_function, refuse_generators
from archstone.resilience.check import SettingsError
from archstone.resilience.errors import RateLimitedError
from archstone.resilience.signals import Signal, tell

if TYPE_CHECKING:
    from archstone.resilience.ratelimit import RateLimit

__all__ = [
    "TOLERANCE_S",
    "Counted",
    "Limiter",
    "LimiterStatistics",
    "Turn",
    "check_cost",
    "count_in_window",
    "limited",
    "patience_s",
]

P = ParamSpec("P")
R = TypeVar("R")

TOLERANCE_S: Final = 1e-9
"""Clock readings are floats: a caller who waits exactly `retry_after_s` must not be refused for the last bit."""

_FORGOTTEN_PART: Final = 100
"""One of so many keys is forgotten at once."""

_refused = counter("archstone_rate_limited", "Takes refused, by limiter.", ("limiter",))
_forgotten = counter("archstone_rate_limit_forgotten", "Busy keys forgotten because the table was full.", ("limiter",))

Counted = tuple[int, float, float]
"""What a window knows of a key: number of the window, takes in it, takes in the one before."""


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """A limiter at one moment."""

    keys: int
    """Keys remembered; at most `max_keys`."""
    refused: int
    """Takes refused so far."""


def check_cost(policy: "RateLimit", cost: float) -> None:
    """Raise SettingsError for a cost that could never be taken."""
    if not 0 < cost <= policy.burst:
        raise SettingsError("Limiter", (f"cost={cost!r} must be above 0 and at most the burst {policy.burst:g}",))


def patience_s(policy: "RateLimit") -> float:
    """Return how long the caller may wait for its turn: not beyond its deadline."""
    deadline_s = context.current().deadline_s
    return policy.max_wait_s if deadline_s is None else min(policy.max_wait_s, deadline_s - world.monotonic())


def limited(name: str, policy: "RateLimit", key: str, retry_after_s: float) -> RateLimitedError:
    """Count a refused take and return what its caller is told."""
    _refused.labels(name).inc()
    error = RateLimitedError(name, key, retry_after_s, policy.rate_per_s)
    tell(Signal("limited", "ratelimit", name, error, retry_after_s))
    return error


def count_in_window(policy: "RateLimit", known: Counted | None, cost: float, now_s: float) -> tuple[Counted, float]:
    """Return what a window knows after a take, and 0; or what it knew, and how long until the take can work."""
    limit, length_s = policy.burst, policy.burst / policy.rate_per_s
    number, into = divmod(now_s / length_s, 1.0)
    here, before = 0.0, 0.0
    if known is not None and known[0] >= number - 1:
        here, before = (known[1], known[2]) if known[0] >= number else (0.0, known[1])
    counted = (int(number), here, before)
    if before * (1.0 - into) + here + cost <= limit + TOLERANCE_S:
        return (counted[0], here + cost, before), 0.0
    if here + cost <= limit:
        # The window before must fade until there is room.
        return counted, ((1.0 - (limit - here - cost) / before) - into) * length_s
    # This window is the one before then, and must fade.
    return counted, ((1.0 - into) + max(0.0, 1.0 - (limit - cost) / here)) * length_s


class TakesTurns(Protocol):
    """A limiter in this process, or one whose count is in a store."""

    async def turn(self, key: str, cost: float = ...) -> None:
        """Come back when the turn of `key` has come."""
        ...


class Turn:
    """One turn of a key: the `async with` block begins when it has come."""

    __slots__ = ("_key", "_limiter")

    def __init__(self, limiter: "TakesTurns", key: str) -> None:
        self._limiter = limiter
        self._key = key

    async def __aenter__(self) -> None:
        await self._limiter.turn(self._key)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Leave: what was taken stays taken."""


class Limiter:
    """A `RateLimit` with its memory.

    When the table is full the keys that have rested longest make room, one in a hundred at a time. A key that has paid
    for all it took loses nothing by that; a busy one gets a new burst, which is counted in
    `archstone_rate_limit_forgotten_total`.
    """

    __slots__ = (
        "_burst", "_counted", "_limit_s", "_max_keys", "_paid_at_s", "_refused", "_seconds_each", "name", "policy",
    )  # fmt: skip

    def __init__(self, name: str, policy: "RateLimit") -> None:
        self.name = name
        self.policy = policy
        self._seconds_each = 1.0 / policy.rate_per_s
        self._limit_s = policy.burst * self._seconds_each + TOLERANCE_S
        self._burst = policy.burst
        self._max_keys = policy.max_keys
        self._refused = 0
        # Ordered by the last successful take, so the first is the one that has rested longest.
        self._paid_at_s: dict[str, float] = {}
        self._counted: dict[str, Counted] | None = {} if policy.kind == "window" else None

    def __len__(self) -> int:
        """Return how many keys are remembered; at most `max_keys`."""
        return len(self._paid_at_s)

    def statistics(self) -> LimiterStatistics:
        """Return where it stands now."""
        return LimiterStatistics(len(self._paid_at_s), self._refused)

    def take(self, key: str, cost: float = 1.0, *, max_wait_s: float = 0.0) -> float:
        """Take `cost` (in (0, burst]) for `key`, now or at most `max_wait_s` from now. Refused, it costs nothing.

        Returns:
            Seconds that the caller must wait for its turn; 0 unless `max_wait_s` is given. See `turn`.

        Raises:
            RateLimitedError: Too often; `retry_after_s` is when this take can work.
            SettingsError: The cost is not above 0, or above the burst, so it could never work.
        """
        if self._counted is not None:
            return self._count(key, cost)
        if not 0 < cost <= self._burst:
            check_cost(self.policy, cost)
        paid = self._paid_at_s
        now_s = world.current().monotonic()  # one call less than world.monotonic()
        before_s = paid.pop(key, 0.0)
        next_s = (now_s if now_s > before_s else before_s) + cost * self._seconds_each  # noqa: FURB136 - max() is slow
        late_s = next_s - now_s - self._limit_s
        if late_s > 0 and not late_s + TOLERANCE_S <= max_wait_s:
            # Where it was in the order does not matter: a key that is refused is busy.
            paid[key] = before_s
            raise self._refusal(key, late_s + TOLERANCE_S - max(0.0, max_wait_s))
        if len(paid) >= self._max_keys:
            self._make_room(now_s)
        paid[key] = next_s
        return late_s + TOLERANCE_S if late_s > 0 else 0.0

    async def turn(self, key: str, cost: float = 1.0) -> None:
        """Take `cost` for `key` and come back when its turn has come, at most `max_wait_s` later.

        Turns come in the order in which they were asked for. Cancelled, a turn is lost: those behind it have been told
        their instants already.

        Raises:
            RateLimitedError: The wait would be longer, or longer than the caller's deadline; nothing was taken.
            SettingsError: As `take`.
        """
        wait_s = self.take(key, cost, max_wait_s=patience_s(self.policy))
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def admit(self, key: str = "") -> Turn:
        """Return the block that begins when `turn` comes back: `async with limiter.admit(key):`."""
        return Turn(self, key)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` behind this limiter: a coroutine function waits for its turn, a plain one is refused."""
        refuse_generators("RateLimit", function)
        if is_coroutine_function(function):
            return cast("Callable[P, R]", self._around_coroutine(cast("Callable[..., Awaitable[Any]]", function)))
        if self.policy.max_wait_s:
            text = f"max_wait_s={self.policy.max_wait_s!r} must be 0 around a plain function, which cannot wait"
            raise SettingsError("RateLimit", (text,))
        key_of = self.policy.key_of

        def limited_plain(*args: P.args, **kwargs: P.kwargs) -> R:
            self.take(key_of(args, kwargs))
            return function(*args, **kwargs)

        return update_wrapper(limited_plain, function)

    def _around_coroutine(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        policy = self.policy

        async def limited_coroutine(*args: Any, **kwargs: Any) -> Any:
            wait_s = self.take(policy.key_of(args, kwargs), max_wait_s=patience_s(policy) if policy.max_wait_s else 0.0)
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            return await function(*args, **kwargs)

        return update_wrapper(limited_coroutine, function)

    def _count(self, key: str, cost: float) -> float:
        check_cost(self.policy, cost)
        counted, paid, now_s = cast("dict[str, Counted]", self._counted), self._paid_at_s, world.monotonic()
        known, wait_s = count_in_window(self.policy, counted.get(key), cost, now_s)
        if wait_s > 0:
            raise self._refusal(key, wait_s + TOLERANCE_S)
        if paid.pop(key, None) is None and len(paid) >= self._max_keys:
            self._make_room(now_s)
        counted[key] = known
        # After two windows nothing of this is left.
        paid[key] = (known[0] + 2) * self.policy.burst * self._seconds_each
        return 0.0

    def _refusal(self, key: str, retry_after_s: float) -> RateLimitedError:
        self._refused += 1
        return limited(self.name, self.policy, key, retry_after_s)

    def _make_room(self, now_s: float) -> None:
        """Forget the keys that have rested longest.

        Several at once: to find the first of a dict costs the more, the more have been taken from its beginning.
        """
        paid, counted, busy = self._paid_at_s, self._counted, 0
        for oldest in [*islice(paid, 1 + self._max_keys // _FORGOTTEN_PART)]:
            busy += paid.pop(oldest) > now_s
            if counted is not None:
                del counted[oldest]
        if busy:
            _forgotten.labels(self.name).inc(busy)
