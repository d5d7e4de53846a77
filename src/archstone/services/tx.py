"""`self.tx`: the transaction of the command or handler that runs, and the way to start a saga in it."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

from archstone import context
from archstone.data import Database, Event, Transaction
from archstone.errors import ConfigError
from archstone.sagas import Sagas

__all__ = ["NoTransactionError", "Tx", "current_tx"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_SERVICE: Final = "service"
"""Role of whoever acts for a service: its steps and handlers."""


class NoTransactionError(ConfigError, code="services.no-transaction"):
    """`self.tx` was used where no transaction of the service is open."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self.service = service

    def __str__(self) -> str:
        return (
            f"service {self.service!r}: self.tx used where no transaction of it is open: commands, handlers, periodic "
            "work and a saga's own steps have one; a query reads self.db; a test calls through a Dispatcher"
        )


class Tx:
    """Statements, events and sagas that happen all together or not at all. Valid until its body returns."""

    __slots__ = ("_sagas", "_tx")

    def __init__(self, tx: Transaction, sagas: Sagas | None) -> None:
        self._tx = tx
        self._sagas = sagas

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`: for the few statements that must differ."""
        return self._tx.db.dialect

    def execute(self, sql: str, /, **params: object) -> Coroutine[Any, Any, int]:
        """Run a statement and return how many rows it changed."""
        return self._tx.execute(sql, **params)

    def one(self, row: type[T], sql: str, /, **params: object) -> Coroutine[Any, Any, T]:
        """Return the first row as `row`; NoRowError if there is none. Sees what this transaction has done."""
        return self._tx.one(row, sql, **params)

    def first(self, row: type[T], sql: str, /, **params: object) -> Coroutine[Any, Any, T | None]:
        """Return the first row as `row`, or None where there is none."""
        return self._tx.first(row, sql, **params)

    def all(self, row: type[T], sql: str, /, **params: object) -> Coroutine[Any, Any, list[T]]:
        """Return all rows as `row`, in the order of the statement."""
        return self._tx.all(row, sql, **params)

    def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> Coroutine[Any, Any, int]:
        """Run a statement once per mapping of parameters; return how many rows it changed in all."""
        return self._tx.many(sql, rows)

    def publish(self, event: Event) -> None:
        """Stage `event`: it is sent if and only if this transaction commits."""
        self._tx.publish(event)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once this is durable; never if it is rolled back; a crash can come between."""
        self._tx.after_commit(callback)

    async def start(
        self,
        method: Callable[[*Ts], Coroutine[Any, Any, object]],
        *args: *Ts,
        id: str,
        key: str | None = None,
        priority: int = 0,
        delay_s: float = 0.0,
    ) -> bool:
        """Start a saga: it begins after the commit, and never if this is rolled back.

        Args:
            method: A method of the service marked with `@saga`.
            args: Its arguments.
            id: The saga's id. Starting the same again does nothing.
            key: For whom it is, in the queue of the method. None: nobody.
            priority: In its queue: the highest comes first.
            delay_s: Seconds from now before which it does not begin, or join its queue. At least 0.

        Returns:
            True if it is new, False if the same saga was started before.

        Raises:
            SagaExistsError: The id belongs to another method or other arguments.
            OverloadedError: Too many of them wait already, and it is no service that asks: a step or a handler goes
                on with what has been accepted.
        """
        if self._sagas is None:
            raise ConfigError(f"{getattr(method, '__qualname__', method)}: not a @saga of this service: mark it")
        if _SERVICE not in context.current().principal.roles:
            self._sagas.check_room(method)
        return await self._sagas.start(self._tx, method, *args, id=id, key=key, priority=priority, delay_s=delay_s)

    async def signal(self, saga: str, name: str, value: object = None, *, key: str | None = None) -> bool:
        """Send a saga of this service what it waits for: it is sent if and only if this commits; see `Sagas.signal`.

        Returns:
            True if it is new, False if one with this key was sent before.

        Raises:
            SagaUnknownError: There is no such saga.
            SagaEndedError: It has ended.
            SignalExistsError: The key was used with another value.
            OverloadedError: So many that it has not taken wait already.
        """
        if self._sagas is None:
            raise ConfigError(f"signal {name!r}: this service has no saga: mark a method with @saga")
        return await self._sagas.signal(saga, name, value, key=key, tx=self._tx)


class _HasDatabase(Protocol):
    db: Database

    @property
    def name(self) -> str: ...


def current_tx(service: _HasDatabase) -> Tx:
    """Return the open transaction of `service`."""
    tx = context.current().tx
    if not isinstance(tx, Transaction) or tx.db is not service.db:
        raise NoTransactionError(service.name)
    face = tx.face
    if not isinstance(face, Tx):
        face = tx.face = Tx(tx, getattr(service, "_archstone_sagas", None))
    return face
