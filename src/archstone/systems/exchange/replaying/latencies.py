"""How long something took, a hundred million times: counted in classes of 4 per cent, so that memory is bounded."""

import math
from collections import Counter
from typing import Final

__all__ = ["Latencies"]

_CLASSES: Final = 16
"""In a doubling."""


class Latencies:
    """Durations; percentiles of them are at most 5 per cent too high."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def note(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[math.ceil(_CLASSES * math.log2(max(seconds, 1e-9)))] += 1

    def percentile(self, ratio: float) -> float:
        """Return the duration in seconds which that part of all did not exceed; 0 where there are none."""
        left = ratio * self._counts.total()
        for each in sorted(self._counts):
            left -= self._counts[each]
            if left <= 0:
                return 2 ** (each / _CLASSES)
        return 0.0
