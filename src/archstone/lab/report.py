"""What a surge came to, as one JSON document: for the terminal, the page, and a comparison with a later run.

All times are milliseconds from when a request was due. Percentiles are of answers that were wanted (2xx and 3xx, late
ones too): refusals are quick and would flatter. `recovery_s` is the time from the end of the surge until the 95th
percentile is back: the first second of requests in which at least 95 in 100 were served within twice the base's p95
(or 50 ms, if that is more), and after which no second was worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from archstone.lab.histogram import Histogram
from archstone.lab.prober import PATHS, Probe
from archstone.lab.record import OUTCOMES, Cell, Record

__all__ = ["FORMAT", "Phase", "health_of", "recovery_of", "report_of"]

FORMAT: Final = "archstone-surge/1"
_WINDOW_S: Final = 1.0
_STEP_S: Final = 0.1
_FLOOR_S: Final = 0.05
_GOOD_RATIO: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time with one rate."""

    name: str
    from_s: int
    to_s: int
    rate_per_s: float

    @property
    def seconds(self) -> range:
        """Its seconds, from the start of the run."""
        return range(self.from_s, self.to_s)


def report_of(
    record: Record, phases: Sequence[Phase], probes: Sequence[Probe], *, began_s: float, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the document.

    Args:
        record: What became of the requests.
        phases: Base, surge and recovery.
        probes: What the prober saw.
        began_s: When the first phase began, on `world.monotonic()`.
        about: System, url, settings, and what was found out afterwards.
    """
    base = record.sum(phases[0].seconds)
    return {
        "format": FORMAT,
        **about,
        "phases": [_phase(record, phase) for phase in phases],
        "seconds": [_second(record, second) for second in range(phases[-1].to_s)],
        "health": health_of(probes, began_s=began_s, duration_s=phases[-1].to_s),
        "recovery_s": recovery_of(record, surge_end_s=phases[1].to_s, base_p95_s=base.served.quantile_s(0.95)),
        "send_lag_ms": record.lags.figures_ms(),
    }


def _phase(record: Record, phase: Phase) -> dict[str, Any]:
    duration_s = phase.to_s - phase.from_s
    return {
        "name": phase.name,
        "from_s": phase.from_s,
        "to_s": phase.to_s,
        "rate_per_s": phase.rate_per_s,
        "all": _figures(record.sum(phase.seconds), duration_s),
        "kinds": {kind: _figures(record.sum(phase.seconds, kind), duration_s) for kind in record.kinds},
    }


def _figures(cell: Cell, duration_s: int) -> dict[str, Any]:
    served = cell.served.count
    return {
        "due": cell.due,
        **{name: cell.outcomes[name] for name in OUTCOMES},
        "served_per_s": round(served / duration_s, 1),
        "served_ratio": round(served / cell.due, 4) if cell.due else None,
        **cell.served.figures_ms(),
        "refusal_p99": cell.refusals.figures_ms()["p99"],
    }


def _second(record: Record, second: int) -> dict[str, Any]:
    total = record.sum((second,))
    kinds = {kind: record.sum((second,), kind) for kind in record.kinds}
    return {
        "at_s": second,
        "due": total.due,
        **{name: total.outcomes[name] for name in OUTCOMES if total.outcomes[name]},
        **total.served.figures_ms(),
        "kinds": {
            kind: {"due": cell.due, "served": cell.served.count, "p95": cell.served.figures_ms()["p95"]}
            for kind, cell in kinds.items()
        },
    }


def health_of(probes: Sequence[Probe], *, began_s: float, duration_s: int) -> dict[str, Any]:
    """Return what the probes of the run say, by path and by second."""
    told: dict[str, Any] = {}
    for path in PATHS:
        times = Histogram()
        worst: list[float | None] = [None] * duration_s
        failed = 0
        for probe in probes:
            second = int(probe.at_s - began_s)
            if probe.path != path or not 0 <= probe.at_s - began_s < duration_s:
                continue
            failed += probe.status != 200
            times.add(probe.took_s)
            worst[second] = max(worst[second] or 0.0, round(probe.took_s * 1e3, 2))
        told[path] = {"asked": times.count, "failed": failed, **times.figures_ms(), "worst_by_second": worst}
    return told


def recovery_of(record: Record, *, surge_end_s: float, base_p95_s: float | None) -> float | None:
    """Return the seconds from the end of the surge until requests are served as before; None if that did not happen."""
    trail = sorted(record.trail)
    if not trail or base_p95_s is None:
        return None
    limit_s = max(2 * base_p95_s, _FLOOR_S)
    last_s = trail[-1][0]
    recovered: float | None = None
    steps = max(1, int((last_s - surge_end_s - _WINDOW_S) / _STEP_S) + 1)
    for step in range(steps):
        from_s = surge_end_s + step * _STEP_S
        window = [took_s for due_s, took_s in trail if from_s <= due_s < from_s + _WINDOW_S]
        good = sum(1 for took_s in window if took_s is not None and took_s <= limit_s)
        if window and good < _GOOD_RATIO * len(window):
            recovered = None
        elif window and recovered is None:
            recovered = round(from_s - surge_end_s, 1)
    return recovered
