"""How long to wait before the next attempt: longer each time, by chance, up to a cap.

Chance spreads callers who failed together, so that they do not come back together.

Source: Brooker 2015, "Exponential Backoff And Jitter". `Exponential` is its full jitter. `Decorrelated` is its
decorrelated jitter, told by the number of the attempt: the delays before are drawn anew instead of remembered, so each
delay is spread as his is, and nobody must keep the last one.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Final, Protocol

from archstone import world
from archstone.resilience.check import check

__all__ = ["Backoff", "Decorrelated", "Exponential"]

_SETTLED: Final = 64
"""Attempts after which the spread of a decorrelated delay no longer changes: its cap is reached or will not be."""


class Backoff(Protocol):
    """Tells the delay between two attempts."""

    def delay_s(self, attempt: int) -> float:
        """Return how long to wait after attempt `attempt` (the first is 1) has failed, drawn by chance."""
        ...

    def longest_s(self, attempt: int) -> float:
        """Return the longest that `delay_s` may return."""
        ...


@dataclass(frozen=True, slots=True)
class Exponential:
    """Delays below a bound that grows by a factor, up to a cap; each drawn from [0, bound]."""

    base_s: float = 0.1
    """Longest delay before the second attempt, seconds. Above 0, finite."""
    _: KW_ONLY
    factor: float = 2.0
    """How much longer each next one may be. At least 1, finite."""
    cap_s: float = 10.0
    """Longest of all, seconds. At least `base_s`, finite."""

    def __post_init__(self) -> None:
        check(
            self,
            base_s=(0 < self.base_s < float("inf"), "above 0 and finite"),
            factor=(1 <= self.factor < float("inf"), "at least 1 and finite"),
            cap_s=(self.base_s <= self.cap_s < float("inf"), "at least base_s and finite"),
        )

    def delay_s(self, attempt: int) -> float:
        """Return how long to wait after attempt `attempt` (the first is 1): by chance in [0, longest]."""
        return world.random().random() * self.longest_s(attempt)

    def longest_s(self, attempt: int) -> float:
        """Return the longest delay after attempt `attempt` (the first is 1) has failed."""
        try:
            return min(self.cap_s, self.base_s * self.factor ** (attempt - 1))
        except OverflowError:
            return self.cap_s


@dataclass(frozen=True, slots=True)
class Decorrelated:
    """Delays of at least `base_s`, each drawn from [base_s, 3 times the one before], up to a cap.

    Take it where even the second attempt must not come at once; `Exponential` is done sooner on average.
    """

    base_s: float = 0.1
    """Shortest delay, seconds. Above 0, finite."""
    _: KW_ONLY
    cap_s: float = 10.0
    """Longest of all, seconds. At least `base_s`, finite."""

    def __post_init__(self) -> None:
        check(
            self,
            base_s=(0 < self.base_s < float("inf"), "above 0 and finite"),
            cap_s=(self.base_s <= self.cap_s < float("inf"), "at least base_s and finite"),
        )

    def delay_s(self, attempt: int) -> float:
        """Return how long to wait after attempt `attempt` (the first is 1): by chance in [base_s, longest]."""
        chance, delay_s = world.random(), self.base_s
        for _ in range(min(attempt, _SETTLED)):
            delay_s = min(self.cap_s, self.base_s + chance.random() * (3 * delay_s - self.base_s))
        return delay_s

    def longest_s(self, attempt: int) -> float:
        """Return the longest delay after attempt `attempt` (the first is 1) has failed."""
        return min(self.cap_s, self.base_s * 3.0 ** min(attempt, _SETTLED))
