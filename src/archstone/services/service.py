"""Whoever keeps the promises of contracts: a class with a database of its own, clients of others, and handlers.

    class InventoryService(Service, Inventory):
        catalog: Catalog                                  # a client

        async def reserve(self, order_id: OrderId, lines: tuple[Line, ...]) -> Reservation:
            await self.tx.execute("UPDATE stock SET ...", ...)

        @on(OrderCancelled)
        async def put_back(self, event: OrderCancelled) -> None: ...

A body finds its two words through the context: `self.tx` where its effect belongs to one transaction, `self.step`
where it is a `@saga`. A query has neither; it reads `self.db` and may call clients. Fields are given by keyword, so a
test needs no System: `InventoryService(db=db, catalog=fake)`, with a `Dispatcher` around it.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple, dataclass_transform, get_origin, get_type_hints

from archstone import context
from archstone.context import Call, Principal
from archstone.data import Database, Schema
from archstone.errors import ConfigError
from archstone.eventsourcing import Projector
from archstone.resilience import Retry
from archstone.sagas import Steps, current_step, saga_mark
from archstone.services.access import BY_ROLE, Access, RowRule
from archstone.services.contract import Contract, operations
from archstone.services.operation import Operation
from archstone.services.subscribing import Every, Handler, handlers_of, periodic_of
from archstone.services.tx import Tx, current_tx

__all__ = ["Field", "Service", "ServiceInfo"]

_MISSING: Final = object()


class Field(NamedTuple):
    """An attribute that is given to a service when it is made."""

    name: str
    type: Any
    kind: Literal["database", "client", "provided"]
    required: bool


class ServiceInfo(NamedTuple):
    """What a service class says about itself, read once when the class is made."""

    name: str
    contracts: tuple[type[Contract], ...]
    operations: tuple[Operation, ...]
    fields: tuple[Field, ...]
    handlers: tuple[Handler, ...]
    periodic: tuple[Every, ...]
    has_sagas: bool
    migrations: Path | None
    """The folder `migrations` beside the module of the class; None if there is none."""

    @property
    def principal(self) -> Principal:
        """Who the service is when it acts by itself."""
        return Principal(f"service:{self.name}", frozenset(("service",)))


@dataclass_transform(kw_only_default=True)
class _Fields:
    """Where the fields of a service begin: only what is below it counts as one."""


class Service(_Fields):
    """Subclass it together with the contracts that it keeps."""

    db: Database
    """The service's own database. Nobody else opens it."""

    schemas: ClassVar[tuple[Schema, ...]] = ()
    """Tables of blocks that the service uses beside its migrations, such as `REFRESH_SCHEMA`; made before them."""

    undo_retry: ClassVar[Retry | None] = None
    """How often the undos of its sagas are tried before a person has to look. None: as `SagaSettings` says."""

    service_info: ClassVar[ServiceInfo]

    def __init_subclass__(cls, *, name: str | None = None, **promise: Any) -> None:
        super().__init_subclass__(**promise)
        cls.service_info = _compiled(cls, name)

    def __init__(self, **fields: object) -> None:
        info = self.service_info
        known = {field.name: field for field in info.fields}
        unknown = fields.keys() - known.keys()
        missing = [field.name for field in info.fields if field.required and field.name not in fields]
        if unknown or missing:
            wrong = [*(f"missing {name}" for name in missing), *(f"unknown {name}" for name in sorted(unknown))]
            msg = f"{type(self).__name__}({', '.join(f'{name}=' for name in known)}): {', '.join(wrong)}"
            raise TypeError(msg)
        for field, value in fields.items():
            setattr(self, field, value)

    @property
    def tx(self) -> Tx:
        """The transaction of the command or handler that runs. It begins with its first statement.

        Raises:
            NoTransactionError: None is open: a query, or the body of a saga.
        """
        return current_tx(self)

    @property
    def step(self) -> Steps:
        """The steps of the saga whose body runs."""
        return current_step()

    def projectors(self) -> Sequence[Projector]:
        """Return what makes the service's read models, to run as long as it does. Asked once, when it is opened."""
        return ()

    def companions(self) -> Sequence[AbstractAsyncContextManager[object]]:
        """Return what else is open as long as the service acts, such as the reader of a stream.

        Asked once, when it starts: its tables are there.
        """
        return ()

    @property
    def call(self) -> Call:
        """The call that runs: principal, deadline, trace, key."""
        return context.current()

    @property
    def principal(self) -> Principal:
        """Who asks. In handlers, sagas and periodic work the service itself."""
        return context.current().principal

    def allows(self, rule: RowRule, row: object, *, name: str) -> bool:
        """Return whether who asks may touch a thing: by the rule, or by the permission that stands above it.

        A refusal is told to whoever keeps watch; what is answered the caller decides, mostly that there is no such
        thing.

        Args:
            rule: Whose the thing is.
            row: What the rule looks at.
            name: Of the thing, for who keeps watch: its id.
        """
        access: Access = vars(self).get("_archstone_access", BY_ROLE)
        return access.allows(type(self).__name__, rule, row, self.principal, name=name)

    @property
    def name(self) -> str:
        """The service's name, such as `inventory`."""
        return self.service_info.name


