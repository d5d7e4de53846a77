"""A surge as one HTML file: tiles, plots and tables; opened from a disk, it asks nobody for anything.

With an earlier run both are drawn, the earlier one dashed, and each figure stands beside its earlier value.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any, Final

from archstone.lab.plot import HEIGHT, WIDTH, Band, Plot, Series
from archstone.lab.summary import lines_of, rows_of

__all__ = ["page_of", "pictures_of"]

Report = Mapping[str, Any]
Second = Mapping[str, Any]
_KEY: Final = 24
_FAILURES: Final = ("late", "shed", "limited", "not_sent", "timeout", "broken", "failed", "refused", "shed_mute")


def page_of(report: Report, *, earlier: Report | None = None) -> str:
    """Return the page of a report, beside an earlier one if it is given."""
    style = files(__package__ or "").joinpath("page.css").read_text()
    name = f"Surge of {report['system']}"
    when = datetime.fromtimestamp(report["at_us"] / 1e6, UTC).isoformat(" ", "minutes")
    settings, machine = report["settings"], report["machine"]
    about = (
        f"{settings['rps']:g} requests a second, then {settings['times']:g} times as many for {settings['surge_s']} s; "
        f"{settings['url']}, {when}, {machine['cpus']} processors, {machine['system']}, Python {machine['python']}"
    )
    body = [
        f"<h1>{escape(name)}</h1><p>{escape(about)}</p>",
        _compared(earlier),
        _tiles(report, earlier),
        *(_figure(plot) for plot in _plots(report, earlier)),
        _table(report),
        _HOW,
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{style}</style><main>{''.join(body)}</main></html>\n"
    )


def pictures_of(report: Report) -> dict[str, str]:
    """Return each plot as an SVG file that stands alone, by its title: for documents."""
    style = files(__package__ or "").joinpath("page.css").read_text()
    return {
        plot.title: plot.svg()
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        .replace(f"0 0 {WIDTH} {HEIGHT}", f"0 0 {WIDTH} {HEIGHT + _KEY}", 1)
        .replace(">", f"><style>{escape(style)}</style>{_key(plot)}", 1)
        for plot in _plots(report, None)
    }


def _key(plot: Plot) -> str:
    """Return the names of the lines as text below the picture, where a document has no list beside the picture."""
    names = [f'<tspan class="key c{each.colour}" dx="10">{escape(each.name)}</tspan>' for each in plot.series]
    return f'<text x="{WIDTH - 10}" y="{HEIGHT + _KEY - 8}" text-anchor="end">{"".join(names)}</text>'


_HOW: Final = (
    "<p class=how>Times are counted from the instant at which a request was due, so that a stall counts for all that "
    "were due in it. Percentiles are of answers that were wanted; refusals (503 with Retry-After is shed, 429 is "
    "limited) and failures are counted apart. Health was asked ten times a second by another process.</p>"
)


def _compared(earlier: Report | None) -> str:
    if earlier is None:
        return ""
    when = datetime.fromtimestamp(earlier["at_us"] / 1e6, UTC).isoformat(" ", "minutes")
    return f"<p>Dashed and in brackets: the run of {escape(when)}.</p>"


def _tiles(report: Report, earlier: Report | None) -> str:
    before = dict(lines_of(earlier)) if earlier is not None else {}
    tiles: list[str] = []
    for name, value in lines_of(report):
        was = f" <small>({escape(before[name])})</small>" if name in before else ""
        tiles.append(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{was}</dd></div>")
    return f"<dl>{''.join(tiles)}</dl>"


def _figure(plot: Plot) -> str:
    title = f"<figcaption>{escape(plot.title)} <small>{escape(plot.unit)}</small></figcaption>"
    return f"<figure>{title}{plot.legend()}{plot.svg()}</figure>"


def _plots(report: Report, earlier: Report | None) -> list[Plot]:
    bands = [Band(phase["name"], phase["from_s"], phase["to_s"]) for phase in report["phases"]]
    kinds = list(report["phases"][0]["kinds"])
    failures = [name for name in _FAILURES if any(name in second for second in report["seconds"])]
    drawn: list[tuple[str, str, bool, dict[str, Callable[[Second], float | None]]]] = [
        ("Throughput", "requests a second", False, {"due": _value("due"), "served": _served}),
        ("Time to the answer", "ms", True, {name: _value(name) for name in ("p50", "p95", "p99")}),
        ("Served, by kind", "of a hundred due", False, {kind: _ratio(kind) for kind in kinds}),
        ("Refused and failed", "requests a second", False, {_plain(name): _count(name) for name in failures}),
    ]
    plots = [
        Plot(title=title, unit=unit, log=log, bands=bands, series=_series(report, earlier, lines))
        for title, unit, log, lines in drawn
        if lines
    ]
    health = [
        Series(f"{path}{' before' if old else ''}", told["worst_by_second"], colour, earlier=old)
        for old, run in ((False, report), (True, earlier))
        if run is not None
        for colour, (path, told) in enumerate(run["health"].items(), 1)
    ]
    return [*plots, Plot(title="Health checks, the slowest of each second", unit="ms", series=health, bands=bands)]


def _series(
    report: Report, earlier: Report | None, lines: Mapping[str, Callable[[Second], float | None]]
) -> Sequence[Series]:
    found: list[Series] = []
    for colour, (name, read) in enumerate(lines.items(), 1):
        found.append(Series(name, [read(second) for second in report["seconds"]], (colour - 1) % 6 + 1))
        if earlier is not None:
            values = [read(second) for second in earlier["seconds"]]
            found.append(Series(f"{name} before", values, (colour - 1) % 6 + 1, earlier=True))
    return found


def _value(name: str) -> Callable[[Second], float | None]:
    return lambda second: second[name]


def _count(name: str) -> Callable[[Second], float | None]:
    return lambda second: second.get(name, 0)


def _served(second: Second) -> float:
    return second.get("ok", 0) + second.get("late", 0)


def _ratio(kind: str) -> Callable[[Second], float | None]:
    def read(second: Second) -> float | None:
        found = second["kinds"].get(kind)
        return None if not found or not found["due"] else 100 * found["served"] / found["due"]

    return read


def _table(report: Report) -> str:
    columns, rows = rows_of(report)
    head = "".join(f"<th>{escape(_plain(name))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _plain(name: str) -> str:
    return name.replace("_", " ")
