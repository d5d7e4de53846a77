"""The verb `replay`: a historical file through an exchange."""

# ruff: noqa: FBT002, PLR0917 - an option each, flags as typer reads them

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn

from archstone.cli.asking import AsJson, examples
from archstone.cli.show import err, print_fields, print_json, say
from archstone.errors import ConfigError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(
        epilog=examples(
            "archstone replay exchange AAPL_2012-06-21_34200000_57600000_message_10.csv --check",
            "archstone replay exchange 01302020.NASDAQ_ITCH50.gz --symbol AAPL --symbol MSFT",
            "archstone replay exchange 01302020.NASDAQ_ITCH50.gz --symbol AAPL --speed 10",
        )
    )(replay)


def replay(
    system: Annotated[Literal["exchange"], typer.Argument(metavar="SYSTEM", help="`exchange`.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="LOBSTER's messages (.csv), or ITCH 5.0; also as .gz.")],
    speed: Annotated[
        float | None, typer.Option(help="So many times as fast as it went; by default as fast as it goes.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare the books with what the file says.")] = False,
    symbol: Annotated[list[str] | None, typer.Option(help="A stock of an ITCH file; again for more.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Messages handed over together, at most.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Send a day that was through an exchange of its own, which ends with it: no running one is touched.

    Each execution that FILE tells becomes an order that trades with just the order that FILE names.
    Trades that come out otherwise are faults; with --check, so are books that differ.
    What has no counterpart is counted as lost. Ends with 1 if there was a fault.
    """
    del system  # there is one so far
    if speed is not None and not speed > 0:
        raise ConfigError(f"--speed {speed}: write a number above 0, such as 10")
    try:
        from archstone.systems.exchange.replaying.command import ReplayOptions, run_replay, shown  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"the exchange needs {error.name}: pip install 'archstone[exchange]'") from error
    options = ReplayOptions(speed=speed, check=check, batch=batch, symbols=frozenset(symbol or ()))
    with _progress(file.name) as tell:
        report = asyncio.run(run_replay(file, options, tell))
    if as_json:
        print_json({**shown(report), "told": report.told})
    else:
        print_fields({name: value for name, value in shown(report).items() if value != {}})
        for fault in report.told:
            say(f"[red]fault[/] {fault}")
    if report.faults:
        raise typer.Exit(1)


@contextmanager
def _progress(name: str) -> Generator[Any]:
    """Show how far it is on a terminal, and nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(name, total=1.0, told="")

        def tell(report: Any, part: float) -> None:
            told = f"{report.messages:,} messages, {report.messages_per_s:,.0f} a second, {report.faults} faults"
            progress.update(task, completed=part, told=told)

        yield tell