def _compiled(cls: type[Service], name: str | None) -> ServiceInfo:
    faults: list[str] = []
    contracts = tuple(base for base in cls.__mro__ if base is not Contract and operations(base))
    found = tuple(operation for contract in contracts for operation in operations(contract))
    for operation in found:
        faults += _promise_faults(cls, operation)
    names = [operation.name for operation in found]
    faults += [
        f"{cls.__name__}: two of its contracts have {each}()" for each in {n for n in names if names.count(n) > 1}
    ]
    info = ServiceInfo(
        name=name or cls.__name__.removesuffix("Service").lower() or cls.__name__.lower(),
        contracts=contracts,
        operations=found,
        fields=_fields(cls, faults),
        handlers=handlers_of(cls, faults),
        periodic=periodic_of(cls, faults),
        has_sagas=any(saga_mark(getattr(cls, each, None)) for each in dir(cls)),
        migrations=_migrations(cls),
    )
    if faults:
        raise ConfigError("\n".join(faults))
    return info


def _promise_faults(cls: type[Service], operation: Operation) -> list[str]:
    """Say how a method fails to keep what its contract promises."""
    made: Callable[..., Any] = getattr(cls, operation.name)
    where = f"{cls.__name__}.{operation.name}"
    if made is operation.function:
        return [f"{where}: {operation.full_name} is promised and not kept: write the method"]
    if not inspect.iscoroutinefunction(made):
        return [f"{where}: not a coroutine function: write async def"]
    faults: list[str] = []
    wanted = [parameter.name for parameter in operation.parameters]
    taken = list(inspect.signature(made).parameters)[1:]
    if taken[: len(wanted)] != wanted:
        faults.append(f"{where}({', '.join(taken)}): the contract has ({', '.join(wanted)}): take the same, in order")
    if saga_mark(made) is not None and operation.kind == "query":
        faults.append(f"{where}: a query cannot be a @saga, since it has no effect: make it a command")
    elif saga_mark(made) is not None and not operation.record:
        faults.append(f"{where}: record=False, but a @saga keeps its answer: drop one of the two")
    return faults


def _fields(cls: type[Service], faults: list[str]) -> tuple[Field, ...]:
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        faults.append(f"{cls.__name__}: a field's type cannot be resolved: {error}")
        return ()
    own = [
        name for base in reversed(cls.__mro__) if issubclass(base, Service) for name in inspect.get_annotations(base)
    ]
    fields: list[Field] = []
    for name in dict.fromkeys(own):
        hint = hints[name]
        if get_origin(hint) is ClassVar or name.startswith("_"):
            continue
        kind: Literal["database", "client", "provided"] = "provided"
        if isinstance(hint, type) and issubclass(hint, Database):
            kind = "database"
        elif isinstance(hint, type) and operations(hint):
            kind = "client"
        fields.append(Field(name, hint, kind, getattr(cls, name, _MISSING) is _MISSING))
    return tuple(fields)


def _migrations(cls: type[Service]) -> Path | None:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    folder = Path(file).parent / "migrations" if file else None
    return folder if folder is not None and folder.is_dir() else None
