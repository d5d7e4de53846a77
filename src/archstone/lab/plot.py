"""Plots over time as SVG text: lines, areas for phases, a scale of round numbers. No script, no file of others.

Whoever looks closer hovers: each step of time tells all its values, also to a screen reader.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

__all__ = ["HEIGHT", "WIDTH", "Band", "Plot", "Series"]

WIDTH: Final = 720
HEIGHT: Final = 220
_LEFT: Final = 64
_RIGHT: Final = 20
_TOP: Final = 8
_BOTTOM: Final = 26
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Series:
    """One line."""

    name: str
    values: Sequence[float | None]
    """By step of time; None leaves a gap."""
    colour: int = 1
    """Which of the page's colours, 1 to 6."""
    earlier: bool = False
    """Whether it is of the run that this one is compared with: drawn dashed."""


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time with a name."""

    name: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is drawn on one pair of axes."""

    title: str
    unit: str
    series: Sequence[Series]
    bands: Sequence[Band] = field(default_factory=tuple[Band, ...])
    log: bool = False
    """Whether the scale is of powers of ten: for times, which differ by that much."""
    step_s: float = 1.0
    """Seconds from one value to the next. Above 0."""
    highest: float | None = None
    """A value that the scale must reach, so that several plots have the same one. None: the greatest of its own."""

    def svg(self) -> str:
        """Return it as an SVG element; scales with its container."""
        steps = max(1, 1, *(len(each.values) for each in self.series))
        seconds = steps * self.step_s
        low, high, ticks = self._scale()

        def x(at_s: float) -> float:
            return _LEFT + at_s / seconds * (WIDTH - _LEFT - _RIGHT)

        def y(value: float) -> float:
            if self.log:
                ratio = (math.log10(max(value, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
            else:
                ratio = (value - low) / (high - low)
            return HEIGHT - _BOTTOM - ratio * (HEIGHT - _TOP - _BOTTOM)

        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">']
        parts += [_band(band, x) for band in self.bands]
        parts += [_tick(value, y(value)) for value in ticks]
        parts += [_second_mark(at_s, x(at_s)) for at_s in _round_steps(0, seconds, 8)]
        for each in self.series:
            dashed = " earlier" if each.earlier else ""
            for run in _runs(each.values):
                points = " ".join(f"{x((step + 0.5) * self.step_s):.1f},{y(value):.1f}" for step, value in run)
                parts.append(f'<polyline class="line c{each.colour}{dashed}" points="{points}"/>')
        parts += [self._told(step, x(step * self.step_s), x((step + 1) * self.step_s)) for step in range(steps)]
        return "".join([*parts, "</svg>"])

    def legend(self) -> str:
        """Return the names of the lines as HTML."""
        keys = [
            f'<li class="c{each.colour}{" earlier" if each.earlier else ""}">{escape(each.name)}</li>'
            for each in self.series
        ]
        return f'<ul class="legend">{"".join(keys)}</ul>'

    def _scale(self) -> tuple[float, float, list[float]]:
        values = [value for each in self.series for value in each.values if value is not None]
        highest = max(values, default=1.0) if self.highest is None else self.highest
        if not self.log:
            ticks = _round_steps(0, max(highest, 1e-9), _TICKS, beyond=True)
            return 0.0, ticks[-1], ticks
        lowest = min((value for value in values if value > 0), default=1.0)
        first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(max(highest, lowest * 1.01)))
        ticks = [10.0**power for power in range(first, max(last, first + 1) + 1)]
        return ticks[0], ticks[-1], ticks

    def _told(self, step: int, left: float, right: float) -> str:
        values = [
            f"{each.name} {_number(value)} {self.unit}".lstrip()
            for each in self.series
            if step < len(each.values) and (value := each.values[step]) is not None
        ]
        told = escape("\n".join([f"second {step * self.step_s:.6g}", *values]))
        size = f'width="{right - left:.1f}" height="{HEIGHT - _TOP - _BOTTOM}"'
        return f'<rect class="ask" x="{left:.1f}" y="{_TOP}" {size}><title>{told}</title></rect>'


def _band(band: Band, x: Callable[[float], float]) -> str:
    left, right = x(band.from_s), x(band.to_s)
    return (
        f'<rect class="band {escape(band.name)}" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
        f'height="{HEIGHT - _TOP - _BOTTOM}"/><text class="name" x="{left + 4:.1f}" y="{_TOP + 11}">'
        f"{escape(band.name)}</text>"
    )


def _tick(value: float, at_y: float) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at_y:.1f}" y2="{at_y:.1f}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{at_y + 3:.1f}" text-anchor="end">{_number(value)}</text>'
    )


def _second_mark(at_s: float, at_x: float) -> str:
    start = "" if at_s else " start"
    return (
        f'<text class="tick mark{start}" x="{at_x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{_number(at_s)} s</text>'
    )


def _runs(values: Sequence[float | None]) -> Iterable[list[tuple[int, float]]]:
    """Return the stretches without gaps."""
    run: list[tuple[int, float]] = []
    for second, value in enumerate(values):
        if value is not None:
            run.append((second, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _round_steps(low: float, high: float, count: int, *, beyond: bool = False) -> list[float]:
    """Return round numbers from `low` to `high`, about `count` of them; the last one at least `high` if `beyond`."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= raw * 0.999)
    last = math.ceil(high / step - 1e-9) if beyond else math.floor(high / step + 1e-9)
    return [low + step * number for number in range(last + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
