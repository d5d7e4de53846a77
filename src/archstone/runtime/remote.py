"""Asks a system, wherever it is: the running process through its socket, or the data folder when nothing runs."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from archstone.errors import ConfigError
from archstone.runtime.config import Settings
from archstone.runtime.control import ControlAbsentError, ask
from archstone.runtime.embedded import Embedded
from archstone.runtime.folder import UNKNOWN, FolderFormatError, owner_of
from archstone.runtime.operator import Operator
from archstone.services import System

__all__ = ["ask_system"]

_TRIES: Final = 50
_BETWEEN_TRIES_S: Final = 0.1


async def ask_system(
    system: System,
    folder: Path,
    verb: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    settings: Callable[[], Settings] = Settings,
    timeout_s: float = 60.0,
) -> dict[str, Any]:
    """Have `verb` done for the system on `folder`; see `Operator`.

    When no process runs there the folder is opened for the time of the request, with what `settings` returns and
    without anything beginning to act.

    Raises:
        ConfigError: there is no data folder at `folder`, or it belongs to another system.
        ControlError: a process runs there and refused, failed or did not answer within `timeout_s`.
    """
    tries = 0
    while (owner := owner_of(folder)) is not None:
        if owner[0] not in {system.name, UNKNOWN}:
            raise FolderFormatError(str(folder), f"it belongs to system {owner[0]!r}, not {system.name!r}")
        try:
            return await ask(folder / "control.sock", verb, arguments, timeout_s=timeout_s)
        except ControlAbsentError:
            # The process is starting or ending: its lock is held and its socket not there.
            if (tries := tries + 1) == _TRIES:
                raise
            await asyncio.sleep(_BETWEEN_TRIES_S)
    if not (folder / "format.json").is_file():
        raise ConfigError(
            f"no data of system {system.name!r} at {folder}: name its folder with --data, or start it first"
        )
    async with Embedded(system, folder, settings()) as embedded:
        return await Operator(embedded).answer(verb, arguments or {})
