"""Plots as values: what the script draws, and the same numbers as a table for who cannot see the drawing."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from archstone.gateway import Figures
from archstone.systems.shop.analytics.contract import MinuteFigures, Minutes
from archstone.systems.shop.values import Money
from archstone.systems.shop.web.money import Locale, written

__all__ = ["Plot", "Trace", "as_data", "in_words", "of_orders", "of_run", "rows"]

MINUTE_S: Final = 60
ROWS: Final = 15
"""Lines of the table behind a plot: the newest."""

Value = float | None
"""None: there is nothing to be said of this moment."""


class Trace(NamedTuple):
    """One line of a plot."""

    label: str
    values: tuple[Value, ...]


class Plot(NamedTuple):
    """Lines over one axis of time."""

    name: str
    title: str
    unit: str
    """`count`, `ratio` in [0, 1], `s`, `per_s`, or the code of a currency: then values are minor units."""
    at: tuple[int, ...]
    """Seconds since 1970, rising; as many as each line has values."""
    traces: tuple[Trace, ...]
    bars: bool = False
    """Whether each value stands for the time up to the next one, and is not a moment's."""


def of_orders(minutes: Minutes, now: datetime, *, minutes_shown: int) -> tuple[Plot, ...]:
    """Return what became of orders in the last minutes, this one included; a minute without orders is zero."""
    last = int(now.timestamp()) // MINUTE_S
    at = tuple(minute * MINUTE_S for minute in range(last - minutes_shown + 1, last + 1))
    found = {int(each.at.timestamp()): each for each in minutes.items}
    each = [found.get(second) for second in at]

    def counted(name: str) -> tuple[Value, ...]:
        return tuple(0 if minute is None else getattr(minute, name) for minute in each)

    return (
        Plot(
            "orders", "Orders per minute", "count", at,
            (Trace("Placed", counted("placed")), Trace("Confirmed", counted("confirmed")),
             Trace("Cancelled", counted("cancelled"))), bars=True,
        ),
        Plot("revenue", "Revenue per minute", minutes.currency, at, (Trace("Revenue", counted("revenue")),), bars=True),
        Plot("conversion", "Confirmed of those that ended", "ratio", at, (Trace("Confirmed", _conversion(each)),)),
    )  # fmt: skip


def of_run(history: Sequence[Figures]) -> tuple[Plot, ...]:
    """Return how the run did, a point per second."""
    at = tuple(each.at_us // 1_000_000 for each in history)

    def per_s(counted: Callable[[Figures], int]) -> tuple[Value, ...]:
        return tuple(counted(each) / each.over_s if each.over_s > 0 else None for each in history)

    return (
        Plot(
            "requests", "Requests", "per_s", at,
            (Trace("Requests", per_s(lambda each: sum(each.requests.values()))),),
        ),
        Plot(
            "times", "Time to an answer", "s", at,
            (Trace("95 of 100 within", tuple(each.p95_s for each in history)),
             Trace("Half within", tuple(each.p50_s for each in history))),
        ),
        Plot(
            "errors", "Errors, and what was refused", "per_s", at,
            (Trace("Errors", per_s(lambda each: each.errors)), Trace("Full", per_s(lambda each: each.shed)),
             Trace("Too often", per_s(lambda each: each.limited))),
        ),
        Plot("queue", "Events that wait", "count", at, (Trace("Waiting", tuple(each.queued for each in history)),)),
        Plot(
            "lag", "Queue lag", "s", at,
            (Trace("Oldest event not sent", tuple(each.relay_lag_s for each in history)),
             Trace("Event loop", tuple(each.loop_lag_s for each in history))),
        ),
    )  # fmt: skip


def as_data(plot: Plot, locale: Locale) -> dict[str, object]:
    """Return a plot for the script."""
    return {
        "name": plot.name,
        "unit": plot.unit,
        "bars": plot.bars,
        "labels": [trace.label for trace in plot.traces],
        "data": [plot.at, *(trace.values for trace in plot.traces)],
        "rows": rows(plot, locale),
    }


def rows(plot: Plot, locale: Locale) -> list[list[str]]:
    """Return the newest numbers in words, newest first: the time, then a cell per line."""
    exact = any(second % MINUTE_S for second in plot.at)
    clock = "%H:%M:%S" if exact else "%H:%M"
    newest = range(len(plot.at) - 1, max(-1, len(plot.at) - 1 - ROWS), -1)
    return [
        [
            datetime.fromtimestamp(plot.at[index], UTC).strftime(clock),
            *(in_words(trace.values[index], plot.unit, locale) for trace in plot.traces),
        ]
        for index in newest
    ]


def in_words(value: Value, unit: str, locale: Locale) -> str:
    """Return a number with its unit."""
    if value is None:
        return "\u2013"
    if unit == "ratio":
        return f"{value:.0%}"
    if unit == "s":
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"
    if unit == "per_s":
        return f"{value:.1f} /s"
    if unit == "count":
        return f"{value:.0f}"
    return written(Money.model_construct(amount=round(value), currency=unit), locale)


def _conversion(minutes: Sequence[MinuteFigures | None]) -> tuple[Value, ...]:
    return tuple(None if minute is None else minute.conversion_ratio for minute in minutes)
