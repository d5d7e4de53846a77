"""The verbs about sagas: `archstone sagas SYSTEM [list|show|resume|cancel|fork|signal]`."""

# ruff: noqa: FBT002, PLR0917 - an option each, flags as typer reads them

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from typer.core import TyperGroup

from archstone.cli.asking import LATER, AsJson, Data, SystemName, ask_once, examples
from archstone.cli.show import err, print_fields, print_json, print_table, say
from archstone.errors import ConfigError

__all__ = ["add_to"]

_AGE: Final = re.compile(r"(\d{1,6})(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AT_ONCE: Final = 20
"""Sagas in one question, so that a bar moves."""
_MOST: Final = 1000

SagaId = Annotated[str, typer.Argument(metavar="ID", help="The id of the saga: of an order, say.")]
SagaIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The sagas; or --all.")]
Status = Annotated[str | None, typer.Option(help="queued, running, stuck, done or failed.")]
Name = Annotated[str | None, typer.Option(help="Only sagas of this name, such as checkout.")]
Older = Annotated[str | None, typer.Option(metavar="AGE", help="Only those started so long ago: 30s, 10m, 2h, 7d.")]
Limit = Annotated[int, typer.Option(min=1, max=_MOST, help="How many to list.")]
Every = Annotated[bool, typer.Option("--all", help="All that are stuck, chosen by --name and --older.")]


class _Verbs(TyperGroup):
    """A verb may be left out: an option is one of `list`, and the id of a saga is shown."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb that the first word names, or else stands for."""
        word = args[0]
        if word == "--help":
            say(self.get_help(ctx))
            ctx.exit()
        if word not in self.commands:
            args = ["list" if word.startswith("-") else "show", *args]
        return super().resolve_command(ctx, args)


sagas = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    invoke_without_command=True,
    rich_markup_mode="rich",
    epilog=examples(
        "archstone sagas shop",
        "archstone sagas shop list --status stuck --name checkout",
        "archstone sagas shop show 01JD3A…  (one of them, step by step)",
        "archstone sagas shop resume --all  (when the cause is mended)",
    ),
)


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.add_typer(sagas, name="sagas")


@sagas.callback()
def of_system(context: typer.Context, system: SystemName) -> None:
    """List the sagas of SYSTEM, show one, and put right what needs a person."""
    context.obj = system
    if context.invoked_subcommand is None:
        list_sagas(context)


