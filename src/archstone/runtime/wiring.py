"""Builds the parts of a system in one process: databases, what is provided, service instances, dispatchers."""

import asyncio
import importlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from archstone.context import Denied, Principal
from archstone.data import Database
from archstone.messaging import Bus, Relay
from archstone.runtime.config import Settings
from archstone.runtime.counted import CountedBus
from archstone.runtime.folder import DataFolder
from archstone.sagas import SagaSettings
from archstone.services import (
    BY_ROLE,
    Access,
    Dispatcher,
    Environment,
    InProcess,
    Operation,
    Service,
    System,
    Transport,
    Watcher,
    client,
    option_values,
)

__all__ = ["Part", "Parts", "database_url", "hold", "token_verifier", "wire"]


_POOL_SIZE: Final = 4
"""Connections of a service for writing, and for reading, besides one that listens: a server has a hundred for all."""


@dataclass(frozen=True, slots=True)
class Part:
    """One service and all that belongs to it alone."""

    name: str
    service: Service
    dispatcher: Dispatcher
    relay: Relay

    @property
    def database(self) -> Database:
        """The service's own database."""
        return self.service.db


@dataclass(frozen=True, slots=True)
class Parts:
    """A wired system."""

    services: Mapping[str, Part]
    """By name, in the order of the system."""
    provided: Mapping[type, Any]
    databases: Mapping[str, Database]
    """Every open database by its name in the folder: those of the services, and those that provided objects bring."""
    access: Access = BY_ROLE
    """Who may call what."""

    def keeper(self, system: System, contract: type) -> Part:
        """Return the part that keeps a contract."""
        return self.services[system.keeper(contract).service_info.name]

    def with_database(self, name: str, database: Database | None) -> "Parts":
        """Return the same parts with one database more, if it is one."""
        if database is None:
            return self
        return Parts(self.services, self.provided, {**self.databases, name: database}, self.access)

    def routes(self, system: System) -> list[tuple[Operation, Transport]]:
        """Return every operation with the way to it."""
        transports = {name: InProcess(part.dispatcher) for name, part in self.services.items()}
        return [
            (operation, transports[service.service_info.name])
            for service in system.services
            for operation in service.service_info.operations
        ]


async def wire(
    system: System,
    folder: DataFolder,
    bus: Bus,
    settings: Settings,
    *,
    encode: bool,
    lag: Callable[[], float],
    life: AsyncExitStack,
) -> Parts:
    """Open the databases and make every object; nothing acts yet. `life` closes what was opened.

    Args:
        encode: Encode and decode whatever crosses between services, as tests do.
        lag: Lag of the loop, seconds; see `Sagas`.
    """
    provided = await _provide(system, folder, settings, life)
    access = _access(system, provided)
    ways = {service: InProcess(encode=encode) for service in system.services}
    databases: dict[str, Database] = {}
    parts: dict[str, Part] = {}
    for service in system.services:
        info = service.service_info
        url = database_url(settings.database_url, folder, info.name)
        database = Database(url, migrations=info.migrations, schemas=service.schemas, name=f"{system.name}/{info.name}")
        databases[info.name] = await life.enter_async_context(database)
        fields: dict[str, object] = {}
        for field in info.fields:
            if field.kind == "database":
                fields[field.name] = database
            elif field.kind == "client":
                fields[field.name] = client(field.type, ways[system.keeper(field.type)])
            elif field.type in provided:
                fields[field.name] = provided[field.type]
        dispatcher = Dispatcher(
            service(**fields),
            settings=SagaSettings(keep_s=settings.saga_keep_s),
            inbox_keep_s=settings.inbox_keep_s,
            lag=lag,
            access=access,
        )
        await dispatcher.open()
        ways[service].connect(dispatcher)
        parts[info.name] = Part(info.name, dispatcher.service, dispatcher, Relay(database, CountedBus(bus)))
    wired = Parts(parts, provided, {**databases, **_brought(provided, folder.path)}, access)
    life.push_async_callback(_close, wired)
    return wired


def _access(system: System, provided: Mapping[type, Any]) -> Access:
    """Return who may do what; whatever watches is told of refusals in place of the log."""
    if system.roles is None:
        return BY_ROLE
    watchers = [each for each in provided.values() if isinstance(each, Watcher)]
    if not watchers:
        return system.roles.guard()

    def tell(denied: Denied) -> None:
        for watcher in watchers:
            watcher.denied(denied)

    return system.roles.guard(on_denied=tell)


def database_url(shared: str, folder: DataFolder, service: str) -> str:
    """Return where a service keeps its data: in a schema of its own where all share a database, else in a file.

    Args:
        shared: The setting `database_url`; empty: none is shared.
        folder: The data folder.
        service: Its name.
    """
    if not shared:
        return folder.database_url(service)
    mark = "&" if "?" in shared else "?"
    size = "" if "pool_size=" in shared else f"&pool_size={_POOL_SIZE}&pool_overflow=0"
    return f"{shared}{mark}schema={service}{size}"


def hold(parts: Parts) -> None:
    """Begin no more steps of sagas, in any service."""
    for part in parts.services.values():
        part.dispatcher.hold()


async def _close(parts: Parts) -> None:
    """Close all services, before any of their databases: they call each other until the last one has closed."""
    hold(parts)
    closing = [part.dispatcher.close() for part in parts.services.values()]
    closed = await asyncio.gather(*closing, return_exceptions=True)
    for failed in closed:
        if failed is not None:
            raise failed


def _brought(provided: Mapping[type, Any], folder: Path) -> Mapping[str, Database]:
    """Return the databases in the folder that provided objects hold as `db`, by the name of their file."""
    held = [getattr(found, "db", None) for found in provided.values()]
    files = [(Path(database.label), database) for database in held if isinstance(database, Database)]
    return {file.stem: database for file, database in files if file.parent == folder.absolute()}


async def _provide(system: System, folder: DataFolder, settings: Settings, life: AsyncExitStack) -> Mapping[type, Any]:
    provided: dict[type, Any] = {}
    environment = Environment(
        system=system.name,
        data=folder.path,
        settings={"options": option_values(system.options, settings.options)},
        place=partial(database_url, settings.database_url, folder),
        provided=MappingProxyType(provided),
    )
    for wanted, provider in system.provide.items():
        made = provider(environment)
        provided[wanted] = await life.enter_async_context(made) if hasattr(made, "__aenter__") else made
    return provided


def token_verifier(parts: Parts) -> Any:
    """Return a function that tells whose access token it is, from the system's own Tokens; None if it has none."""
    try:
        tokens_type = importlib.import_module("archstone.security").Tokens
    except ImportError:  # the extra is not installed, so the system cannot have any
        return None
    tokens = parts.provided.get(tokens_type)
    if tokens is None:
        return None

    def verify(text: str) -> Principal:
        return cast("Principal", tokens.verify(text).principal)

    return verify
