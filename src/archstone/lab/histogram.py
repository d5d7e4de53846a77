"""Times counted in bounded space: a bucket for each 1.6 per cent, whatever the number of values.

For: percentiles of millions of answers, merged from seconds into phases without keeping the values. A percentile is
at most 1.6 per cent above the true one and never below it.
Not for: sums of money or anything that must be exact.
Source: HdrHistogram (Gil Tene, 2012): buckets that grow with the value; ours count in a dictionary, since most are
empty.
"""

from collections.abc import Iterable, Mapping
from math import frexp, ldexp
from typing import Final, Self

__all__ = ["Histogram"]

_STEPS: Final = 64
"""Buckets for each doubling."""
_UNIT_S: Final = 1e-5
"""Below ten microseconds all times are alike."""


class Histogram:
    """Counts of times in seconds, with their greatest."""

    __slots__ = ("_counts", "count", "max_s")

    def __init__(self, values_s: Iterable[float] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.max_s = 0.0
        for value_s in values_s:
            self.add(value_s)

    def add(self, value_s: float) -> None:
        """Count a time. One below zero counts as zero."""
        mantissa, exponent = frexp(max(value_s / _UNIT_S, 1.0))
        bucket = exponent * _STEPS + int((mantissa - 0.5) * 2 * _STEPS)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.max_s = max(self.max_s, value_s)

    def merge(self, other: "Histogram") -> Self:
        """Count all that `other` has counted, too."""
        for bucket, count in other._counts.items():  # noqa: SLF001 - of the same class
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.max_s = max(self.max_s, other.max_s)
        return self

    def quantile_s(self, ratio: float) -> float | None:
        """Return the time that `ratio` of all counted do not exceed; None if none was counted.

        Args:
            ratio: In (0, 1].
        """
        if not self.count:
            return None
        wanted, seen = ratio * self.count, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(_upper_s(bucket), self.max_s)
        return self.max_s

    def figures_ms(self) -> Mapping[str, float | None]:
        """Return p50, p95, p99 and the greatest in milliseconds; None where nothing was counted."""
        named = {f"p{round(ratio * 100)}": self.quantile_s(ratio) for ratio in (0.5, 0.95, 0.99)}
        named["max"] = self.max_s if self.count else None
        return {name: None if value is None else round(value * 1e3, 2) for name, value in named.items()}


def _upper_s(bucket: int) -> float:
    exponent, step = divmod(bucket, _STEPS)
    return ldexp(0.5 + (step + 1) / (2 * _STEPS), exponent) * _UNIT_S
