"""A system: which services there are, and how they hang together. A value; `archstone.runtime` runs it.

    shop = System("shop", services=[CatalogService, InventoryService, OrdersService], gateway=Gateway(...))

The wiring is checked when the system is made, all faults at once: every client has exactly one service that answers,
every handled event is published by somebody or at least known, no two public routes claim the same path, no two
services share a folder of migrations, every public operation says who may call it, in words that the roles know.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from archstone.data import Event, event_classes
from archstone.errors import ConfigError
from archstone.services.access import RoleTable, access_faults
from archstone.services.contract import Contract
from archstone.services.operation import Operation
from archstone.services.option import Option
from archstone.services.service import Service

__all__ = ["Environment", "FrontDoor", "Provider", "System"]

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HOLE: Final = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a system runs: what its providers may need to know."""

    system: str
    """Name of the system."""
    data: Path
    """Its data folder."""
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """Configuration, by name."""
    place: Callable[[str], str] | None = None
    """Where a database of some name is. None: a file in the folder."""
    provided: Mapping[type, Any] = field(default_factory=dict[type, Any])
    """What the providers before this one have made, open, by type."""

    def database_url(self, name: str) -> str:
        """Return the URL of a database for what is provided: a file of this name, or a schema where all share one."""
        if self.place is not None:
            return self.place(name)
        return f"sqlite:///{(self.data / f'{name}.db').absolute()}"


class FrontDoor(Protocol):
    """What lets requests in from outside: `archstone.gateway.Gateway`. `runtime` knows how to build it."""

    @property
    def prefix(self) -> str:
        """What stands before the path of every public operation."""
        ...


Provider = Callable[[Environment], Any]
"""Makes what a service's field of some type is given: the object, or an async context manager of it, which is entered
before the first service starts and left after the last one has ended. One object for all who ask for the type."""


