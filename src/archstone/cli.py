"""The command line: `archstone VERB SYSTEM … [--data DIR]`.

SYSTEM is the name of a system that comes with Archstone (`shop`) or `package.module:attribute` of your own. While the
system runs, a verb asks the running process through its control socket; otherwise it opens the data folder itself.
"""

import asyncio
import importlib
import sys
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from archstone.errors import ArchstoneError, ConfigError
from archstone.runtime import Loaded, Settings, ask_system, load_settings, restore
from archstone.runtime.serve import run_loop, serve
from archstone.services import System

__all__ = ["app", "find_system", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich", help=__doc__)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

SystemName = Annotated[str, typer.Argument(metavar="SYSTEM", help="`shop`, or `package.module:attribute` of your own.")]
Data = Annotated[Path | None, typer.Option(help="Data folder; by default .archstone/<system>.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; by default archstone.toml if there.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the system.")]


def find_system(name: str) -> System:
    """Return the system called `name`: one that comes with Archstone, or `package.module:attribute`.

    Raises:
        ConfigError: there is no such module or attribute, or it is not a System.
    """
    module_name, _, attribute = name.partition(":")
    if not attribute:
        module_name, attribute = f"archstone.systems.{name}.system", name
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ConfigError(
            f"no system {name!r}: there is no module {error.name}; name `shop` or package.module:attribute"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"no system {name!r}: module {module_name} has no {attribute!r}") from error
    finally:
        sys.path.pop(0)
    if not isinstance(found, System):
        raise ConfigError(f"{name} is a {type(found).__name__}, not a System")
    return found


@app.command()
def up(
    system: SystemName,
    port: Annotated[int | None, typer.Option(help="Port of the front door; 0 takes a free one. Default 8080.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default 127.0.0.1.")] = None,
    data: Data = None,
    fresh: Annotated[bool, typer.Option(help="Empty the data folder first.")] = False,
    config: ConfigFile = None,
    options: Sets = None,
) -> None:
    """Run a system: every service, the bus and the gateway in one process, durable in the data folder."""
    found = find_system(system)
    loaded = _settings(found, config, options, port=port, host=host)
    run_loop(lambda: serve(found, _folder(found, data), loaded, fresh=fresh, ready=_say_ready))


@app.command()
def admin(system: SystemName, email: str, data: Data = None) -> None:
    """Give the registered user EMAIL the role `admin`."""
    _ask(system, data, "admin", {"email": email})
    out.print(f"{escape(email)} is an administrator now; sign in again to use it")


@app.command()
def trace(system: SystemName, reference: str, data: Data = None) -> None:
    """Print everything that happened for REFERENCE (an order id, a saga id, a trace id) as a waterfall."""
    out.print(_ask(system, data, "trace", {"reference": reference})["waterfall"], markup=False, soft_wrap=True)


@app.command()
def sagas(
    system: SystemName,
    saga_id: Annotated[str | None, typer.Argument(help="Show one saga step by step.")] = None,
    status: Annotated[str | None, typer.Option(help="running, compensating, done, failed or stuck.")] = None,
    resume: Annotated[bool, typer.Option(help="Let the stuck saga go on.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    data: Data = None,
) -> None:
    """List sagas, newest first; show one; resume one that is stuck."""
    if saga_id is None:
        found = _ask(system, data, "sagas", {"status": status, "limit": limit})
        _print_table(["id", "service", "name", "status", "started", "error"], found["sagas"])
    elif resume:
        _ask(system, data, "saga-resume", {"id": saga_id})
        out.print(f"saga {escape(saga_id)} goes on")
    else:
        found = _ask(system, data, "saga", {"id": saga_id})
        _print_fields(found["saga"])
        _print_table(["step", "operation", "status", "attempts", "answer", "undo"], found["steps"])


@app.command()
def dead(
    system: SystemName,
    message_id: Annotated[str | None, typer.Argument(help="A dead letter; shown whole.")] = None,
    replay: Annotated[bool, typer.Option(help="Deliver it again (all of them without an id).")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    data: Data = None,
) -> None:
    """List the messages that no handler could handle; show or replay them."""
    if replay:
        count = _ask(system, data, "dead-replay", {"id": message_id})["replayed"]
        out.print(f"{count} delivered again")
    else:
        letters = _ask(system, data, "dead", {"id": message_id, "limit": limit})["letters"]
        if message_id is not None and letters:
            _print_fields(letters[0])
        else:
            _print_table(["id", "group", "name", "key", "attempts", "error", "died"], letters)


@app.command()
def config(system: SystemName, config: ConfigFile = None, options: Sets = None) -> None:
    """Print every setting with its value and the source it came from."""
    loaded = _settings(find_system(system), config, options)
    rows = [{"name": r.name, "value": r.shown, "source": r.source, "about": r.about} for r in loaded.rows()]
    _print_table(["name", "value", "source", "about"], rows)


@app.command()
def backup(system: SystemName, file: Path, data: Data = None) -> None:
    """Write the whole data folder to FILE, consistent over all databases, while the system runs or not."""
    with err.status("backing up"):
        found = _ask(system, data, "backup", {"file": str(file.absolute())}, timeout_s=3600)
    out.print(f"{found['files']} files, {found['size_bytes'] / 1e6:.1f} MB in {escape(str(file))}")


@app.command(name="restore")
def restore_command(
    system: SystemName,
    file: Path,
    data: Data = None,
    fresh: Annotated[bool, typer.Option(help="Replace what the data folder holds.")] = False,
) -> None:
    """Make the data folder what it was when FILE was written. The system must not run."""
    found = find_system(system)
    info = restore(file, _folder(found, data), found.name, replace=fresh)
    out.print(f"{len(info.files)} files restored, as of {_instant(info.taken_at_us)}")


def _say_ready(url: str) -> None:
    if out.is_terminal:
        out.print(f"[bold]ready[/] at [link]{url}[/]  (ctrl-c stops it; its data stays)")


def _folder(system: System, data: Path | None) -> Path:
    return data or Path(".archstone") / system.name


def _settings(system: System, file: Path | None, options: list[str] | None, **flags: object) -> Loaded:
    chosen: dict[str, str] = {}
    for text in options or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: write NAME=VALUE")
        chosen[name] = value
    return load_settings({**flags, "options": chosen}, file=file)


def _ask(system: str, data: Path | None, verb: str, arguments: Mapping[str, object], *, timeout_s: float = 60) -> Any:
    found = find_system(system)
    return _run(ask_system(found, _folder(found, data), verb, arguments, settings=Settings(), timeout_s=timeout_s))


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def _print_table(columns: list[str], rows: list[dict[str, Any]]) -> None:
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(escape(_cell(row.get(column))) for column in columns))
    out.print(table if rows else "none")


def _print_fields(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        out.print(f"[bold]{escape(name)}[/]  {escape(_cell(value))}")


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _instant(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")


def _fail(error: ArchstoneError) -> NoReturn:
    err.print(f"[red]archstone:[/] {escape(str(error))}", soft_wrap=True)
    raise SystemExit(2)


def main() -> None:
    """Run the command line; an error of ours is one line and exit code 2."""
    try:
        app()
    except ArchstoneError as error:
        _fail(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
