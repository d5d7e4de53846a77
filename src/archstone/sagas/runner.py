"""Keeps sagas going: a task for each that has a place in memory, and news of its end for who waits.

One thing above 400 lines, since whatever happens to a saga that runs (it is admitted, stirred, held back, put to sleep,
dropped, ended) changes what is in memory and the same few counters, and no two of these may come apart. What can is
elsewhere: those that wait for a place (`backlog.py`), in a queue (`lines.py`) or asleep (`sleeping.py`), and the other
processes (`team.py`).
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from archstone import world
from archstone.data import Database
from archstone.observability import get_logger
from archstone.sagas.answers import Answers
from archstone.sagas.backlog import Backlog
from archstone.sagas.cancelling import Cancelling
from archstone.sagas.drive import Ending, drive
from archstone.sagas.errors import SagaNotCancellableError, SagasClosedError
from archstone.sagas.failures import describe
from archstone.sagas.hold import Hold
from archstone.sagas.info import SagaStatistics
from archstone.sagas.lines import Lines
from archstone.sagas.queue_rows import InQueue
from archstone.sagas.run import Awake
from archstone.sagas.shared import Shared
from archstone.sagas.sleeping import Asleep
from archstone.sagas.team import Team

__all__ = ["Runner"]

_log = get_logger("archstone.sagas")


class Runner:
    """The sagas of one engine that are in memory. Those that have no place wait in the table."""

    def __init__(self, shared: Shared, db: Database, *, learn: Callable[[InQueue], object]) -> None:
        """Make one; `learn` makes a queue known in which sagas wait of which the code did not speak yet."""
        self._shared = shared
        self._engine = shared.table.engine
        self._awake: dict[str, Awake] = {}
        self.answers = Answers(self._engine)
        """Who waits for the end of a saga."""
        self.team = Team(db, shared.table, self, lease_s=shared.settings.lease_s)
        """The processes that share the database."""
        self._context: contextvars.Context | None = None
        self.backlog = Backlog(shared, self)
        """Those that wait for a place."""
        self._chores: set[asyncio.Task[None]] = set()
        self._stopped: set[str] = set()
        """Sagas that run and are kept out of memory, because somebody is about to cancel them."""
        self._asleep = Asleep(shared, self)
        self.lines = Lines(shared.queues, shared.places, self, learn=learn)
        """The queues in front."""
        self._stuck = self._started = self._finished = self._failed = 0
        self._present = 0
        """Sagas that have not ended, as far as known: set right whenever the table has been read to its end."""

    @property
    def open(self) -> bool:
        """Whether sagas are taken in."""
        return self._context is not None and not self._shared.draining and self._shared.table.working

    @property
    def room(self) -> bool:
        """Whether a new saga would soon run here. One that would not is left to the others, where there are any."""
        return self.open and self.backlog.room

    @property
    def here(self) -> int:
        """Sagas that run here, or are kept from running here."""
        return len(self._awake) + len(self._stopped)

    @property
    def workers(self) -> int:
        """Processes that share the sagas of this engine, as far as known."""
        return self.team.size

    @property
    def waiting(self) -> int:
        """Sagas on disk that do not run."""
        return max(0, self._present - len(self._awake))

    def start(self, *, stuck: int, present: int, due_us: int | None) -> None:
        """Take sagas in from now on, in the context of the caller; those in the table first.

        Args:
            stuck: How many are stuck.
            present: How many others have not ended, and do not sleep on disk.
            due_us: When the first of those that sleep there is to go on. None: no such time.
        """
        self._context = contextvars.copy_context()
        self._shared.table.draining = False
        self._stuck, self._present = stuck, present
        self._asleep.rouse_at(due_us)
        self.look()

    def admit(self, saga: Awake, *, awaited: bool = False) -> None:
        """Run a saga that is on disk now, or leave it in the table until there is a place.

        Args:
            saga: A new one.
            awaited: Somebody waits for its answer, who would give up while it waits behind others.
        """
        if not self.open:
            self.team.call()
            return
        if self.has_here(saga.id) or saga.id in self.backlog:
            return
        self._present += 1
        if saga.worker != self._shared.table.worker:
            self.team.call()
            self.look()
            return
        if awaited and self._shared.places.take(pressing=True):
            self.launch(saga)
            return
        self.backlog.add(saga)

    def begin(self, saga: Awake) -> bool:
        """Run a saga that is not on disk: its row is written with its first entries. False if it must be on disk first.

        Its id is new. If the row cannot be written, whoever waits for its answer meets that error.
        """
        if not self.open or not self._shared.places.take(pressing=True):
            return False
        self._present += 1
        saga.new = True
        saga.worker = self._shared.table.worker
        self.launch(saga)
        return True

    def enter(self, saga: Awake, *, awaited: bool = False) -> None:
        """Run a saga that is on disk now when its time has come, or it is let out of its queue; see `admit`."""
        ticket = saga.ticket
        if ticket is None:
            self.admit(saga, awaited=awaited)
        elif self.open and ticket.due_us is not None:
            self._asleep.rouse_at(ticket.due_us)
        elif ticket.queue is not None:
            self.lines.joined(ticket.queue)
            if not self.open or not self._shared.places.free:
                self.team.call()

    def let_in(self, sagas: list[str]) -> None:
        """Run sagas that have left a queue on disk: they come before those that wait in the table."""
        for saga in sagas:
            if self.open and saga not in self._awake and self._shared.places.take():
                self.take_in(saga)
            else:
                self.admit(Awake(self._shared, saga))
        self.backlog.left_queue(len(sagas))

    def adopt(self, saga: Awake) -> None:
        """Run a saga whose starter was cancelled, if it is on disk."""
        if saga.ticket is not None:
            self.enter(saga)
        elif self.open:
            self.chore(self._adopt(saga))

    def look(self) -> None:
        """Look through the table from its beginning for sagas that run nowhere."""
        if not self.open:
            self.team.call()
        self.backlog.look()

    def take_in(self, saga: str) -> None:
        """Run a saga on disk, of which nothing was known here, in a place that was taken for it."""
        self._present += 1
        self.launch(Awake(self._shared, saga))

    def launch(self, saga: Awake) -> None:
        """Run a saga in a place that was taken for it."""
        self._awake[saga.id] = saga
        self._started += 1
        saga.task = self.task(self._live(saga))

    def all_seen(self) -> None:
        """Set right how many there are: the table has been read to its end."""
        self._present = self.here + len(self.backlog)

    def resumed(self) -> None:
        """Count a stuck saga that runs again, and run it."""
        self._stuck = max(0, self._stuck - 1)
        self._present += 1
        self.look()

    def revived(self, saga: str, status: str) -> None:
        """Run a saga again that was not running.

        Args:
            saga: Its id.
            status: What it was. Nothing is done if it was running after all.
        """
        if status == "stuck":
            self.resumed()
        elif status != "running":
            self.happened(saga, woken=True)
            if status == "queued":
                self.chore(self.lines.recount())

    def happened(self, saga: str, *, woken: bool) -> None:
        """Have a saga look whether what it waits for has happened.

        Args:
            saga: Its id.
            woken: Whether it slept on disk, and goes on.
        """
        awake = self._awake.get(saga)
        if awake is not None:
            if woken:
                self._asleep.woken(awake)
            awake.stir()
        elif woken:
            self.admit(Awake(self._shared, saga))
        else:
            self.team.tell(saga)

    def listen(self, saga: Awake) -> Callable[[], None] | None:
        """Have a saga stirred when another process tells it something; return what ends that."""
        return self.team.listen(saga.id, saga.stir)

    def stir(self, sagas: Iterable[str]) -> None:
        """Have sagas that are in memory look, and those that wait for children."""
        for saga in sagas:
            if (awake := self._awake.get(saga)) is not None:
                awake.stir()
        for awake in self._awake.values():
            if awake.run is not None and any(nap.child for nap in awake.run.naps.values()):
                awake.stir()

    async def own(self, saga: str) -> bool:
        """Whether a running saga is this process's, or nobody's until now; False if another has it."""
        if saga in self._awake or not self._shared.table.shared:
            return True
        row = await self._shared.table.get(saga)
        return row.worker == self._shared.table.worker or await self.team.rows.claim_one(saga)

    async def recount(self) -> None:
        """Count what other processes change too."""
        table = self._shared.table
        self._stuck = await table.count("stuck")
        self._present = max(await table.count("running"), len(self._awake))
        self._asleep.rouse_at(await table.next_due())
        await self.lines.recount()

    async def drop(self) -> None:
        """Take everything out of memory: others have it."""
        await self._write_new()
        await self._stop([saga.task for saga in self._awake.values()])

    def crowded(self, saga: str) -> None:
        """Put a saga that waits to sleep on disk: too many wait in memory."""
        awake = self._awake.get(saga)
        if awake is not None and self.open:
            self._asleep.crowded(awake)

    def left(self, saga: Awake, *, back: bool) -> None:
        """Note that a saga sleeps on disk and has left memory; `back`: it was woken already."""
        self._present -= 1
        if back:
            self.admit(Awake(self._shared, saga.id))

    def has_here(self, saga: str) -> bool:
        """Whether a saga runs here, or is kept from running here."""
        return saga in self._awake or saga in self._stopped

    def has(self, saga: Awake) -> bool:
        """Whether this very one is in memory."""
        return self._awake.get(saga.id) is saga

    async def take_back(self, saga: str, *, by: str) -> None:
        """Have a saga undone, whatever it came to; returns when that is durable, before it is undone."""
        await Cancelling(self, self._shared.table, saga, by).take_back()

    def chore(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something in a task of the engine's own, which its closing cancels."""
        chore = self.task(work)
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)
        chore.add_done_callback(_looked_at)
        return chore

    def task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something in a task with the context of the engine, which whoever asks must cancel."""
        return asyncio.get_running_loop().create_task(work, context=self._own_context())

    def hold_back(self, saga: str) -> Awake:
        """Begin no more steps of a running saga, and return it: one that waits for a place is given one more.

        Raises:
            SagasClosedError: The engine is not open.
            SagaNotCancellableError: Somebody holds it back already.
        """
        self.check_taking(saga)
        held = self._awake.get(saga)
        if saga in self._stopped or (held is not None and held.hold is not None):
            raise SagaNotCancellableError(saga, "somebody is about to cancel it already")
        self.backlog.forget(saga)
        if held is not None:
            held.hold = Hold()
            held.came_to_rest()
            return held
        held = Awake(self._shared, saga)
        held.hold, held.placed = Hold(), False
        self.launch(held)
        return held

    async def stop(self, saga: Awake) -> None:
        """Take a saga that is held back and quiet out of memory, with what it said on disk."""
        if saga.run is not None and not saga.run.ended:
            await saga.run.flush()
        if self._awake.get(saga.id) is saga:
            self._stopped.add(saga.id)
            task = saga.task
            task.cancel()
            await asyncio.wait([task])

    def let_go(self, saga: Awake) -> None:
        """Let a saga that was held back go on: in memory where it waits, or from its journal."""
        saga.let_go("ended")
        self._stopped.discard(saga.id)
        if self._awake.get(saga.id) is not saga:
            self._present -= 1
            self.admit(Awake(self._shared, saga.id))  # one that has ended is read, and left alone

    def check_taking(self, saga: str) -> None:
        """Raise SagasClosedError unless sagas are taken in."""
        if not self.open:
            raise SagasClosedError(self._engine, saga)

    def check_open(self, saga: str) -> None:
        """Raise SagasClosedError if the saga does not end before the engine opens again."""
        if self._context is None or (self._shared.draining and not self._may_end(saga)):
            raise SagasClosedError(self._engine, saga)

    def awake(self, saga: str) -> bool:
        """Whether the saga is in memory here."""
        return saga in self._awake

    def statistics(self) -> SagaStatistics:
        """Return the counters."""
        effect, since_s = next(iter(self._shared.failing.items()), (None, 0.0))
        return SagaStatistics(
            running=len(self._awake),
            stuck=self._stuck,
            waiting=self.waiting,
            started=self._started,
            finished=self._finished,
            failed=self._failed,
            queued=self.lines.waiting,
            in_vain_s=0.0 if effect is None else world.monotonic() - since_s,
            in_vain="" if effect is None else f"{effect.name} of saga {effect.saga}",
            workers=self.workers,
            taken_over=self.team.taken_over,
        )

    def hold(self) -> None:
        """Begin no more steps; a failed attempt does not count any more.

        Whoever waits for a saga that cannot end without another step is told so now: a step of another engine that
        waits for an answer would hold up its drain otherwise.
        """
        self._shared.table.draining = True
        for held in self._awake.values():
            if held.hold is not None:
                held.hold.decide("closed")
        for saga in self.answers.awaited():
            if not self._may_end(saga):
                self.parked(saga)

    def parked(self, saga: str) -> None:
        """Tell those who wait for a saga that it goes on when the engine opens again."""
        self.answers.parked(saga)

    async def drain(self) -> None:
        """Begin no more steps and wait for effects in flight, so that their answers are written before `close`."""
        self.hold()
        shared = self._shared
        while shared.effects:
            quiet: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            shared.quiet.append(quiet)
            await quiet
        for saga in list(self._awake.values()):
            if saga.run is not None and not saga.run.ended:
                await saga.run.flush()

    async def close(self) -> None:
        """Stop every saga where it is; the journal knows where that was."""
        self._context = None
        self.hold()
        await self._write_new()
        tasks = [*(saga.task for saga in self._awake.values()), *self._chores]
        tasks += self.backlog.close()
        await self._stop(tasks)
        self.lines.close()
        for saga in self.answers.awaited():
            self.parked(saga)
        await self.team.leave()

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # A task that is cancelled before it has begun runs none of its own cleaning up.
        self._awake.clear()
        self.backlog.clear()
        self._asleep.close()
        self._shared.places.clear()
        self._shared.sleepers.clear()

    def _own_context(self) -> contextvars.Context | None:
        """Return the context of the engine for one task: in a shared one each saw the transactions of the others."""
        return None if self._context is None else self._context.copy()

    async def _live(self, saga: Awake) -> None:
        try:
            ending = await drive(saga)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the others
            if saga.new:
                self._present -= 1
                self.answers.tell(saga.id, error)
                self.adopt(saga)
                return
            _log.critical("a saga could not be driven; it goes on at the next start", saga=saga.id, exc_info=error)
            return
        finally:
            del self._awake[saga.id]
            saga.let_go("ended")
            saga.run = None  # each leads to the other, and the task to both: only the collector would free them
            del saga.task
            if saga.placed:
                self._shared.places.give()
        if ending is not None:
            self._count(ending)
            if saga.ticket is not None and saga.ticket.queue is not None:
                self.lines.moved(saga.ticket.queue)
            self.answers.tell(saga.id, ending)
        elif self._shared.table.shared:
            self._present -= 1  # another process has it

    def _count(self, ending: Ending) -> None:
        self._present -= 1
        if ending.status == "done":
            self._finished += 1
        elif ending.status == "failed":
            self._failed += 1
        else:
            self._stuck += 1

    async def _write_new(self) -> None:
        """Have every saga on disk before its task is cancelled: those who wait for it are told that it goes on."""
        for saga in list(self._awake.values()):
            if saga.new:
                try:
                    await saga.begin(b"[]")
                except Exception as error:  # noqa: BLE001 - closing goes on
                    self.answers.tell(saga.id, error)

    def _may_end(self, saga: str) -> bool:
        awake = self._awake.get(saga)
        return awake is not None and awake.may_end()

    async def _adopt(self, saga: Awake) -> None:
        try:
            if await self._shared.table.exists(saga.id):
                saga.new = False
                self.admit(saga)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            _log.error("a saga could not be adopted; it goes on at the next start", saga=saga.id, error=describe(error))


def _looked_at(chore: asyncio.Task[None]) -> None:
    """Take note of how it ended: whoever waited may be gone."""
    if not chore.cancelled():
        chore.exception()
