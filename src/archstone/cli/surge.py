"""The verb `surge`: how a running system holds under a hundred times its traffic."""

import asyncio
import contextlib
import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from archstone import world
from archstone.cli.asking import named
from archstone.cli.find import find_system
from archstone.cli.show import err, print_fields, print_json, print_table, say
from archstone.errors import ConfigError
from archstone.lab.child import run_in_child
from archstone.lab.page import page_of
from archstone.lab.report import FORMAT
from archstone.lab.summary import lines_of, rows_of
from archstone.lab.surge import SurgeSettings
from archstone.runtime import ControlError, ask
from archstone.services import System

__all__ = ["add_to"]

_DURATION: Final = re.compile(r"(\d{1,6})(s|m|)")
_SECONDS: Final = {"s": 1, "m": 60, "": 1}
_EXAMPLES: Final = (
    "archstone surge shop",
    "archstone surge shop --rps 50 --for 2m",
    "archstone surge exchange --set binary=127.0.0.1:7100",
    "archstone surge shop --compare .archstone/shop/surges/20261122-231500.json",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog="[bold]Examples[/]\n\n" + "\n\n".join(_EXAMPLES))(surge)


def surge(  # noqa: PLR0913, PLR0917 - an option each
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="`shop`, `exchange`, or `package.module:attribute` of your own.")
    ],
    url: Annotated[
        str | None, typer.Option(help="Where it runs; by default the one that runs on the data folder.")
    ] = None,
    rps: Annotated[float, typer.Option(min=0.1, help="Requests a second before and after.")] = 20,
    times: Annotated[float, typer.Option(min=1, help="How many times that the surge is.")] = 100,
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="How long the surge lasts: 30s, 2m.")] = "30s",
    connections: Annotated[int, typer.Option(min=1, max=20_000, help="Connections open at once.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed sends the same traffic.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report, .json; the page goes beside it as .html.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An earlier report, .json, drawn into the page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, for programs.")] = False,  # noqa: FBT002 - a flag, as typer reads it
    data: Annotated[Path | None, typer.Option(help="Data folder; by default .archstone/<system>.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Of the traffic: docs/surge.md has the names."),
    ] = None,
) -> None:
    """Send a running system its usual traffic, then a hundred times as much, and show what held.

    The traffic is what `traffic.py` beside the system says.
    It makes accounts and orders: do not send it where they are real.
    Ends with 1 if what must never be was: if more was sold than there was, an order lost, a trade told twice.
    """
    found = find_system(system)
    folder = data or Path(".archstone") / found.name
    earlier = None if compare is None else _read(compare)
    settings = SurgeSettings(
        system=found.name,
        traffic=_traffic_of(found),
        url=url or asyncio.run(_running_at(folder, found)),
        rps=rps,
        times=times,
        surge_s=_duration_s(for_),
        connections=connections,
        seed=seed,
        options=named(options),
    )
    with _progress(settings) as tell:
        report = asyncio.run(run_in_child(settings, tell))
    page = _write(report, earlier, out or _default_file(folder))
    if as_json:
        print_json(report)
    else:
        _print(report, page)
    if is_broken(report):
        raise typer.Exit(1)


def is_broken(report: Mapping[str, Any]) -> bool:
    """Return whether something has happened that must never."""
    return any(report["outcome"].get(name) for name in report["never"])


def _traffic_of(system: System) -> str:
    """Return the module of the load model: `traffic`, beside the module of the system."""
    module, colon, _ = system.called.partition(":")
    home = f"archstone.systems.{system.called}.system" if not colon else module
    package = home.rpartition(".")[0]
    return f"{package}.traffic" if package else "traffic"


async def _running_at(folder: Path, system: System) -> str:
    hint = f"start it with `archstone up {system.called}`, or say where it runs with --url"
    try:
        status = await ask(folder / "control.sock", "status")
    except ControlError as error:
        raise ConfigError(f"no {system.name} runs on {folder}: {hint}") from error
    if status["system"] != system.name:
        raise ConfigError(f"{folder} is of system {status['system']}, not {system.name}: name its folder with --data")
    if not (url := status.get("url")):
        raise ConfigError(f"the {system.name} on {folder} has no front door yet: try again in a moment, or say --url")
    return str(url)


def _duration_s(text: str) -> int:
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 1 <= seconds <= 3600:
        raise ConfigError(f"--for {text}: write a time from 1s to 60m, such as 30s or 2m")
    return seconds


def _read(file: Path) -> dict[str, Any]:
    report: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        report = dict(json.loads(file.read_text()))
    if report.get("format") != FORMAT:
        raise ConfigError(f"--compare {file}: no report of a surge ({FORMAT}); `archstone surge` writes one as .json")
    return report


def _default_file(folder: Path) -> Path:
    name = f"{world.now():%Y%m%d-%H%M%S}.json"
    return folder / "surges" / name if (folder / "format.json").is_file() else Path(f"surge-{name}")


def _write(report: Mapping[str, Any], earlier: Mapping[str, Any] | None, file: Path) -> Path:
    file = file.with_suffix(".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report))
    page = file.with_suffix(".html")
    page.write_text(page_of(report, earlier=earlier))
    return page


def _print(report: Mapping[str, Any], page: Path) -> None:
    columns, rows = rows_of(report)
    print_table(columns, [dict(zip(columns, row, strict=True)) for row in rows])
    say("")
    print_fields(dict(lines_of(report)))
    say(f"\npage and report: {escape(str(page))}, {escape(page.with_suffix('.json').name)}")


@contextmanager
def _progress(settings: SurgeSettings) -> Generator[Any]:
    """Show what happens on a terminal, and nothing elsewhere."""
    total_s = settings.base_s + settings.surge_s + settings.recovery_s
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("prepare", total=total_s, told="")

        def tell(name: str, what: Any) -> None:
            if name == "phase":
                progress.update(task, description=what)
            elif name == "note":
                progress.update(task, told=what)
            else:
                p95 = "" if what["p95"] is None else f", p95 {what['p95']:.0f} ms"
                told = f"{what['served']} served a second{p95}, {what['shed']} shed, {what['limited']} limited"
                progress.update(task, completed=min(what["at_s"], total_s), description=what["phase"], told=told)

        yield tell
