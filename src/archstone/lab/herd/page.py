"""The experiment as one HTML file: conclusion, and for each scene a table and a small plot per defence, on one scale.

Opened from a disk, it asks nobody for anything.
"""

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any, Final

from archstone.lab.herd.report import rows_of
from archstone.lab.plot import Band, Plot, Series

__all__ = ["page_of"]

_TITLE: Final = "The thundering herd"
_HOW: Final = (
    "<p class=how>Each reader comes when it is due, whatever became of those before, and gives up after its patience. "
    "Times are milliseconds from then to the value; failed reads are not among them. <em>Most at once</em> is the peak "
    "of what the origin works on and has in line; the plots show the same, ten times a second, all of a scene on one "
    "scale. <em>Wasted</em> are loads that the origin made for readers who had given up. A scene ends before a value "
    "would end twice, so one load per key is what is needed. All but naive, TTL jitter and breaker make one load per "
    "key, whatever else they do.</p>"
)


def page_of(report: Mapping[str, Any]) -> str:
    """Return the page of a report."""
    style = files("archstone.lab").joinpath("page.css").read_text()
    time = "real time, the origin behind HTTP in a process of its own" if report["real"] else "virtual time"
    told = "".join(f"<li>{escape(sentence)}</li>" for sentence in report["conclusion"])
    body = [
        f"<h1>{_TITLE}</h1><p>What reaches the origin when values end, with and without each defence; {time}, ",
        f"seed {report['seed']}.</p>",
        f"<ul class=told>{told}</ul>",
        *(_scene(scene, report["step_s"]) for scene in report["scenes"]),
        _HOW,
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_TITLE}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{style}</style><main>{''.join(body)}</main></html>\n"
    )


def _scene(scene: Mapping[str, Any], step_s: float) -> str:
    keys = "1 key" if scene["keys"] == 1 else f"{scene['keys']} keys"
    about = (
        f"{keys}, {scene['rate_per_s']:g} reads a second, values good for {scene['ttl_s']:g} s; the origin makes "
        f"{scene['places']} loads at once, {scene['load_s']:g} s each: {scene['capacity_per_s']:g} a second."
    )
    highest = max((trial["peak"] for trial in scene["trials"]), default=1)
    plots = "".join(_plot(scene, trial, highest, step_s) for trial in scene["trials"])
    return (
        f"<section><h2>{escape(scene['about'].capitalize())}</h2><p>{escape(about)}</p>{_table(scene)}"
        f'<div class="many">{plots}</div></section>'
    )


def _plot(scene: Mapping[str, Any], trial: Mapping[str, Any], highest: float, step_s: float) -> str:
    steps = round(scene["to_s"] / step_s)
    plot = Plot(
        title=trial["defence"],
        unit="at the origin",
        series=[Series("", trial["held"][:steps])],
        bands=[] if scene["cold"] else [Band("ended", scene["event_s"], scene["to_s"])],
        step_s=step_s,
        highest=highest,
    )
    p99 = "no read answered" if trial["p99"] is None else f"p99 {trial['p99']:,.0f} ms"
    figures = f"{trial['peak']:,} at once, {p99}, {trial['failed']:,} failed"
    caption = f"<figcaption>{escape(trial['defence'])} <small>{escape(figures)}</small></figcaption>"
    return f"<figure>{caption}<p>{escape(trial['about'])}</p>{plot.svg()}</figure>"


def _table(scene: Mapping[str, Any]) -> str:
    columns, rows = rows_of(scene)
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide herd"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
