"""Run a system and look after it: archstone VERB SYSTEM.

SYSTEM is the name of a system that comes with Archstone (shop, exchange) or package.module:attribute of your own. While
the system runs, a verb asks the running process through its control socket; otherwise it opens the data folder itself.
"""

import asyncio
import functools
import importlib.metadata
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.markup import escape

from archstone.cli.asking import (
    LATER,
    AsJson,
    ConfigFile,
    Data,
    Sets,
    SystemName,
    examples,
    folder_of,
    settings_of,
)
from archstone.cli.asking import ask_once as _ask
from archstone.cli.audit import add_to as add_audit
from archstone.cli.find import TRACEBACK, built_in, find_system
from archstone.cli.lab import add_to as add_lab
from archstone.cli.live import LiveView, wants_view
from archstone.cli.replay import add_to as add_replay
from archstone.cli.roles import add_to as add_roles
from archstone.cli.sagas import add_to as add_sagas
from archstone.cli.show import err, out, print_fields, print_json, print_table, say
from archstone.cli.surge import add_to as add_surge
from archstone.errors import ArchstoneError, ConfigError
from archstone.runtime import restore
from archstone.runtime.chaos import Lifeline
from archstone.runtime.serve import run_loop, serve, serve_again_when_killed

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=" ".join((__doc__ or "").split()),
    epilog="Begin with: archstone up shop",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        say(f"archstone {importlib.metadata.version('archstone')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Take what stands before the verb."""
    del version


@app.command(
    epilog=examples(
        "archstone up shop", "archstone up exchange --set bots=off", "archstone up examples.hello.hello:hello --port 0"
    )
)
def up(
    system: SystemName,
    port: Annotated[int | None, typer.Option(help="Port of the front door; 0 takes a free one. Default 8080.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default 127.0.0.1.")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="Certificate, PEM: the front door speaks https.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="The key of the certificate, PEM.")] = None,
    redirect_port: Annotated[int | None, typer.Option(help="Port on which http is sent to https.")] = None,
    data: Data = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Empty the data folder first.")] = False,
    chaos: Annotated[bool, typer.Option("--chaos", help="Start it again whenever it is killed, to try that.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Log lines instead of the live view, as in a pipe.")] = False,
    config: ConfigFile = None,
    options: Sets = None,
) -> None:
    """Run a system: every service, the bus and the gateway in one process, durable in the data folder.

    Ctrl-c drains and stops it; its data stays.
    """
    lifeline = Lifeline.found() if chaos else None
    found = find_system(system)
    door = {"port": port, "host": host, "tls_cert": tls_cert, "tls_key": tls_key, "redirect_port": redirect_port}
    loaded = settings_of(found, config, options, **door)
    folder = folder_of(found, data)
    if chaos and lifeline is None:
        serve_again_when_killed(folder, loaded.settings, [sys.executable, *sys.orig_argv[1:]])
    if plain or not wants_view():
        ready = functools.partial(_say_ready, chaos=chaos)
        run_loop(serve(found, folder, loaded, fresh=fresh, ready=ready, lifeline=lifeline))
        return
    view = LiveView()
    try:
        say(f"starting {escape(found.name)}")
        run_loop(serve(found, folder, loaded, fresh=fresh, lifeline=lifeline, view=view))
    finally:
        if said := view.said():
            say(escape(said))


@app.command(epilog=examples("archstone admin shop ann@example.org"))
def admin(
    system: SystemName,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address with which the user has registered.")],
    data: Data = None,
) -> None:
    """Give the registered user EMAIL the role `admin`."""
    _ask(system, data, "admin", {"email": email})
    say(f"{escape(email)} is an administrator now; sign in again to use it")


@app.command(epilog=examples("archstone trace shop 01JD3A…  (the id of an order, as the shop answers it)"))
def trace(
    system: SystemName,
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The id of an order, a saga or a trace.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Print everything that happened for REFERENCE (an order id, a saga id, a trace id) as a waterfall."""
    found = _ask(system, data, "trace", {"reference": reference, "records": as_json})
    if as_json:
        print_json({"spans": found["records"]})
    else:
        out.print(found["waterfall"], markup=False, soft_wrap=True)


@app.command(
    epilog=examples(
        "archstone dead shop",
        "archstone dead shop 7  (one of them, whole)",
        "archstone dead shop 7 --replay  (when its cause is mended)",
    )
)
def dead(
    system: SystemName,
    message_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A dead letter; shown whole.")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Deliver it again (all of them without an id).")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List the messages that no handler could handle; show or replay them.

    While the system runs, the line below them says how many others have failed and will be tried again.
    """
    if replay:
        found = _ask(system, data, "dead-replay", {"id": message_id})
        say(f"{found['replayed']} to be delivered again{'' if found['acts'] else LATER}")
        return
    found = _ask(system, data, "dead", {"id": message_id, "limit": limit})
    if as_json:
        print_json(found)
    elif message_id is not None:
        print_fields(found["letters"][0])
    else:
        print_table(["id", "group", "name", "key", "attempts", "error", "died"], found["letters"])
        if waiting := found["retrying"]:
            groups = ", ".join(f"{group} {count}" for group, count in sorted(waiting.items()))
            say(f"{sum(waiting.values())} not dead have failed and wait for another attempt: {escape(groups)}")


@app.command(epilog=examples("archstone forget shop recommendations  (a service that the shop no longer has)"))
def forget(
    system: SystemName,
    group: Annotated[str, typer.Argument(metavar="GROUP", help="The name of the service that is gone.")],
    data: Data = None,
) -> None:
    """Drop the messages that wait for a service which was taken out of the system, for good.

    The log names such groups at each start. What a service of the system handles is never dropped.
    """
    found = _ask(system, data, "forget", {"group": group}, timeout_s=3600)
    topics = ", ".join(found["topics"])
    what = f"{found['dropped']} messages and {found['dead']} dead letters of topic {topics} dropped"
    say(f"group {escape(group)} is forgotten: {escape(what)}")


@app.command(
    epilog=examples("archstone call shop BankDrill.turn mode=slow", "archstone call shop Catalog.product sku=KIT-001")
)
def call(
    system: SystemName,
    operation: Annotated[str, typer.Argument(metavar="OPERATION", help="As Contract.method.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Values are JSON, or text if they are none.")
    ] = None,
    data: Data = None,
) -> None:
    """Call an operation of the system as its operator, who may do what services and administrators may.

    A command that needs an idempotency key cannot be called so.
    """
    found = _ask(system, data, "call", {"operation": operation, "arguments": _values(arguments or [])})
    print_json(found["answer"])


@app.command(epilog=examples("archstone config shop", "archstone config shop --json"))
def config(system: SystemName, config: ConfigFile = None, options: Sets = None, as_json: AsJson = False) -> None:
    """Print every setting and every option of the system, with its value and the source it came from."""
    loaded = settings_of(find_system(system), config, options)
    rows = [{"name": r.name, "value": r.shown, "source": r.source, "about": r.about} for r in loaded.rows()]
    print_json({"settings": rows}) if as_json else print_table(["name", "value", "source", "about"], rows)


@app.command(
    name="import",
    epilog=examples(
        "archstone import shop catalog products.json",
        "archstone import shop catalog feed.csv --map name=title,price=pricing.final --currency USD --stock 10",
        "archstone import shop catalog feed.csv --dry-run  (what would be left out, and why)",
    ),
)
def import_command(
    system: SystemName,
    what: Annotated[Literal["catalog"], typer.Argument(metavar="WHAT", help="`catalog`: products and their stock.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, JSON lines or CSV.")],
    data: Data = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OURS=THEIRS,…",
            help="sku, id, name, price, currency, category, description, stock, images; price=cost.net goes inside.",
        ),
    ] = None,
    currency: Annotated[str, typer.Option(help="Of prices that name none.")] = "EUR",
    stock: Annotated[int, typer.Option(help="Pieces where a record names none.")] = 0,
    prefix: Annotated[str, typer.Option(help="Begins SKUs made from ids: one for each source of ids.")] = "ID",
    encoding: Annotated[str | None, typer.Option(help="Of the file; by default its mark says, or UTF-8.")] = None,
    rows_at: Annotated[str | None, typer.Option(help="Path of the array, where a JSON file has several.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Take nothing if any record is faulty.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and tell, change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the products of FILE into the shop, all at once, while it runs or not; again and again if you like.

    A record that is no product is left out and told with its line.
    A product is known by its SKU, or by one made of its id, so it is changed and never doubled.
    Killed midway, nothing of FILE is seen.
    """
    from archstone.systems.shop.importing.command import ImportOptions, run_import, shown_faults

    del what  # there is one thing so far
    found = find_system(system)
    options = ImportOptions(
        mapping=tuple(mapping or ()), currency=currency, default_stock=stock, prefix=prefix, encoding=encoding,
        rows_at=rows_at, strict=strict, dry_run=dry_run,
    )  # fmt: skip
    outcome = asyncio.run(
        run_import(
            found, folder_of(found, data), file, options,
            settings=lambda: settings_of(found, None, None).settings, console=err,
        )
    )  # fmt: skip
    if as_json:
        print_json(outcome.as_json())
        return
    if outcome.report.faulty:
        print_table(["line", "left out because"], shown_faults(outcome))
    say(outcome.told())


@app.command(epilog=examples("archstone backup shop monday.tgz"))
def backup(
    system: SystemName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
    data: Data = None,
) -> None:
    """Write the whole data folder to FILE, consistent over all databases, while the system runs or not."""
    with err.status("backing up"):
        found = _ask(system, data, "backup", {"file": str(file.absolute())}, timeout_s=3600)
    say(f"{found['files']} files, {found['size_bytes'] / 1e6:.1f} MB in {escape(str(file))}")


@app.command(name="restore", epilog=examples("archstone restore shop monday.tgz --data restored"))
def restore_command(
    system: SystemName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `archstone backup` wrote.")],
    data: Data = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Replace what the data folder holds.")] = False,
) -> None:
    """Make the data folder what it was when FILE was written. The system must not run."""
    found = find_system(system)
    info = restore(file, folder_of(found, data), found.name, replace=fresh)
    say(f"{len(info.files)} files restored, as of {_instant(info.taken_at_us)}")


add_audit(app)
add_replay(app)
add_roles(app)
add_sagas(app)
add_surge(app)
add_lab(app)


def _say_ready(url: str, *, chaos: bool) -> None:
    if out.is_terminal:
        way = f"; killed, it is started again: kill -9 {os.getpid()}" if chaos else ""
        say(f"[bold]ready[/] at [link]{url}[/]  (what can be asked: {url}/docs; ctrl-c stops it, its data stays{way})")


def _values(arguments: Sequence[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text}: write NAME=VALUE")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _instant(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")


def _ask_for_verb(words: Sequence[str]) -> None:
    if words and (words[0] in built_in() or ":" in words[0]):
        raise ConfigError(f"{words[0]} is a system: write a verb before it, such as archstone up {words[0]}")


def _fail(message: str) -> NoReturn:
    err.print(f"[red]archstone:[/] {escape(message)}", soft_wrap=True)
    raise SystemExit(2)


def main() -> None:
    """Run the command line; an error is one line and exit code 2. ARCHSTONE_TRACEBACK=1 shows where it came from."""
    try:
        _ask_for_verb(sys.argv[1:])
        app(prog_name="archstone")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        if isinstance(error, ArchstoneError):
            _fail(str(error))
        _fail(f"unforeseen {type(error).__name__}: {error}; please report it, {TRACEBACK}=1 shows where it came from")
