"""The verb about audit logs: `archstone audit SYSTEM`, `archstone audit verify SYSTEM`."""

# ruff: noqa: FBT002, PLR0913, PLR0917 - an option each, flags as typer reads them

from typing import Annotated, Final

import typer
from rich.markup import escape

from archstone.cli.asking import AsJson, Data, ask_once, examples
from archstone.cli.show import print_json, print_table, say
from archstone.errors import ConfigError

__all__ = ["add_to"]

VERIFY: Final = "verify"
_TIMEOUT_S: Final = 3_600.0
_COLUMNS: Final = ("at", "log", "number", "who", "action", "subject", "outcome", "whence", "details")

Words = Annotated[list[str], typer.Argument(metavar="[verify] SYSTEM", help="`shop`, or `verify shop` to check it.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(
        name="audit",
        epilog=examples(
            "archstone audit shop",
            "archstone audit shop --action users.sign-in --outcome failed  (who guesses passwords)",
            "archstone audit verify shop  (whether anybody has touched the logs)",
        ),
    )(audit)


def audit(
    words: Words,
    log: Annotated[str | None, typer.Option(help="Only of this log: `system`, or the name of a service.")] = None,
    who: Annotated[str | None, typer.Option(help="Only what this principal did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, or those that begin so, such as users.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what was done to this.")] = None,
    outcome: Annotated[str | None, typer.Option(help="done, denied or failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List what was done and what was refused, newest first; with `verify`, check that nobody has touched the records.

    Checking follows the chain of hashes of every log from its oldest record to its newest, and to its anchor. A log
    that does not hold makes the exit code 1.
    """
    system, check = _system_of(words)
    if check:
        _verify(system, data, log, as_json=as_json)
        return
    asked = {"log": log, "who": who, "action": action, "subject": subject, "outcome": outcome, "limit": limit}
    found = ask_once(system, data, "audit", asked)
    print_json(found) if as_json else print_table(_COLUMNS, found["records"])


def _verify(system: str, data: Data, log: str | None, *, as_json: bool) -> None:
    found = ask_once(system, data, "audit-verify", {"log": log}, timeout_s=_TIMEOUT_S)
    logs = found["logs"]
    if as_json:
        print_json(found)
    else:
        print_table(["log", "records", "first", "last", "anchored", "holds"], logs)
        faults = [{"log": each["log"], **fault} for each in logs for fault in each["faults"]]
        if faults:
            print_table(["log", "record", "what"], faults)
        else:
            say(f"{sum(each['records'] for each in logs)} records, and nobody has touched them")
    if not all(each["holds"] for each in logs):
        raise typer.Exit(1)


def _system_of(words: list[str]) -> tuple[str, bool]:
    """Return the system that is meant, and whether its logs are to be checked. The order of the two does not matter."""
    rest = [word for word in words if word != VERIFY]
    if len(rest) != 1 or len(words) > 2:
        raise ConfigError(f"archstone audit {escape(' '.join(words))}: write archstone audit [verify] SYSTEM")
    return rest[0], len(words) == 2