class System:
    """Services, what they are given, and the front door."""

    def __init__(
        self,
        name: str,
        *,
        services: Sequence[type[Service]],
        gateway: FrontDoor | None = None,
        provide: Mapping[type, Provider] | None = None,
        contracts_snapshot: Path | None = None,
        promote: Callable[..., Any] | None = None,
        options: Sequence[Option] = (),
        roles: RoleTable | None = None,
    ) -> None:
        """Describe a system and check its wiring.

        Args:
            name: Lower case letters, digits and dashes; the data folder is named after it.
            services: The service classes, in the order in which they start.
            gateway: The front door. None: nothing is reachable over HTTP.
            provide: By type of a service's field, who makes its value.
            contracts_snapshot: The committed snapshot of contracts and events that `check_contracts` compares with.
            promote: The command that gives a person a role, such as `UserAdmin.grant`: it takes `email` and `role`.
                `archstone admin` calls it with the role `admin`. None: nobody is made an administrator that way.
            options: What can be set about it: `--set name=value`. It takes no others.
            roles: What roles may do. None: a permission is held by the role of its name.

        Raises:
            ConfigError: With every fault of the wiring.
        """
        self.name = name
        self.services = tuple(services)
        self.gateway = gateway
        self.provide: Mapping[type, Provider] = dict(provide or {})
        self.contracts_snapshot = contracts_snapshot
        self.options = tuple(options)
        self.roles = roles
        self.called = name
        """How the command line calls it, for hints: the name, or `package.module:attribute` if it was found so."""
        self._keepers: dict[type, type[Service]] = {}
        self.promote: Operation | None = next((each for each in self.operations if each.function is promote), None)
        faults = [*self._name_faults(), *self._migration_faults(), *self._keeper_faults(), *self._field_faults()]
        faults += self._route_faults()
        faults += access_faults(self.operations, roles)
        faults += self._promote_faults(promote)
        if faults:
            raise ConfigError(f"system {name!r}: " + "\n".join(faults))

    def keeper(self, contract: type) -> type[Service]:
        """Return the service that keeps `contract`.

        Raises:
            ConfigError: None does.
        """
        try:
            return self._keepers[contract]
        except KeyError:
            raise ConfigError(f"system {self.name!r}: no service keeps {contract.__name__}: add one") from None

    @property
    def contracts(self) -> tuple[type[Contract], ...]:
        """Every contract, in the order of services."""
        return tuple(contract for service in self.services for contract in service.service_info.contracts)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Every operation, in the order of services and methods."""
        return tuple(each for service in self.services for each in service.service_info.operations)

    @property
    def events(self) -> tuple[type[Event], ...]:
        """Every event that a service handles or that is defined beside one, by name and version."""
        packages = tuple(service.__module__.rpartition(".")[0] or service.__module__ for service in self.services)
        handled = {handler.event for service in self.services for handler in service.service_info.handlers}
        beside = {
            event
            for event in event_classes().values()
            if event.__module__ in packages or event.__module__.startswith(tuple(f"{each}." for each in packages))
        }
        return tuple(sorted(handled | beside, key=lambda event: (event.event_name, event.event_version)))

    def __repr__(self) -> str:
        return f"<system {self.name}: {', '.join(service.service_info.name for service in self.services)}>"

    def _name_faults(self) -> list[str]:
        faults: list[str] = []
        if not _NAME.fullmatch(self.name):
            faults.append("its name must be lower case letters, digits and dashes, such as web-shop")
        if not self.services:
            faults.append("it has no services")
        names = [service.service_info.name for service in self.services]
        twice = sorted({each for each in names if names.count(each) > 1})
        faults += [f"two services are named {each!r}: write class X(Service, ..., name=...)" for each in twice]
        declared = [option.name for option in self.options]
        faults += [f"option {each!r} is declared twice" for each in sorted(set(declared)) if declared.count(each) > 1]
        return faults

    def _migration_faults(self) -> list[str]:
        """Say which services find the same folder: each would get the tables of both in its own database."""
        owners: dict[Path, type[Service]] = {}
        faults: list[str] = []
        for service in self.services:
            folder = service.service_info.migrations
            if folder is None:
                continue
            other = owners.setdefault(folder.resolve(), service)
            if other is not service:
                both = f"{other.__name__} and {service.__name__}"
                faults.append(f"{both} share {folder}: put each service into a folder of its own, with its migrations")
        return faults

    def _keeper_faults(self) -> list[str]:
        faults: list[str] = []
        for service in self.services:
            for contract in service.service_info.contracts:
                other = self._keepers.setdefault(contract, service)
                if other is not service:
                    keepers = f"{other.__name__} and {service.__name__}"
                    faults.append(f"{contract.__name__} is kept by {keepers}: one service keeps a contract")
        return faults

    def _field_faults(self) -> list[str]:
        faults: list[str] = []
        for service in self.services:
            for each in service.service_info.fields:
                where = f"{service.__name__}.{each.name}"
                if each.kind == "client" and each.type not in self._keepers:
                    faults.append(f"{where}: no service keeps {each.type.__name__}: add one")
                elif each.kind == "provided" and each.required and each.type not in self.provide:
                    told = getattr(each.type, "__name__", str(each.type))
                    faults.append(f"{where}: nobody makes a {told}: add it to provide={{{told}: ...}}")
        return faults

    def _route_faults(self) -> list[str]:
        claims: dict[tuple[str, str], Operation] = {}
        faults: list[str] = []
        for operation in self.operations:
            if not operation.public:
                continue
            shape = (operation.method, _HOLE.sub("{}", operation.path))
            other = claims.setdefault(shape, operation)
            if other is not operation:
                both = f"{other.full_name} and {operation.full_name}"
                faults.append(f"{operation.method} {operation.path} is claimed by {both}: change one path")
        return faults

    def _promote_faults(self, promote: Callable[..., Any] | None) -> list[str]:
        if promote is None:
            return []
        if self.promote is None:
            return [
                f"promote={promote.__qualname__} is no operation of its services: name one, such as UserAdmin.grant"
            ]
        names = [each.name for each in self.promote.parameters]
        if sorted(names) != ["email", "role"]:
            return [
                f"promote={promote.__qualname__} takes {', '.join(names) or 'nothing'}: it must take email and role"
            ]
        return []
