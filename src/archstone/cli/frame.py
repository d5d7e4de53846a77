"""What the live view of a running system looks like: one text, fitted to the terminal. It reads nothing itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from archstone.cli.journal import Fault
from archstone.runtime.pulse import CLASSES, HISTORY, Vitals

__all__ = ["About", "drawn", "duration"]

_BARS: Final = "▁▂▃▄▅▆▇█"
_LABEL: Final = 10
_STYLES: Final = {"2xx": "green", "4xx": "yellow", "5xx": "bold red", "shed": "magenta", "limited": "yellow"}
_LEVELS: Final = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
_MOST_EVENTS: Final = 6
_MOST_FAULTS: Final = 5

Line = list[tuple[str, str]]
"""Pieces of text, each with its style."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What does not change while it runs."""

    system: str
    called: str
    """What the command line calls it."""
    addresses: Sequence[tuple[str, str]]
    """Address and what is there, the first to open first."""
    data: str
    log: str
    pid: int
    deaths: int | None
    """How often it was killed and started again. None: nobody would start it again."""


def drawn(about: About, vitals: Vitals, faults: Sequence[Fault], *, up_s: float, size: tuple[int, int]) -> Text:
    """Return the picture for a terminal of `size`, columns and rows. What does not fit is left out, from below."""
    columns, rows = size
    lines: list[Line] = [*_head(about, vitals, up_s), [], *_traffic(vitals, columns), [], *_inside(about, vitals)]
    foot = _foot(about, columns)
    for more in (list(_faults(faults)), list(_events(vitals)), list(_own(vitals))):
        room = rows - len(lines) - len(foot) - 2
        if more and room >= 1:
            lines += [[], *more[:room]]
    lines += [[]] * max(0, rows - len(lines) - len(foot))
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate([*lines, *foot][:rows]):
        if number:
            text.append("\n")
        for piece, style in line:
            text.append(piece, style)
    return text


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _head(about: About, vitals: Vitals, up_s: float) -> Iterator[Line]:
    state = ("running", "green") if vitals.ready else ("stopping: what is in flight is finished", "yellow")
    memory = f" · {vitals.memory_bytes / 1e6:.0f} MB" if vitals.memory_bytes else ""
    facts = f" {duration(up_s)} · pid {about.pid}{memory} · {vitals.cpu_ratio:.0%} of a core"
    yield [(f" {about.system} ", "bold reverse"), (" ", ""), state, (facts, "dim")]
    yield []
    width = max(len(address) for address, _ in about.addresses)
    for number, (address, what) in enumerate(about.addresses):
        gap = " " * (width - len(address) + 2)
        yield [*_label("open" if not number else ""), (address, f"bold link {address}"), (f"{gap}{what}", "dim")]
    yield [*_label("data"), (about.data, ""), (f"   log {about.log}", "dim")]


def _traffic(vitals: Vitals, columns: int) -> Iterator[Line]:
    total = sum(vitals.per_s.values())
    yield [
        *_label("requests"),
        (f"{_rate(total)} per second".ljust(17), "bold"),
        (_sparkline(vitals.history, columns), "cyan"),
    ]
    counts: Line = []
    for name in CLASSES:
        rate = vitals.per_s[name]
        counts += [(f"{name} ", "dim"), (f"{_rate(rate)}  ", _STYLES[name] if rate else "dim")]
    times = [("p50 ", "dim"), (_time(vitals.p50_s), ""), ("  p95 ", "dim"), (_time(vitals.p95_s), "")]
    yield [*_label(""), *counts, (" ", ""), *times]


def _inside(about: About, vitals: Vitals) -> Iterator[Line]:
    stuck, dead = vitals.sagas_stuck, vitals.dead
    way = [(f"archstone sagas {about.called} --status stuck", "")] if stuck else []
    yield [*_label("sagas"), *_count(vitals.sagas_running, "running"), *_count(stuck, "stuck", bad=True), *way]
    yield [
        *_label("queue"),
        *_count(vitals.waiting, "waiting"),
        *_count(vitals.retrying, "failed and tried again", bad=True),
        *_count(dead, "dead", bad=True),
        *([(f"archstone dead {about.called}", "")] if dead else []),
    ]
    unsent = f"{vitals.unsent}{'+' if vitals.unsent >= 10_000 else ''}"
    late = "yellow" if vitals.behind_s > 1 else "dim"
    yield [*_label("outbox"), (unsent, "bold"), (" unsent", "dim"), (f", {_time(vitals.behind_s)} behind", late)]
    lag_s = vitals.loop_lag_s
    yield [*_label("loop"), (f"{_time(lag_s)} late", "bold red" if lag_s > 0.25 else "yellow" if lag_s > 0.05 else "")]


def _events(vitals: Vitals) -> Iterator[Line]:
    if not vitals.events:
        return
    width = max(len(name) for name, _, _ in vitals.events[:_MOST_EVENTS])
    yield [*_label("events"), (f"{'':{width}}  last minute  since the start", "dim")]
    for name, recent, total in vitals.events[:_MOST_EVENTS]:
        yield [*_label(""), (name.ljust(width), ""), (f"{recent:13}", "bold" if recent else "dim"), (f"{total:17}", "")]


def _own(vitals: Vitals) -> Iterator[Line]:
    for number, (what, value) in enumerate(vitals.own):
        yield [*_label("figures" if not number else ""), (f"{what}: ", "dim"), (f"{value:g}", "bold")]


def _faults(faults: Sequence[Fault]) -> Iterator[Line]:
    for number, fault in enumerate(list(faults)[-_MOST_FAULTS:]):
        label = _label("log" if not number else "")
        often = f"{fault.times:,} times, the last: " if fault.times > 1 else ""
        level = (f"{fault.level} ", _LEVELS.get(fault.level, "dim"))
        yield [*label, (f"{fault.at} ", "dim"), level, (often, "bold"), (fault.text, "")]


def _foot(about: About, columns: int) -> list[Line]:
    stop = " q or ctrl-c stops it, its data stays"
    if about.deaths is None:
        return [[(stop, "dim")]]
    way = f"killed, it is started again: kill -9 {about.pid}"
    often = f"  killed {about.deaths} time{'s' if about.deaths > 1 else ''} so far" if about.deaths else ""
    if len(f"{stop}; {way}{often}") <= columns:
        return [[(f"{stop}; {way}", "dim"), (often, "bold magenta")]]
    # Cut off at the edge, the number would be that of another process.
    return [[(stop, "dim")], [(f" {way}", "dim"), (often, "bold magenta")]]


def _label(text: str) -> Line:
    return [(f" {text}".ljust(_LABEL), "dim")]


def _count(value: int, what: str, *, bad: bool = False) -> Line:
    style = "dim" if not value else "bold red" if bad else "bold"
    return [(f"{value:,} ", style), (f"{what}   ", "dim")]


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 10 or not per_s else f"{per_s:.1f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return (
        f"{seconds:.1f} s"
        if seconds >= 1
        else f"{seconds * 1e3:.0f} ms"
        if seconds >= 0.01
        else f"{seconds * 1e3:.1f} ms"
    )


def _sparkline(history: Sequence[float], columns: int) -> str:
    """Return a bar a second, the newest on the right, as high as the highest of them asks."""
    shown = list(history)[-max(10, min(HISTORY, columns - 40)) :]
    highest = max(shown, default=0.0)
    if not highest:
        return ""
    bars = "".join(_BARS[min(7, int(value / highest * 7.999))] if value else " " for value in shown)
    return f"{bars} most {_rate(highest)}"
