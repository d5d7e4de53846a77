"""Asks a system, wherever it is: the running process through its socket, or the data folder when nothing runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archstone.errors import ConfigError
from archstone.runtime.config import Settings
from archstone.runtime.control import ask
from archstone.runtime.embedded import Embedded
from archstone.runtime.folder import owner_of
from archstone.runtime.operator import Operator
from archstone.services import System

__all__ = ["ask_system"]


async def ask_system(
    system: System,
    folder: Path,
    verb: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    settings: Settings,
    timeout_s: float = 60.0,
) -> dict[str, Any]:
    """Have `verb` done for the system on `folder`; see `Operator`.

    When no process runs there the folder is opened for the time of the request, without anything beginning to act.

    Raises:
        ConfigError: there is no data folder at `folder`.
        ControlError: a process runs there and refused, failed or did not answer within `timeout_s`.
    """
    if owner_of(folder) is not None:
        return await ask(folder / "control.sock", verb, arguments, timeout_s=timeout_s)
    if not (folder / "format.json").is_file():
        raise ConfigError(
            f"no data of system {system.name!r} at {folder}: name its folder with --data, or start it first"
        )
    async with Embedded(system, folder, settings) as embedded:
        return await Operator(embedded).answer(verb, arguments or {})
