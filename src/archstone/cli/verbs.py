"""The command line: `archstone VERB SYSTEM … [--data DIR]`.

SYSTEM is the name of a system that comes with Archstone (`shop`) or `package.module:attribute` of your own. While the
system runs, a verb asks the running process through its control socket; otherwise it opens the data folder itself.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, NoReturn

from archstone.errors import ArchstoneError, ConfigError
from archstone.runtime import Loaded, Settings, ask_system, load_settings, restore
from archstone.services import System

try:
    import typer
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from archstone.runtime.serve import run_loop, serve
except (ImportError, ConfigError):
    # The script `archstone` comes with the blocks alone, too: it says what it needs, in one line.
    sys.stderr.write("archstone: the command line needs more than the blocks: pip install 'archstone[systems]'\n")
    raise SystemExit(2) from None

__all__ = ["app", "find_system", "main"]

TRACEBACK: Final = "ARCHSTONE_TRACEBACK"
_LATER: Final = ", once the system runs"

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
        ConfigError: there is no such module or attribute, it is not a System, or importing it failed.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon:
        module_name, attribute = f"archstone.systems.{name}.system", name
    module = _imported(name, module_name)
    found = getattr(module, attribute, None)
    if found is None:
        raise ConfigError(
            f"no system {name!r}: module {module_name} has no {attribute!r}; write package.module:attribute"
        )
    if not isinstance(found, System):
        raise ConfigError(f"{name} is a {type(found).__name__}, not a System: name the System of your module")
    return found


def _imported(name: str, module_name: str) -> ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            what = f"no system {name!r}: there is no module {error.name}; name `shop` or package.module:attribute"
            raise ConfigError(what) from error
        what = f"system {name!r} needs {error.name}, which is not installed: install it, or 'archstone[systems]'"
        raise ConfigError(what) from error
    except Exception as error:
        what = f"system {name!r}: importing {module_name!r} failed with {type(error).__name__}: {error}"
        raise ConfigError(f"{what}; mend it, {TRACEBACK}=1 shows where") from error


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
    run_loop(serve(found, _folder(found, data), loaded, fresh=fresh, ready=_say_ready))


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
    status: Annotated[str | None, typer.Option(help="running, stuck, done or failed.")] = None,
    resume: Annotated[bool, typer.Option(help="Let the stuck saga go on.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    data: Data = None,
) -> None:
    """List sagas, newest first; show one; resume one that is stuck."""
    if saga_id is None:
        if resume:
            raise ConfigError(
                "--resume: name the saga that is to go on; `archstone sagas SYSTEM --status stuck` lists them"
            )
        found = _ask(system, data, "sagas", {"status": status, "limit": limit})
        _print_table(["id", "service", "name", "status", "started", "error"], found["sagas"])
    elif resume:
        acts = _ask(system, data, "saga-resume", {"id": saga_id})["acts"]
        out.print(f"saga {escape(saga_id)} goes on{'' if acts else _LATER}")
    else:
        found = _ask(system, data, "saga", {"id": saga_id})
        _print_fields(found["saga"])
        _print_table(["id", "operation", "state", "arguments", "answer", "undo"], found["steps"])


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
        found = _ask(system, data, "dead-replay", {"id": message_id})
        out.print(f"{found['replayed']} to be delivered again{'' if found['acts'] else _LATER}")
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
    return load_settings({**flags, "options": chosen}, system=system, file=file)


def _ask(system: str, data: Path | None, verb: str, arguments: Mapping[str, object], *, timeout_s: float = 60) -> Any:
    found = find_system(system)

    def settings() -> Settings:
        return _settings(found, None, None).settings

    work = ask_system(found, _folder(found, data), verb, arguments, settings=settings, timeout_s=timeout_s)
    return asyncio.run(work)


def _print_table(columns: list[str], rows: list[dict[str, Any]]) -> None:
    # What a row is named by stays whole, so that it can be copied.
    table = Table(Column(columns[0], no_wrap=True), *columns[1:], box=None, header_style="bold")
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


def _fail(message: str) -> NoReturn:
    err.print(f"[red]archstone:[/] {escape(message)}", soft_wrap=True)
    raise SystemExit(2)


def main() -> None:
    """Run the command line; an error is one line and exit code 2. ARCHSTONE_TRACEBACK=1 shows where it came from."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        if isinstance(error, ArchstoneError):
            _fail(str(error))
        _fail(f"unforeseen {type(error).__name__}: {error}; please report it, {TRACEBACK}=1 shows where it came from")


if __name__ == "__main__":
    main()
