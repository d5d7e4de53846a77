"""What there is to say about a surge in few words and in one table: for the terminal and for the page alike."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["lines_of", "rows_of"]

Report = Mapping[str, Any]
_ALWAYS: Final = ("due", "ok")
_COUNTED: Final = ("late", "shed", "shed_mute", "limited", "refused", "failed", "timeout", "broken", "not_sent")
_TIMES: Final = ("p50", "p95", "p99", "max")
_UNKNOWN: Final = "not known"


def lines_of(report: Report) -> list[tuple[str, str]]:
    """Return the findings, each with its name, the most important first."""
    surge = report["phases"][1]
    outcome = report["outcome"]
    found: list[tuple[str, str]] = []
    for name, value in outcome.items():
        found.append((name.replace("_", " "), _UNKNOWN if value is None else f"{value:,}"))
    worst = [told["p99"] for told in report["health"].values() if told["p99"] is not None]
    failed = sum(told["failed"] for told in report["health"].values())
    health = f"{_ms(max(worst))} at p99" if worst else _UNKNOWN
    found.append(("health checks", f"{health}, {failed} failed" if failed else health))
    found += [(f"{kind} served in the surge", _per_cent(told)) for kind, told in surge["kinds"].items()]
    recovery_s = report["recovery_s"]
    found.append(("recovered", "not within the time" if recovery_s is None else f"{recovery_s:g} s after"))
    lag = report["send_lag_ms"]["p99"]
    if lag is not None:
        found.append(("sent after due", f"{_ms(lag)} at p99"))
    return found


def rows_of(report: Report) -> tuple[Sequence[str], list[list[str]]]:
    """Return the columns and rows of the table: each phase as a whole, then by kind. Times are milliseconds."""
    cells = [("", phase["all"]) for phase in report["phases"]]
    cells += [each for phase in report["phases"] for each in phase["kinds"].items()]
    counted = [name for name in _COUNTED if any(told[name] for _, told in cells)]
    columns = ["phase", "kind", "served_per_s", *_ALWAYS, *counted, *_TIMES]
    rows: list[list[str]] = []
    for phase in report["phases"]:
        for kind, told in (("all", phase["all"]), *phase["kinds"].items()):
            figures = [_number(told[name]) for name in columns[2:]]
            rows.append([phase["name"] if kind == "all" else "", kind, *figures])
    return columns, rows


def _per_cent(told: Mapping[str, Any]) -> str:
    return _UNKNOWN if told["served_ratio"] is None else f"{100 * told['served_ratio']:.1f} %"


def _ms(value: float) -> str:
    return f"{value:.1f} ms"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
