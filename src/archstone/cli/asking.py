"""What the verbs have in common: how a system is named, where its data are, and how it is asked."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from archstone.cli.find import find_system
from archstone.errors import ConfigError
from archstone.runtime import Loaded, Settings, ask_system, load_settings
from archstone.services import System

__all__ = [
    "LATER", "AsJson", "ConfigFile", "Data", "Sets", "SystemName", "ask_once", "examples", "folder_of", "named",
    "settings_of",
]  # fmt: skip

LATER: Final = ", once the system runs"
"""When an act has its effect, where the system does not run now."""

SystemName = Annotated[
    str, typer.Argument(metavar="SYSTEM", help="`shop`, `exchange`, or `package.module:attribute` of your own.")
]
Data = Annotated[Path | None, typer.Option(help="Data folder; by default .archstone/<system>.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; by default archstone.toml if there.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An option of the system; `archstone config` lists them."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def examples(*lines: str) -> str:
    """Return the end of a verb's help: what one might type."""
    return "[bold]Examples[/]\n\n" + "\n\n".join(escape(line) for line in lines)


def folder_of(system: System, data: Path | None) -> Path:
    """Return the data folder of a system."""
    return data or Path(".archstone") / system.name


def settings_of(system: System, file: Path | None, options: list[str] | None, **flags: object) -> Loaded:
    """Return the configuration of a system, with what was said on the command line."""
    return load_settings({**flags, "options": named(options)}, system=system, file=file)


def named(options: list[str] | None) -> dict[str, str]:
    """Return what `--set NAME=VALUE` has said, by name."""
    chosen: dict[str, str] = {}
    for text in options or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: write NAME=VALUE")
        chosen[name] = value
    return chosen


def ask_once(
    system: str, data: Path | None, verb: str, arguments: Mapping[str, object], *, timeout_s: float = 60
) -> Any:
    """Ask the running system, or open its data folder if none runs, and return the answer."""
    found = find_system(system)

    def settings() -> Settings:
        return settings_of(found, None, None).settings

    work = ask_system(found, folder_of(found, data), verb, arguments, settings=settings, timeout_s=timeout_s)
    return asyncio.run(work)
