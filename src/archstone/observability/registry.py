"""Where the metrics of a process are kept, and their Prometheus text.

Blocks declare at module level with `counter`, `gauge` and `histogram`, into the default registry; a second
declaration with the same name, labels and kind gives the same family, so a module may be imported twice. Use a
`Registry` of your own where two systems in one process must not share numbers.

Source: Prometheus text exposition format 0.0.4.
"""

import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar

from archstone.observability.errors import MetricError
from archstone.observability.metrics import (
    DURATION_BUCKETS_S,
    Counter,
    CounterChild,
    Family,
    Gauge,
    GaugeChild,
    Histogram,
)

__all__ = ["CONTENT_TYPE", "Registry", "counter", "default_registry", "gauge", "histogram", "render"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The Content-Type under which `Registry.render` is served."""

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_RESERVED: Final = {"histogram": "le"}
_ESCAPES: Final = {ord("\\"): r"\\", ord("\n"): r"\n"}
_LABEL_ESCAPES: Final = {**_ESCAPES, ord('"'): r"\""}

AnyFamily = Counter | Gauge | Histogram
_F = TypeVar("_F", Counter, Gauge, Histogram)


class Registry:
    """A set of metrics with unique names."""

    def __init__(self) -> None:
        self._families: dict[str, AnyFamily] = {}
        self._lock = threading.Lock()

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        """Return the counter of this name. It is shown with the suffix `_total`, given or not."""
        name = name.removesuffix("_total") + "_total"
        return self._family(Counter, name, tuple(labels), (), lambda: Counter(name, help, tuple(labels), CounterChild))

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Gauge:
        """Return the gauge of this name."""
        return self._family(Gauge, name, tuple(labels), (), lambda: Gauge(name, help, tuple(labels), GaugeChild))

    def histogram(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = DURATION_BUCKETS_S,
    ) -> Histogram:
        """Return the histogram of this name. `buckets` are upper bounds, closed, rising; +Inf is added."""
        bounds = tuple(buckets)
        return self._family(
            Histogram, name, tuple(labels), bounds, lambda: Histogram(name, help, tuple(labels), bounds)
        )

    def families(self) -> list[AnyFamily]:
        """Return every metric, sorted by name."""
        with self._lock:
            return [self._families[name] for name in sorted(self._families)]

    def render(self) -> str:
        """Return all metrics in Prometheus' text format, sorted by name and labels."""
        return "".join(line for family in self.families() for line in _family_lines(family))

    def _family(
        self,
        kind: type[_F],
        name: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...],
        make: Callable[[], _F],
    ) -> _F:
        with self._lock:
            known = self._families.get(name)
            faults = [*_faults(kind.type, name, labels, bounds), *_clash(known, kind, labels, bounds)]
            if faults:
                raise MetricError(name, tuple(faults))
            if isinstance(known, kind):
                return known
            family = make()
            self._families[name] = family
            return family


default_registry: Final = Registry()
"""The registry into which the blocks declare; `/metrics` shows it."""

counter = default_registry.counter
"""Declare a counter in the default registry."""
gauge = default_registry.gauge
"""Declare a gauge in the default registry."""
histogram = default_registry.histogram
"""Declare a histogram in the default registry."""
render = default_registry.render
"""Return the default registry in Prometheus' text format."""


def _faults(kind: str, name: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"the name must match {_NAME.pattern}"
    for label in labels:
        if not _LABEL.fullmatch(label):
            yield f"the label {label!r} must match {_LABEL.pattern}"
        if _RESERVED.get(kind) == label:
            yield f"the label {label!r} is the format's own in a {kind}: take another"
    if len(set(labels)) != len(labels):
        yield f"the labels {labels!r} must differ"
    if kind == "histogram" and not bounds:
        yield "the buckets must have at least one bound"
    if not all(math.isfinite(bound) for bound in bounds) or any(not low < high for low, high in pairwise(bounds)):
        yield f"the buckets {bounds!r} must be finite and rise"


def _clash(
    known: AnyFamily | None, kind: type[AnyFamily], labels: tuple[str, ...], bounds: tuple[float, ...]
) -> Iterator[str]:
    if known is None:
        return
    if type(known) is not kind or known.label_names != labels:
        yield f"it is already a {known.type} with the labels {known.label_names!r}: declare it alike, or rename one"
    elif isinstance(known, Histogram) and known.bounds != bounds:
        yield "it is already a histogram with other buckets: declare it alike, or rename one"


def _family_lines(family: AnyFamily) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help_text.translate(_ESCAPES)}\n# TYPE {family.name} {family.type}\n"
    if isinstance(family, Histogram):
        for values, child in family.children():
            counts, total = child.cumulative(), child.sum
            for bound, count in zip((*family.bounds, math.inf), counts, strict=True):
                yield f"{family.name}_bucket{_labels(family, values, le=_number(bound))} {count}\n"
            yield f"{family.name}_sum{_labels(family, values)} {_number(total)}\n"
            yield f"{family.name}_count{_labels(family, values)} {counts[-1]}\n"
        return
    for values, child in family.children():
        yield f"{family.name}{_labels(family, values)} {_number(child.value)}\n"


def _labels(family: Family[Any], values: tuple[str, ...], **more: str) -> str:
    pairs = [*zip(family.label_names, values, strict=True), *more.items()]
    return "{" + ",".join(f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