@sagas.command(
    name="list",
    epilog=examples(
        "archstone sagas shop list --status stuck",
        "archstone sagas shop list --name checkout --older 1d --status running  (what hangs since yesterday)",
    ),
)
def list_sagas(
    context: typer.Context,
    status: Status = None,
    name: Name = None,
    older: Older = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List sagas of all services, newest first."""
    found = _listed(context.obj, data, status=status, name=name, older=older, limit=limit)
    if as_json:
        print_json({"sagas": found})
        return
    versions = {row["version"] for row in found}
    columns = ["id", "service", "name", *(["version"] if versions - {1} else []), "status", "started", "error"]
    print_table(columns, found)


@sagas.command(epilog=examples("archstone sagas shop show 01JD3A…", "archstone sagas shop show 01JD3A… --json"))
def show(context: typer.Context, saga_id: SagaId, as_json: AsJson = False, data: Data = None) -> None:
    """Show one saga step by step: what each called, answered, and is undone by."""
    found = ask_once(context.obj, data, "saga", {"id": saga_id})
    if as_json:
        print_json(found)
        return
    about = found["saga"]
    print_fields({name: value for name, value in about.items() if name not in {"parent", "forked_from"} or value})
    children = any(step["child"] for step in found["steps"])
    print_table(["id", "operation", "state", "arguments", "answer", "undo", *["child"] * children], found["steps"])


@sagas.command(
    epilog=examples(
        "archstone sagas shop resume 01JD3A…",
        "archstone sagas shop resume --all --name checkout  (every one that is stuck)",
    )
)
def resume(
    context: typer.Context,
    saga_ids: SagaIds = None,
    every: Every = False,
    name: Name = None,
    older: Older = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Let stuck sagas go on: with their body, or with undoing what is left. Mend the cause first.

    What is done or undone already is not done again.
    """
    chosen = _chosen(context.obj, data, saga_ids, every=every, name=name, older=older, what="are to go on")
    answer = _each(context.obj, data, "saga-resume", chosen)
    _tell(answer, as_json=as_json, said=lambda each: f"saga {each} goes on{'' if answer['acts'] else LATER}")


@sagas.command(
    epilog=examples(
        "archstone sagas shop cancel 01JD3A…",
        "archstone sagas shop cancel --all --older 7d --yes  (every one that is stuck for a week)",
    )
)
def cancel(
    context: typer.Context,
    saga_ids: SagaIds = None,
    every: Every = False,
    name: Name = None,
    older: Older = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether all of them are meant.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Have sagas undone that run or are stuck, newest step first. The system must run.

    Refused for one that has ended, goes back already, or did nothing that can be undone.
    """
    chosen = _chosen(context.obj, data, saga_ids, every=every, name=name, older=older, what="are to be undone")
    if every and chosen and not yes:
        typer.confirm(f"Undo {len(chosen)} sagas, every step of them?", abort=True, err=True)
    answer = _each(context.obj, data, "saga-cancel", chosen)
    _tell(answer, as_json=as_json, said=lambda each: f"saga {each} is cancelled and goes back")


@sagas.command(
    epilog=examples(
        "archstone sagas shop fork 01JD3A… --from main/charge#1 --as 01JD3A…-again",
        "archstone sagas shop fork 01JD3A… --from main/charge#1 --as again --version 2  (on newer code)",
    )
)
def fork(
    context: typer.Context,
    saga_id: SagaId,
    step: Annotated[str, typer.Option("--from", metavar="STEP", help="The step from which it goes on; `show` has it.")],
    as_id: Annotated[str, typer.Option("--as", metavar="ID", help="The id of the new saga.")],
    version: Annotated[int | None, typer.Option(min=1, help="Of its function; by default as it was.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Start a saga that begins where another was before STEP: what came before is copied, the rest runs again.

    The other must have ended or be stuck. Steps that both might undo are not copied.
    """
    asked = {"id": saga_id, "step": step, "as": as_id, "version": version}
    found = ask_once(context.obj, data, "saga-fork", asked)
    if as_json:
        print_json(found)
        return
    told = f"begins{'' if found['acts'] else LATER}" if found["new"] else "was forked from it before"
    say(f"saga {escape(as_id)} {told}")


@sagas.command(
    epilog=examples(
        "archstone sagas shop signal 01JD3A… paid '{\"amount\": 5}' --key payment-7",
        "archstone sagas shop signal 01JD3A… approved",
    )
)
def signal(
    context: typer.Context,
    saga_id: SagaId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the saga waits for.")],
    value: Annotated[str, typer.Argument(metavar="[JSON]", help="What it is told, as JSON.")] = "null",
    key: Annotated[str | None, typer.Option(help="Sent again with the same key, it is not sent.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Tell a saga what it waits for, or will."""
    try:
        decoded = json.loads(value)
    except ValueError as error:
        raise ConfigError(f'{value}: not JSON; a text is written "in quotes", between single ones') from error
    found = ask_once(context.obj, data, "saga-signal", {"id": saga_id, "name": name, "value": decoded, "key": key})
    if as_json:
        print_json(found)
        return
    say(f"signal {escape(name)} {'is sent' if found['new'] else 'was sent before'} to saga {escape(saga_id)}")


def _listed(
    system: str, data: Path | None, *, status: str | None, name: str | None, older: str | None, limit: int
) -> list[dict[str, Any]]:
    asked = {"status": status, "name": name, "older_s": None if older is None else _age_s(older), "limit": limit}
    return ask_once(system, data, "sagas", asked)["sagas"]


def _age_s(text: str) -> int:
    found = _AGE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--older {text}: write a number and s, m, h or d, such as 2h")
    return int(found[1]) * _SECONDS[found[2]]


def _chosen(
    system: str,
    data: Path | None,
    named: Sequence[str] | None,
    *,
    every: bool,
    name: str | None,
    older: str | None,
    what: str,
) -> list[str]:
    """Return the sagas that are meant: those named, or all that are stuck."""
    if every:
        if named:
            raise ConfigError("name the sagas or say --all, not both")
        found = _listed(system, data, status="stuck", name=name, older=older, limit=_MOST)
        return [row["id"] for row in found]
    if not named or name is not None or older is not None:
        lists = f"`archstone sagas {system} list --status stuck` lists them"
        raise ConfigError(f"name the sagas that {what}, or say --all; {lists}")
    return list(named)


def _each(system: str, data: Path | None, verb: str, sagas: Sequence[str]) -> dict[str, Any]:
    """Ask for an act on each saga, with a bar if they are many; return every outcome."""
    answer: dict[str, Any] = {"outcomes": [], "acts": True}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=len(sagas) <= _AT_ONCE) as progress:
        task = progress.add_task(verb.removeprefix("saga-"), total=len(sagas))
        for first in range(0, len(sagas), _AT_ONCE):
            part = sagas[first : first + _AT_ONCE]
            found = ask_once(system, data, verb, {"ids": part}, timeout_s=60 + 60 * len(part))
            answer = {"outcomes": [*answer["outcomes"], *found["outcomes"]], "acts": found["acts"]}
            progress.advance(task, len(part))
    return answer


def _tell(answer: Mapping[str, Any], *, as_json: bool, said: Callable[[str], str]) -> None:
    """Print what became of each saga; an error and exit code 2 if one was refused."""
    outcomes = answer["outcomes"]
    refused = [each for each in outcomes if not each["done"]]
    if len(outcomes) == 1 and refused:
        raise ConfigError(refused[0]["error"])
    if as_json:
        print_json(answer)
    elif not outcomes:
        say("none is stuck")
    else:
        for each in outcomes:
            if each["done"]:
                say(said(escape(each["id"])))
    if refused:
        for each in refused:
            err.print(f"{escape(each['id'])}: {escape(each['error'])}", soft_wrap=True)
        raise ConfigError(f"{len(refused)} of {len(outcomes)} sagas were refused")
