"""Runs the operations of one service: who may, until when, under which key, in which transaction.

    async with Dispatcher(InventoryService(db=db, catalog=catalog)) as dispatcher:
        inventory = dispatcher.client(Inventory, as_=Principal("ann", frozenset({"customer"})))
        await inventory.reserve(order_id, lines)

A query runs in the task of its caller and is cancelled with it. A command runs in a task of its own, to its deadline,
whether its caller waits or not. What leaves is the answer, a declared error, or one of the few that the caller can do
something about (`crossing`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from archstone import context, world
from archstone.context import Principal
from archstone.errors import ConfigError, DeadlineError, RejectedError
from archstone.messaging import Inbox
from archstone.observability import span
from archstone.resilience import within
from archstone.sagas import SagaExistsError, Sagas, SagaSettings, saga_mark
from archstone.services.access import BY_ROLE, Access, check_allowed
from archstone.services.client import client
from archstone.services.commands import Commands, Work
from archstone.services.crossing import crossing
from archstone.services.errors import (
    KeyMissingError,
    KeyReusedError,
    StillRunningError,
)
from archstone.services.inprocess import InProcess
from archstone.services.keys import KEYS, Slot, fingerprint_of, slot_for
from archstone.services.local_steps import LocalSteps, saga_id
from archstone.services.operation import ANYONE, Operation
from archstone.services.service import Service
from archstone.services.until import until

__all__ = ["COMMAND_LIMIT_S", "Dispatcher"]

C = TypeVar("C")

COMMAND_LIMIT_S: Final = 60.0
"""How long a command may run whose caller has no deadline."""
INBOX_KEEP_S: Final = 60 * 86_400.0
"""How long the mark of a handled event is kept: longer than dead letters, which can come again."""
_RETRY_AFTER_S: Final = 1.0
_HEAD_START_S: Final = 0.1

_SETTINGS: Final = SagaSettings()


class _Entry(NamedTuple):
    """An operation as this service keeps it."""

    method: Callable[..., Coroutine[Any, Any, object]]
    is_saga: bool


class Dispatcher:
    """The operations of one service instance. Open its database before, and close it after."""

    def __init__(
        self,
        service: Service,
        *,
        settings: SagaSettings = _SETTINGS,
        inbox_keep_s: float = INBOX_KEEP_S,
        lag: Callable[[], float] | None = None,
        access: Access = BY_ROLE,
    ) -> None:
        """Describe it; `open` and `start` follow.

        Args:
            service: What runs the operations.
            settings: Of its sagas.
            lag: Gives the lag of the loop in seconds; see `Sagas`.
            inbox_keep_s: Seconds that the mark of a handled event is kept.
            access: Says who may; by default a permission is held by the role of its name.
        """
        info = service.service_info
        if service.undo_retry is not None:
            settings = replace(settings, undo_retry=service.undo_retry)
        self.service = service
        self.principal: Principal = info.principal
        """Who the service is when it acts by itself."""
        self.inbox = Inbox(service.db, retention_s=inbox_keep_s)
        self._commands = Commands(service.db)
        self._steps = LocalSteps(service, name=info.name, commands=self._commands)
        self.sagas: Sagas | None = None
        """The engine of its sagas; None if it has none."""
        if info.has_sagas:
            self.sagas = self._steps.sagas = Sagas(
                service.db, owner=service, name=info.name, principal=self.principal, invoke=self._steps,
                lag=lag, settings=settings,
            )  # fmt: skip
        vars(service)["_archstone_sagas"] = self.sagas
        self._access = vars(service)["_archstone_access"] = access
        self.projectors = service.projectors()
        """What makes its read models."""
        self.companions: Sequence[AbstractAsyncContextManager[object]] = ()
        """What else runs as long as it does, once it has started."""
        self._acting = AsyncExitStack()
        """Its companions and projectors."""
        self._entries = {each: self._entry(each) for each in info.operations}
        self._tasks: set[asyncio.Task[object]] = set()
        self._waits: set[asyncio.Task[object]] = set()
        """Those of the tasks that do no more than wait for a saga."""
        self._closed = False

    def _entry(self, operation: Operation) -> _Entry:
        method = getattr(self.service, operation.name)
        return _Entry(method, saga_mark(method) is not None)

    async def open(self) -> None:
        """Create the framework's tables in the service's database."""
        self._closed = False
        for schema in (KEYS, *self.service.schemas):
            await self.service.db.ensure(schema)
        if self.sagas is not None:
            await self.sagas.prepare()
        if self.service.service_info.handlers:
            await self.inbox.open()

    async def start(self) -> None:
        """Open what runs beside, then go on with the sagas that were running, and with the read models.

        Whoever steps call must be reachable.
        """
        self.companions = self.service.companions()
        for companion in self.companions:
            await self._acting.enter_async_context(companion)
        if self.sagas is not None:
            await self.sagas.open()
        for projector in self.projectors:
            await self._acting.enter_async_context(projector)

    async def drain(self) -> None:
        """Begin no more steps, and wait until the commands and effects in flight have ended. Stop the intake before.

        A command that waits for a saga is not waited for: its saga goes on when the service starts again.
        """
        self.hold()
        while working := self._tasks - self._waits:
            await asyncio.wait(working)
        if self.sagas is not None:
            await self.sagas.drain()
        await self._acting.aclose()

    def hold(self) -> None:
        """Begin no more steps of sagas. Of services that call each other, hold all before one of them closes."""
        if self.sagas is not None:
            self.sagas.hold()

    async def close(self) -> None:
        """Cancel what still runs: it is rolled back, and a saga goes on when the service starts again.

        Who waits for a command, or comes later with one, gets a RejectedError.
        """
        self._closed = True
        self.hold()
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self.sagas is not None:
            await self.sagas.close()
        await self._acting.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.drain()
        await self.close()

    def client(self, contract: type[C], *, as_: Principal | None = None, encode: bool = True) -> C:
        """Return a client of one of the service's contracts, for tests and tools.

        Args:
            contract: A contract that the service keeps.
            as_: Who calls. None: the principal of the running context.
            encode: Encode and decode everything that crosses, as between processes.
        """
        return client(contract, InProcess(self, encode=encode, as_=as_))

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Run an operation for the principal of the running context; the port of a `Transport`.

        Raises:
            DomainError: One that the operation declares.
            ArchstoneError: What the call came to; see `crossing`.
        """
        entry = self._entries.get(operation)
        if entry is None:
            raise ConfigError(f"{operation.full_name}: service {self.service.name!r} does not keep this contract")
        call = context.current()
        if operation.requires != ANYONE:
            check_allowed(operation, call.principal, self._access)
        if call.deadline_s is not None and world.monotonic() >= call.deadline_s:
            raise DeadlineError(f"{operation.full_name}: not begun: the deadline of its caller had passed")
        if operation.kind == "command":
            return await self._command(operation, entry, arguments)
        with span(operation.full_name, kind="server"):
            try:
                return await until(entry.method(**arguments), call.deadline_s, operation.full_name)
            except Exception as error:
                if operation.declares(error):
                    raise
                raise crossing(operation, error) from error

    async def _command(self, operation: Operation, entry: _Entry, arguments: dict[str, object]) -> object:
        """Run a command in a task that outlives its caller."""
        if operation.key_required and context.current().key is None:
            raise KeyMissingError(operation.full_name)
        if self._closed:
            raise _closed_error(operation)
        task = asyncio.create_task(self._bounded(operation, entry, arguments), name=operation.full_name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if entry.is_saga:
            self._waits.add(task)
            task.add_done_callback(self._waits.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if not task.cancelled() or caller is None or caller.cancelling():
                raise
            raise _closed_error(operation) from error  # by `close`: nobody cancels the caller

    async def _bounded(self, operation: Operation, entry: _Entry, arguments: dict[str, object]) -> object:
        with span(operation.full_name, kind="server"):
            try:
                if entry.is_saga:
                    return await self._saga(operation, entry, arguments)
                limit_s = COMMAND_LIMIT_S if context.current().deadline_s is None else None
                async with within(limit_s, name=operation.full_name):
                    return await self._transaction(operation, entry, arguments)
            except (KeyReusedError, StillRunningError):
                raise
            except Exception as error:
                if operation.declares(error):
                    raise
                raise crossing(operation, error) from error

    async def _transaction(self, operation: Operation, entry: _Entry, arguments: dict[str, object]) -> object:
        method = entry.method

        def run() -> Coroutine[Any, Any, object]:
            return method(**arguments)

        key = context.current().key if operation.record else None
        if key is None:
            return await self._commands.unrecorded(run)
        principal = context.current().principal
        fingerprint = fingerprint_of(operation.encode_arguments(arguments))
        slot = slot_for(principal, operation.full_name, str(key), fingerprint)
        if not principal.signed_in:
            fingerprint = b""  # the slot holds it: whatever is found there fits
        return await self._commands.once(
            Work(
                run, slot, key, fingerprint, operation.encode_result, operation.decode_result, operation.declares,
                operation.encode_error, operation.decode_error,
            )
        )  # fmt: skip

    async def _saga(self, operation: Operation, entry: _Entry, arguments: dict[str, object]) -> object:
        """Start the saga of a command unless its key has one, and wait for its answer."""
        sagas = self.sagas
        key = context.current().key
        started = world.new_id() if key is None else saga_id(*_slot_of_saga(operation, arguments, key))
        if sagas is None:
            raise ConfigError(f"{operation.full_name}: its service has no engine for sagas")
        try:
            async with within(_patience_s(), name=operation.full_name):
                return await sagas.run(entry.method, *arguments.values(), id=started)
        except SagaExistsError as error:
            raise KeyReusedError(operation.full_name, key or "") from error
        except DeadlineError as error:
            if key is None:
                raise
            raise StillRunningError(operation.full_name, key, _RETRY_AFTER_S) from error


def _slot_of_saga(operation: Operation, arguments: dict[str, object], key: str) -> Slot:
    principal = context.current().principal
    # Of somebody who is signed in the journal has the arguments, and compares them itself.
    fingerprint = b"" if principal.signed_in else fingerprint_of(operation.encode_arguments(arguments))
    return slot_for(principal, operation.full_name, str(key), fingerprint)


def _patience_s() -> float:
    """Return how long to wait for a saga: a little less than its caller does, so that "still running" reaches it."""
    deadline_s = context.current().deadline_s
    if deadline_s is None:
        return COMMAND_LIMIT_S
    left_s = max(0.0, deadline_s - world.monotonic())
    return left_s - min(_HEAD_START_S, left_s / 10)


def _closed_error(operation: Operation) -> RejectedError:
    return RejectedError(f"{operation.full_name}: its service is closing, so it was not done to its end: try again")
