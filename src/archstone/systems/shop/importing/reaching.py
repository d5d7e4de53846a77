"""The catalog of a shop, wherever it is: in the process that runs it, or in its folder while nothing runs.

A running shop is asked through its control socket, a batch at a time, with the verb `call`: an operation of a contract
by its full name, its arguments and its answer as the contract encodes them.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from pydantic_core import from_json, to_json

from archstone.errors import ConfigError
from archstone.runtime import OPERATOR, Embedded, FolderInUseError, Settings, ask, owner_of
from archstone.services import Operation, System, client
from archstone.systems.shop.catalog.importing import CatalogImport

__all__ = ["ControlWay", "catalog_of"]

CALL_S: Final = 30.0


class ControlWay:
    """Calls operations of a running system as its operator. A `Transport`."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Make one call.

        Raises:
            ControlError: the process refused or failed, with its own words, or is not there any more.
        """
        request = {"operation": operation.full_name, "arguments": from_json(operation.encode_arguments(arguments))}
        answer = await ask(self._socket, "call", request, timeout_s=CALL_S)
        return operation.decode_result(to_json(answer["answer"]))


@asynccontextmanager
async def catalog_of(
    system: System, folder: Path, settings: Callable[[], Settings]
) -> AsyncGenerator[tuple[CatalogImport, bool]]:
    """Give the catalog for the block, and whether its shop runs.

    While nothing runs the folder is opened, and nobody else can start on it until the block ends.

    Raises:
        ConfigError: the system has no catalog to import into, or there is no data at `folder`.
        FolderInUseError: another system runs there.
    """
    if CatalogImport not in system.contracts:
        raise ConfigError(f"system {system.name!r} keeps no CatalogImport: nothing can be imported into it")
    owner = owner_of(folder)
    if owner is not None and owner[0] != system.name:
        raise FolderInUseError(str(folder), *owner)
    if owner is not None:
        yield client(CatalogImport, ControlWay(folder / "control.sock")), True
        return
    if not (folder / "format.json").is_file():
        raise ConfigError(
            f"no data of system {system.name!r} at {folder}: name its folder with --data, or start it first"
        )
    async with Embedded(system, folder, settings()) as embedded:
        yield embedded.client(CatalogImport, as_=OPERATOR), False
