"""Counters, gauges and histograms with labels.

    placed = counter("shop_orders_placed", "Orders accepted.", ("payment",))
    placed.labels("card").inc()

A family is made once, at module level; `labels(...)` gives a child that is kept, so that counting costs two dict
look-ups and a lock. Label sets are bounded: after `MAX_LABEL_SETS` a new one is counted under the values `other`,
so an id that strays into a label costs memory once, not for ever. Counting is exact across threads.
"""

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, Generic, Self, TypeVar

__all__ = [
    "DURATION_BUCKETS_S",
    "MAX_LABEL_SETS",
    "Counter",
    "CounterChild",
    "Family",
    "Gauge",
    "GaugeChild",
    "Histogram",
    "HistogramChild",
]

MAX_LABEL_SETS: Final = 1000
"""Children of one family. The next label set is counted under `other`."""

DURATION_BUCKETS_S: Final = (
    0.0005, 0.001, 0.0015, 0.0025, 0.004, 0.006, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1,
    0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds in seconds, each about 1.6 times the one before: a percentile is off by at most a quarter or so."""


class CounterChild:
    """One number that only grows."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add `amount`, at least 0. A negative one or NaN raises ValueError."""
        if not amount >= 0:
            raise ValueError(f"a counter grows: inc({amount!r}) must be at least 0; use a gauge for what falls")
        with self._lock:
            self._value += amount

    @property
    def value(self) -> float:
        """The sum so far."""
        return self._value


class GaugeChild:
    """One number that goes up and down, set by hand or asked for when it is read."""

    __slots__ = ("_lock", "_read", "_value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0.0
        self._read: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        """Make it `value`."""
        self._value = value

    def inc(self, amount: float = 1.0) -> None:
        """Add `amount`, which may be negative."""
        with self._lock:
            self._value += amount

    def dec(self, amount: float = 1.0) -> None:
        """Subtract `amount`."""
        self.inc(-amount)

    def watch(self, read: Callable[[], float] | None) -> None:
        """Ask `read` for the value whenever the metrics are read; None ends that. It must be quick."""
        self._read = read

    @property
    def value(self) -> float:
        """The number now; NaN when the one who is asked fails, so that the other metrics are still shown."""
        if self._read is None:
            return self._value
        try:
            return self._read()
        except Exception:  # noqa: BLE001 - whatever it is, it is not the reader's fault
            return math.nan


class HistogramChild:
    """How often which size was seen, in buckets."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count one value. NaN is counted in the last bucket and spoils the sum, as everywhere."""
        slot = bisect_left(self._bounds, value) if value == value else len(self._bounds)  # noqa: PLR0124 - NaN
        with self._lock:
            self._counts[slot] += 1
            self._sum += value

    @property
    def count(self) -> int:
        """Values seen."""
        return sum(self._counts)

    @property
    def sum(self) -> float:
        """The sum of the values seen."""
        return self._sum

    def cumulative(self) -> tuple[int, ...]:
        """Return how many values were at most each bound; the last is all of them. Shape `(len(bounds) + 1,)`."""
        return tuple(accumulate(self._counts))

    def percentile(self, ratio: float) -> float | None:
        """Return the value that `ratio` (in [0, 1]) of the values do not exceed, or None when none was seen.

        Linear within its bucket, so at most a bucket's width off; the last bound where it lies beyond them.
        """
        if not 0 <= ratio <= 1:
            raise ValueError(f"percentile({ratio!r}) must be in [0, 1]: 0.99 for the 99th")
        counts = tuple(self._counts)
        total = sum(counts)
        if not total:
            return None
        wanted, seen, lower = ratio * total, 0, 0.0
        for upper, count in zip(self._bounds, counts, strict=False):
            if count and seen + count >= wanted:
                return min(lower, upper) + (upper - min(lower, upper)) * max(0.0, wanted - seen) / count
            seen, lower = seen + count, upper
        return self._bounds[-1]


Child = TypeVar("Child", CounterChild, GaugeChild, HistogramChild)


class Family(Generic[Child]):
    """All children of one name. Made by a `Registry`, which checks name and labels."""

    type: str = "untyped"

    def __init__(self, name: str, help_text: str, label_names: tuple[str, ...], make: Callable[[], Child]) -> None:
        self.name = name
        self.help_text = help_text
        self.label_names = label_names
        self.overflowed = 0
        """Look-ups of label sets that were counted under `other`."""
        self._make = make
        self._lock = threading.Lock()
        self._children: dict[tuple[str, ...], Child] = {}
        if not label_names:
            self._children[()] = make()

    def labels(self, *values: str) -> Child:
        """Return the child of these label values, in the order of the names. Keep it where the values are fixed."""
        child = self._children.get(values)
        return child if child is not None else self._new(values)

    def children(self) -> list[tuple[tuple[str, ...], Child]]:
        """Return every label set with its child, sorted."""
        with self._lock:
            return sorted(self._children.items(), key=lambda item: item[0])

    def _new(self, values: tuple[object, ...]) -> Child:
        if len(values) != len(self.label_names):
            raise ValueError(f"metric {self.name!r} has the labels {self.label_names!r}: got the values {values!r}")
        key = tuple(str(value) for value in values)
        with self._lock:
            if key not in self._children and len(self._children) >= MAX_LABEL_SETS:
                self.overflowed += 1
                key = ("other",) * len(key)
            child = self._children.get(key)
            if child is None:
                child = self._children[key] = self._make()
            return child

    @property
    def _only(self) -> Child:
        try:
            return self._children[()]
        except KeyError:
            raise ValueError(f"metric {self.name!r} has labels: call .labels{self.label_names!r} first") from None


class Counter(Family[CounterChild]):
    """A number that only grows: requests, errors, bytes."""

    type = "counter"

    def inc(self, amount: float = 1.0) -> None:
        """Add to the counter that has no labels."""
        self._only.inc(amount)

    @property
    def value(self) -> float:
        """The sum of the counter that has no labels."""
        return self._only.value


class Gauge(Family[GaugeChild]):
    """A number that goes up and down: things in flight, depth, lag."""

    type = "gauge"

    def set(self, value: float) -> None:
        """Set the gauge that has no labels."""
        self._only.set(value)

    def inc(self, amount: float = 1.0) -> None:
        """Add to the gauge that has no labels."""
        self._only.inc(amount)

    def dec(self, amount: float = 1.0) -> None:
        """Subtract from the gauge that has no labels."""
        self._only.dec(amount)

    def watch(self, read: Callable[[], float] | None) -> Self:
        """Ask `read` whenever the gauge that has no labels is read."""
        self._only.watch(read)
        return self

    @property
    def value(self) -> float:
        """The number of the gauge that has no labels."""
        return self._only.value


class Histogram(Family[HistogramChild]):
    """How values are spread: durations, sizes."""

    type = "histogram"

    def __init__(self, name: str, help_text: str, label_names: tuple[str, ...], buckets: Sequence[float]) -> None:
        bounds = tuple(buckets)
        self.bounds = bounds
        super().__init__(name, help_text, label_names, lambda: HistogramChild(bounds))

    def observe(self, value: float) -> None:
        """Count one value in the histogram that has no labels."""
        self._only.observe(value)

    def percentile(self, ratio: float) -> float | None:
        """Return a percentile of the histogram that has no labels."""
        return self._only.percentile(ratio)
