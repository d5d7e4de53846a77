"""How often one key may come: a steady rate with a burst, kept as one number per key.

    limiter = RateLimit(10, burst=20).bind("api")
    limiter.take(principal.id)                  # or RateLimitedError with retry_after_s

The state of a key is the instant at which it will have paid for all it took, so nothing grows with the rate.
Not shared between processes: each has its own count. Not for threads: call it on the loop's.

Source: ITU-T I.371 (the generic cell rate algorithm, virtual scheduling form), with a cost per take.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Final

from archstone import world
from archstone.observability import counter
from archstone.resilience.check import SettingsError, check
from archstone.resilience.errors import RateLimitedError

__all__ = ["Limiter", "RateLimit"]

_TOLERANCE_S: Final = 1e-9
"""Clock readings are floats: a caller who waits exactly `retry_after_s` must not be refused for the last bit."""

_refused = counter("archstone_rate_limited", "Takes refused, by limiter.", ("limiter",))
_forgotten = counter("archstone_rate_limit_forgotten", "Busy keys forgotten because the table was full.", ("limiter",))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often a key may come."""

    rate_per_s: float
    """Takes of cost 1 a second, in the long run. Above 0, finite."""
    _: KW_ONLY
    burst: float = 1.0
    """Takes of cost 1 that a rested key may make at once. At least 1, finite."""
    max_keys: int = 100_000
    """Keys remembered. At least 1."""

    def __post_init__(self) -> None:
        check(
            self,
            rate_per_s=(0 < self.rate_per_s < float("inf"), "above 0 and finite"),
            burst=(1 <= self.burst < float("inf"), "at least 1 and finite"),
            max_keys=(self.max_keys >= 1, "at least 1"),
        )

    def bind(self, name: str) -> "Limiter":
        """Return a limiter with this policy and no memory yet. `name` is in its errors and metrics."""
        return Limiter(name, self)


class Limiter:
    """A `RateLimit` with its memory.

    When the table is full the key that has rested longest makes room. A key that has paid for all it took loses
    nothing by that; a busy one gets a new burst, which is counted in `archstone_rate_limit_forgotten_total`.
    """

    __slots__ = ("_limit_s", "_max_keys", "_paid_at_s", "_seconds_each", "name", "policy")

    def __init__(self, name: str, policy: RateLimit) -> None:
        self.name = name
        self.policy = policy
        self._seconds_each = 1.0 / policy.rate_per_s
        self._limit_s = policy.burst * self._seconds_each + _TOLERANCE_S
        self._max_keys = policy.max_keys
        # Ordered by the last successful take, so the first is the one that has rested longest.
        self._paid_at_s: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many keys are remembered; at most `max_keys`."""
        return len(self._paid_at_s)

    def take(self, key: str, cost: float = 1.0) -> None:
        """Take `cost` (in (0, burst]) for `key`. A take that is refused costs nothing.

        Raises:
            RateLimitedError: Too often; `retry_after_s` is when this take can work.
            SettingsError: The cost is not above 0, or above the burst, so it could never work.
        """
        if not 0 < cost <= self.policy.burst:
            raise SettingsError(
                "Limiter", (f"cost={cost!r} must be above 0 and at most the burst {self.policy.burst:g}",)
            )
        paid = self._paid_at_s
        now_s = world.monotonic()
        before_s = paid.get(key, now_s)
        next_s = (max(now_s, before_s)) + cost * self._seconds_each
        late_s = next_s - now_s - self._limit_s
        if late_s > 0:
            _refused.labels(self.name).inc()
            raise RateLimitedError(self.name, key, late_s + _TOLERANCE_S, self.policy.rate_per_s)
        if before_s != now_s or key in paid:
            paid.pop(key, None)
        elif len(paid) >= self._max_keys:
            self._forget_one(now_s)
        paid[key] = next_s

    def _forget_one(self, now_s: float) -> None:
        oldest = next(iter(self._paid_at_s))
        if self._paid_at_s.pop(oldest) > now_s:
            _forgotten.labels(self.name).inc()
