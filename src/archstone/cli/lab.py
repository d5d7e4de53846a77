"""The verb `lab`: experiments that compare ways to build something, on the real blocks."""

# ruff: noqa: FBT002, PLR0917 - an option each, flags as typer reads them

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from archstone import simulation
from archstone.cli.asking import AsJson, examples
from archstone.cli.show import err, print_json, print_table, say
from archstone.errors import ConfigError
from archstone.lab.herd import DEFENCES, SCENES, Defence, Origin, Scene, Trial, page_of, report_of, run_trial
from archstone.lab.herd.origin import OriginSettings
from archstone.lab.herd.remote import RemoteOrigin, origin_process
from archstone.lab.herd.report import rows_of
from archstone.observability import configure_logging

__all__ = ["add_to"]

_SCENES: Final = {scene.name: scene for scene in SCENES}
_DEFENCES: Final = {defence.name: defence for defence in DEFENCES}

T = TypeVar("T")
Played = list[tuple[Scene, list[Trial]]]
Step = Callable[[Scene, Defence], None]
"""Called before each trial."""

lab = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.add_typer(lab, name="lab")


@lab.callback()
def of_experiments() -> None:
    """Compare ways to build something by experiment, on the real blocks. Needs no system and no server."""


@lab.command(
    epilog=examples(
        "archstone lab herd",
        "archstone lab herd --scene hot --defence naive --defence coalescing",
        "archstone lab herd --real  (a minute and a half, against an origin of another process)",
        "archstone lab herd --out herd.html --json > herd.json",
    )
)
def herd(
    scenes: Annotated[
        list[str] | None, typer.Option("--scene", help=f"One of {', '.join(_SCENES)}; again for more. By default all.")
    ] = None,
    defences: Annotated[
        list[str] | None,
        typer.Option("--defence", help=f"One of {', '.join(_DEFENCES)}; again for more. By default all."),
    ] = None,
    real: Annotated[
        bool,
        typer.Option("--real", help="Real time, half as long, an origin behind HTTP in a process of its own."),
    ] = False,
    seed: Annotated[int, typer.Option(help="On virtual time the same seed gives the same figures.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The page with the plots, .html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the thundering herd does to an origin, and which defence helps against which herd.

    A cached value ends; all who want it find nothing, and ask the origin at once.
    It falls behind, readers give up, and it works on for those who have gone.

    [bold]hot[/]: one popular key ends.
    [bold]together[/]: many keys that were loaded together end together.
    [bold]cold[/]: a restart; the cache is empty, and the readers are there.

    Each is played naively and with each defence, by the blocks a program would use.
    On virtual time it takes seconds, and is the same for each seed.

    In the table: loads that the origin was asked for (one per key is needed), the most
    it had at once, at work and in line, loads wasted on readers who had given up,
    milliseconds to the value of answered reads, and failed reads.
    """
    chosen = _chosen("--defence", defences, _DEFENCES)
    plan = [(scene, chosen) for scene in _chosen("--scene", scenes, _SCENES)]
    configure_logging("critical")  # refreshes that fail are what is measured
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=sum(len(chosen) for _, chosen in plan))

        def step(scene: Scene, defence: Defence) -> None:
            progress.update(task, advance=1, description=f"{scene.name}, {defence.name}")

        played = asyncio.run(_play_really(plan, seed, step)) if real else _play(plan, seed, step)
    report = report_of(played, seed=seed, real=real)
    if out is not None:
        out.write_text(page_of(report), encoding="utf-8")
    if as_json:
        print_json(report)
    else:
        _print(report, out)


def _chosen(option: str, names: Sequence[str] | None, known: Mapping[str, T]) -> list[T]:
    """Return what `names` name, all of them where there are none."""
    for name in names or ():
        if name not in known:
            raise ConfigError(f"{option} {name}: write one of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


def _play(plan: Sequence[tuple[Scene, Sequence[Defence]]], seed: int, step: Step) -> Played:
    """Run each trial on a virtual clock of its own, so that none depends on which others were chosen."""
    played: Played = []
    for scene, defences in plan:
        trials: list[Trial] = []
        for defence in defences:
            step(scene, defence)
            origin = Origin(_origin_of(scene, seed))
            trials.append(simulation.run(run_trial(scene, defence, origin, seed=seed), seed=seed))
        played.append((scene, trials))
    return played


async def _play_really(plan: Sequence[tuple[Scene, Sequence[Defence]]], seed: int, step: Step) -> Played:
    played: Played = []
    async with origin_process() as port:
        for scene, defences in plan:
            short = scene.shorter()
            trials: list[Trial] = []
            for defence in defences:
                step(scene, defence)
                origin = RemoteOrigin(port, _origin_of(short, seed))
                trials.append(await run_trial(short, defence, origin, seed=seed))
            played.append((short, trials))
    return played


def _origin_of(scene: Scene, seed: int) -> OriginSettings:
    return OriginSettings(scene.places, scene.load_s, f"{seed}/{scene.name}")


def _print(report: dict[str, Any], page: Path | None) -> None:
    for scene in report["scenes"]:
        say(f"[bold]{escape(scene['name'])}[/]: {escape(scene['about'])}; "
            f"the origin can make {scene['capacity_per_s']:g} loads a second")  # fmt: skip
        columns, rows = rows_of(scene)
        print_table(columns, [dict(zip(columns, row, strict=True)) for row in rows])
        say("")
    for sentence in report["conclusion"]:
        say(f"- {escape(sentence)}")
    if page is not None:
        say(f"\npage: {escape(str(page))}")
