"""The engine of sagas: starts them, keeps them going, tells how they ended.

    class Orders:
        step = property(lambda self: current_step())

        @saga()
        async def checkout(self, order: Order) -> Receipt: ...

    async with Database("sqlite:///orders.db") as db, Sagas(db, owner=orders) as sagas:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO orders ...")
            await sagas.start(tx, orders.checkout, order, id=order.id)
        receipt = await sagas.result(order.id)

A saga exists if and only if the transaction that started it committed; from then on it ends as done, failed (all
undone) or stuck (a person is needed), whatever crashes. Use it where several services must agree without a common
transaction; where one database holds everything, a transaction is simpler.

One thing above 400 lines: all that is asked of the engine, most of it what each call promises. The work is elsewhere.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self, TypeVar, TypeVarTuple, cast

from archstone import context, world
from archstone.context import Principal
from archstone.data import Database, Transaction
from archstone.errors import ConfigError
from archstone.resilience import OverloadedError, within
from archstone.sagas.answers import ending_of
from archstone.sagas.atomic import Atomic
from archstone.sagas.cancelling import Cancelling
from archstone.sagas.drive import Ending
from archstone.sagas.errors import SagaStuckError, SagaUnknownError, StepCodecError
from archstone.sagas.failures import error_from_json
from archstone.sagas.forking import Fork, fork
from archstone.sagas.info import SagaInfo, SagaStatistics, SagaStatus
from archstone.sagas.journal import Past
from archstone.sagas.lines import Line
from archstone.sagas.operations import Operations
from archstone.sagas.pace import Pace
from archstone.sagas.places import Places
from archstone.sagas.points import AFTER_FORK, AFTER_SIGNAL
from archstone.sagas.queue import Queue, Wish
from archstone.sagas.queue_rows import InQueue, QueueRows
from archstone.sagas.run import Awake
from archstone.sagas.runner import Runner
from archstone.sagas.saga import saga_mark
from archstone.sagas.schema import SCHEMA
from archstone.sagas.settings import SagaSettings
from archstone.sagas.shared import Invoke, Shared
from archstone.sagas.signals import Signals, signal_json
from archstone.sagas.starter import check_id, insert, make
from archstone.sagas.table import Table
from archstone.sagas.versions import Versions
from archstone.sagas.view import saga_info

__all__ = ["Sagas"]

Ts = TypeVarTuple("Ts")
R = TypeVar("R")

_NEWEST: Final = 1 << 62
_RETRY_AFTER_S: Final = 5.0


def _none() -> float:
    return 0.0


class Sagas:
    """The sagas of one owner in one database.

    Args:
        db: An open database; the rows are in it, and start with its transactions.
        owner: Whose methods are sagas and steps, and whose attributes are the clients that steps call. None: sagas
            and steps are functions of modules.
        name: Tells engines apart that share a database. Keep it: sagas of another name are not seen.
        principal: As whom steps act. None: `service:<name>` with the role `service`.
        invoke: Makes the calls of steps and undos, instead of `function(*arguments)`.
        lag: Gives the lag of the loop in seconds (`lambda: loop_lag.lag_s`). Sagas that nobody waits for are begun
            only while so few run that it stays below 5 ms, at least `max_running_busy`. A thousand that share a loop
            which is late come to no end: their steps outlive their time limits, are tried again, and make it later
            still. For the same reason an attempt that begins above 50 ms has five times its time: it would be the
            loop's that is measured. None: neither.
    """

    def __init__(
        self,
        db: Database,
        *,
        owner: object | None = None,
        name: str = "sagas",
        principal: Principal | None = None,
        invoke: Invoke | None = None,
        lag: Callable[[], float] | None = None,
        settings: SagaSettings = SagaSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._db = db
        self._settings = settings
        self._table = Table(db, name)
        operations = Operations(owner)
        self._versions = Versions(operations, owner)
        self._shared = Shared(
            table=self._table,
            operations=operations,
            versions=self._versions,
            principal=principal or Principal(f"service:{name}", frozenset({"service"})),
            places=Places(
                settings.max_running,
                on_free=self._place_freed,
                pace=lag and Pace(lag, least=settings.max_running_busy, most=settings.max_running),
            ),
            sleepers=Places(settings.max_sleeping, on_free=_nothing),
            queues=QueueRows(db, self._table),
            signals=Signals(db, self._table, limit=settings.max_signals),
            invoke=invoke,
            atomic=invoke if isinstance(invoke, Atomic) else None,
            settings=settings,
            lag=lag or _none,
        )
        self._runner = self._shared.kin = Runner(self._shared, db, learn=self._know_line)
        if owner is not None:
            for queue in self._versions.queues():
                self._line(queue)

    async def prepare(self) -> None:
        """Create what is missing in the database; nothing runs yet, but sagas can be listed and resumed.

        Raises:
            ConfigError: Transactions of the database are not serializable: signals and ends could be missed.
        """
        if not self._db.serializable:
            raise ConfigError(f"{self._db.label}: sagas need serializable transactions; leave out isolation=")
        await self._db.ensure(SCHEMA)

    async def open(self) -> None:
        """Create what is missing in the database, and go on with every saga that was running."""
        await self.prepare()
        table = self._table
        counted = await self._shared.queues.counted()
        await self._runner.team.join()
        try:
            self._runner.start(
                stuck=await table.count("stuck"), present=await table.count("running"), due_us=await table.next_due()
            )
        except BaseException:
            await self._runner.close()  # a worker that has nothing running would keep what others give it
            raise
        self._runner.lines.counted(counted)

    def hold(self) -> None:
        """Begin no more steps; who is called may close from now on. `drain` or `close` follow.

        Whoever waits for a saga that needs another step to end meets SagasClosedError at once.
        """
        self._runner.hold()

    async def drain(self) -> None:
        """Begin no more steps and wait until the effects in flight have ended. `close` follows."""
        await self._runner.drain()

    async def close(self) -> None:
        """Stop every saga where it is; each goes on when the engine opens again.

        An effect in flight is cancelled, and made again under its key; `drain` first avoids that.
        """
        await self._runner.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def start(
        self,
        tx: Transaction,
        method: Callable[[*Ts], Awaitable[object]],
        /,
        *args: *Ts,
        id: str,
        key: str | None = None,
        priority: int = 0,
        delay_s: float = 0.0,
    ) -> bool:
        """Make a saga part of `tx`: it exists, and begins, when that commits.

        Args:
            tx: A transaction of the engine's database.
            method: A coroutine function marked with `@saga`.
            *args: Its arguments.
            id: Names the saga for ever. Starting it again with the same method and arguments changes nothing.
            key: For whom it is, in its queue. None: nobody, and no limit of a key holds.
            priority: In its queue: the highest comes first.
            delay_s: Seconds from now before which it does not begin, or join its queue. At least 0.

        Returns:
            True if it is new, False if the same saga was started before.

        Raises:
            SagaExistsError: The id belongs to another method or other arguments.
            StepCodecError: Not a saga, the arguments do not fit its annotations, or it has no queue for a key.
        """
        saga = self._make(method, args, id, Wish(key, priority, delay_s))
        if not await insert(saga, execute=tx.execute, first=tx.first):
            return False
        tx.after_commit(lambda: self._runner.enter(saga))
        return True

    def check_room(self, method: Callable[..., Awaitable[object]] | None = None) -> None:
        """Refuse what would start one more saga if too many wait for a place already, or in its queue.

        For the door of a service. `start` itself never refuses: what has been accepted goes on.

        Args:
            method: The saga. None: one without a queue.

        Raises:
            OverloadedError: `max_waiting` sagas wait.
        """
        mark = None if method is None else saga_mark(method)
        if mark is not None and mark.queue is not None:
            line = self._line(mark.queue)
            if line.waiting >= mark.queue.max_waiting:
                gate = f"queue {mark.queue.name} of {self._table.engine}"
                raise OverloadedError(gate, "waiting", line.waiting, mark.queue.max_waiting, _RETRY_AFTER_S)
            return
        waiting, limit = self._runner.waiting, self._settings.max_waiting
        if waiting >= limit:
            raise OverloadedError(f"sagas of {self._table.engine}", "waiting", waiting, limit, _RETRY_AFTER_S)

    async def run(
        self,
        method: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        key: str | None = None,
        priority: int = 0,
        delay_s: float = 0.0,
    ) -> R:
        """Start a saga in a transaction of its own and return its answer, as `start` and `result` do.

        Cancelled, it leaves the saga running, if it was or will be on disk.

        Args:
            method: A coroutine function marked with `@saga`.
            *args: Its arguments.
            id: None: a new one.
            key: As `start` has it; so have the others.
            priority: In its queue.
            delay_s: Seconds.
        """
        if (tx := context.current().tx) is not None:
            self._db.refuse_inside(tx)
        saga = self._make(method, args, world.new_id() if id is None else id, Wish(key, priority, delay_s))
        # Nobody else has an id of our own making, so the body need not wait until that is sure.
        if id is None and saga.ticket is None and self._runner.begin(saga):
            news = self._runner.answers.expect(saga.id)
            return cast("R", self._unpack(saga.id, await self._wait(saga.id, news)))
        try:
            new = await self._insert(saga)
        except asyncio.CancelledError:
            self._runner.adopt(saga)  # its row may have been written all the same
            raise
        if not new:
            return cast("R", await self.result(saga.id))
        news = self._runner.answers.expect(saga.id)
        self._runner.enter(saga, awaited=True)
        return cast("R", self._unpack(saga.id, await self._wait(saga.id, news)))

    async def result(self, saga: str) -> object:
        """Return the answer of a saga, waiting for it as long as the deadline of the call.

        Raises:
            DomainError: The saga failed with it, and everything it began is undone.
            StepFailedError: Likewise, for any other failure of a step.
            SagaStuckError: It needs a person.
            SagaUnknownError: There is none.
            SagasClosedError: The engine closed first; the saga goes on later.
            DeadlineError: The time was up first; the saga goes on.
        """
        news = self._runner.answers.expect(saga)  # before we look: it can end while we do
        if not self._runner.awake(saga):
            try:
                ending = ending_of(await self._table.get(saga))
            except BaseException:
                self._runner.answers.forget(saga, news)
                raise
            if ending is not None:
                self._runner.answers.forget(saga, news)
                return self._unpack(saga, ending)
        return self._unpack(saga, await self._wait(saga, news))

    async def signal(
        self, saga: str, name: str, value: object = None, *, key: str | None = None, tx: Transaction | None = None
    ) -> bool:
        """Send a saga what it waits for, or will: `await self.step.receive(name, Type)`. Durable when it returns.

        The saga receives signals of one name in the order of sending, each once. What comes before it asks is kept,
        also while it is stuck; what it never asks for is deleted with it.

        Args:
            saga: Its id.
            name: Of the signal.
            value: Anything with a JSON form that fits the type which the saga asks for.
            key: Names this signal for ever: sent again with the same value it is not sent. None: a new one.
            tx: A transaction of the engine's database of which the signal becomes a part. None: one of its own.

        Returns:
            True if it is new, False if it was sent before.

        Raises:
            SagaUnknownError: There is no such saga; also if its start has not committed.
            SagaEndedError: It has ended.
            SignalExistsError: The key was used with another value.
            OverloadedError: So many that it has not taken wait already (`max_signals`).
            StepCodecError: The value has no JSON form.
        """
        encoded = signal_json(name, value)
        self._shared.check_size(f"signal {name}", "the value", len(encoded))

        async def send(tx: Transaction) -> bool:
            sent = await self._shared.signals.send(tx, saga, name, encoded, key=key)
            if sent.new:
                tx.after_commit(lambda: self._signalled(saga, woken=sent.woken))
            return sent.new

        if tx is not None:
            return await send(tx)
        if (outer := context.current().tx) is not None:
            self._db.refuse_inside(outer)
        return await self._table.run(send)

    async def resume(self, saga: str) -> None:
        """Run a stuck saga again, by hand: its body, or the rest of its undoing.

        Raises:
            SagaUnknownError: No stuck saga has this id.
        """
        if not await self._table.unstick(saga):
            raise SagaUnknownError(saga, "stuck")
        self._runner.resumed()

    async def cancel(self, saga: str, *, by: str, limit_s: float = 60.0) -> None:
        """Have a saga undone that has not ended, by hand; returns when that is durable, before it is undone.

        It ends failed with SagaCancelledError, as if the step it came to had failed for good: what is in flight ends
        first, and everything begun that has an undo is undone, newest first. Cancelled, it goes on all the same.

        Args:
            saga: Its id.
            by: Who cancels it, for those who wait for the saga and those who look at it later.
            limit_s: How long to wait until it comes to a step, in whatever process it is.

        Raises:
            SagaUnknownError: There is none.
            SagaNotCancellableError: It has ended, goes back already, comes to no step in time, or what it did has no
                undo. Nothing was done.
            SagasClosedError: The engine is not open, or closes.
        """
        if (tx := context.current().tx) is not None:
            self._db.refuse_inside(tx)
        cancelling = Cancelling(self._runner, self._table, saga, by)
        await asyncio.shield(self._runner.chore(cancelling.cancel(limit_s=limit_s)))

    async def fork(self, saga: str, *, from_step: str, as_id: str, version: int | None = None) -> bool:
        """Start a saga that begins where another was before one of its steps; returns when that is durable.

        What the other did before that step is not done again: its answers are copied, with what undoes them. The rest
        runs again, under keys of the new saga. `self.step.now` is what it was. Signals that were not received stay
        with the other.

        Args:
            saga: The id of the other: one that is done, failed or stuck.
            from_step: Id of the step from which the new one goes on (`main/charge#1`), which is not copied.
            as_id: The id of the new one. Forking the same saga as the same id again changes nothing.
            version: Of its function. None: that of the other.

        Returns:
            True if it is new, False if it was forked before.

        Raises:
            SagaUnknownError: There is no such saga.
            SagaNotForkableError: It runs, or a step before that has no answer that stands, or an undo that both sagas
                might make, or is a saga itself; the text says which.
            SagaExistsError: `as_id` belongs to another saga.
        """
        if (tx := context.current().tx) is not None:
            self._db.refuse_inside(tx)
        check_id(f"fork of {saga}", as_id)
        wanted = Fork(saga, from_step, as_id, version)
        new = await self._table.run(lambda tx: fork(self._table, tx, wanted))
        if new:
            world.point(AFTER_FORK)
            self._runner.admit(Awake(self._shared, as_id))
        return new

    async def list(
        self,
        status: SagaStatus | None = None,
        *,
        method: str | None = None,
        older_than_s: float | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> "list[SagaInfo]":
        """Return sagas without their steps, newest first.

        Args:
            status: None: any.
            method: Only sagas of this name, as `SagaInfo.method` has it. None: any.
            older_than_s: Only those that were started so many seconds ago, or earlier. None: any.
            limit: At most so many, 1 to 1000.
            before: Only sagas whose `number` is below it: the last one of the page before. None: from the newest on.
        """
        size = min(max(limit, 1), 1000)
        rows = await self._table.list(
            status=status,
            limit=size,
            before=_NEWEST if before is None else before,
            method=method,
            until_us=None if older_than_s is None else world.now_us() - int(older_than_s * 1_000_000),
        )
        return [saga_info(row) for row in rows]

    async def inspect(self, saga: str) -> SagaInfo:
        """Return a saga with its steps; SagaUnknownError if there is none."""
        row, entries, _ = await self._table.read(saga)
        return saga_info(row, Past.read(entries))

    async def sweep(self) -> int:
        """Delete sagas that were finished longer than `keep_s` ago; return how many. Stuck ones stay."""
        before_us = world.now_us() - int(self._settings.keep_s * 1_000_000)
        return await self._table.sweep(before_us=before_us, batch=self._settings.sweep_batch)

    def statistics(self) -> SagaStatistics:
        """Return counters since the engine was opened."""
        return self._runner.statistics()

    def _make(self, method: Callable[..., Awaitable[object]], args: tuple[object, ...], id: str, wish: Wish) -> Awake:
        mark = saga_mark(method)
        if mark is not None and mark.queue is not None:
            self._line(mark.queue)
        return make(self._shared, method, args, saga=id, wish=wish)

    async def _insert(self, saga: Awake) -> bool:
        if saga.ticket is None:
            return await insert(saga, execute=self._db.execute, first=self._db.first)
        return await self._table.run(lambda tx: insert(saga, execute=tx.execute, first=tx.first))

    def _line(self, queue: Queue) -> Line:
        return self._runner.lines.know(f"{self._table.engine}/{queue.name}", queue)

    def _know_line(self, waiting: InQueue) -> None:
        """Have a line for a queue in which sagas wait: that of their function."""
        try:
            mark = saga_mark(self._versions.nearest(waiting.method, waiting.version).call)
        except StepCodecError:
            mark = None
        queue = mark.queue if mark is not None else None
        # Where the code has no such queue any more, they leave without a limit: what was accepted goes on.
        wanted = waiting.queue.removeprefix(f"{self._table.engine}/")
        self._line(queue if queue is not None and queue.name == wanted else Queue(wanted))

    async def _wait(self, saga: str, news: asyncio.Future[Ending]) -> Ending:
        try:
            self._runner.check_open(saga)
            if not self._runner.awake(saga):
                self._runner.team.watch()
            if context.current().deadline_s is None:
                return await news
            async with within(None, name=f"saga {saga}"):
                return await news
        finally:
            if not news.done() or news.cancelled():
                self._runner.answers.forget(saga, news)

    def _unpack(self, saga: str, ending: Ending) -> object:
        if ending.status == "done":
            return self._versions.nearest(ending.method, ending.version).codec.answer(ending.payload)
        if ending.status == "stuck":
            raise SagaStuckError(saga, ending.payload.decode())
        raise error_from_json(ending.payload, saga=saga)

    def _signalled(self, saga: str, *, woken: bool) -> None:
        world.point(AFTER_SIGNAL)
        self._runner.happened(saga, woken=woken)

    def _place_freed(self) -> None:
        self._runner.backlog.place_freed()


def _nothing() -> None:
    return None
