"""One saga in memory, and one run of its body: what it said since its last durable row, whether it may go on."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, Literal

from archstone import world
from archstone.context import Call, Trace, new_tuple
from archstone.errors import ConflictError
from archstone.sagas.errors import NoSagaError, StepCutError
from archstone.sagas.failures import Failure, error_json
from archstone.sagas.hold import Hold, Outcome
from archstone.sagas.journal import Past, failed_entry
from archstone.sagas.points import AFTER_CHILD_END
from archstone.sagas.queue import Ticket
from archstone.sagas.rows import Also, End, Execute, Nap, NewRow
from archstone.sagas.shared import Shared
from archstone.sagas.table import check_had
from archstone.world import World

__all__ = ["Awake", "Run"]

_NO_NAPS: Final[dict[str, Nap]] = {}
"""Of a run in which nothing has waited: most."""


class Awake:
    """A saga that this engine has in memory."""

    __slots__ = (
        "accidents", "arguments", "attempts", "away", "causation_id", "correlation_id", "effects", "fresh", "headers",
        "hold", "id", "lying", "method", "new", "parent", "placed", "resting", "run", "shared", "started_us", "stirred",
        "task", "ticket", "trace", "version", "worker",
    )  # fmt: skip

    task: asyncio.Task[None]
    """The one in which the body runs."""

    def __init__(self, shared: Shared, saga: str) -> None:
        self.shared = shared
        self.id = saga
        self.worker = shared.table.worker
        """Under which it is written; whoever takes it over has another."""
        self.run: Run | None = None
        """The run of its body that goes on or went last."""
        self.new = False
        """Whether its row is not on disk yet: it is written together with the first entries."""
        self.fresh = False
        """Started by this process and not run yet, so that there is nothing to read."""
        self.placed = True
        """Whether it has a place among those awake; one that waits has none."""
        self.away = False
        """Whether it has given it up to wait."""
        self.method = ""
        self.version = 0
        self.arguments = b"[]"
        self.headers = b"{}"
        self.started_us = 0
        self.parent: str | None = None
        """Id of the saga that waits for this one."""
        self.ticket: Ticket | None = None
        """Its place in a queue, for one that was started to wait there."""
        self.trace: Trace | None = None
        self.correlation_id: str | None = saga
        self.causation_id: str | None = None
        self.attempts = 0
        """Runs of the body that ended in a bug."""
        self.effects = 0
        """Effects of it in flight."""
        self.hold: Hold | None = None
        """What holds it back. None: nothing does."""
        self.resting = 0
        """Delays in which it waits for another attempt, of a step or of its body."""
        self.stirred: list[asyncio.Future[None]] | None = None
        """Told when something has happened that the saga may wait for. None: nobody waits."""
        self.lying: asyncio.Future[None] | None = None
        """There while it is being put to sleep on disk: nothing of it goes on before that is decided."""
        self.accidents = 0
        """Times that the journal could not be read or written."""

    def call(self, *, key: str | None = None, step: object = None) -> Call:
        """Return the call under which the body (with `step`) or an effect (with `key`) runs."""
        principal = self.shared.principal
        return new_tuple(Call, (principal, None, self.trace, key, self.correlation_id, self.causation_id, None, step))

    def insert(self, *, head: bytes | None = None, execute: Execute | None = None) -> Awaitable[int]:
        """Write its row, with its first entries; gives 0 if the id is taken. Durable as the `execute` says."""
        return self.shared.table.insert(self.row(), head=head, execute=execute)

    def row(self) -> NewRow:
        """Return what is written of it when it comes into being."""
        return NewRow(
            self.id, self.method, self.version, self.arguments, self.headers, self.started_us, self.worker, self.parent
        )

    async def insert_or_raise(self, execute: Execute) -> None:
        """Write its row with what `execute` belongs to; ConflictError if the id was taken meanwhile."""
        if not await self.insert(execute=execute):
            raise ConflictError(f"saga {self.id!r} was started by somebody else at the same time")

    async def begin(self, head: bytes) -> bool:
        """Write the row of a new saga; False if that had been done. Returns when it is durable.

        The id is our own, so if it is taken this was done before by a call that was cancelled.
        """
        written = await self.insert(head=head)
        self.new = False
        return written == 1

    async def wait_while_held(self) -> None:
        """Wait as long as it is held back."""
        while (hold := self.hold) is not None:
            hold.asking += 1
            self.came_to_rest()
            try:
                await hold.wait()
            finally:
                hold.asking -= 1

    async def rest(self, seconds: float) -> None:
        """Wait for another attempt."""
        self.resting += 1
        self.came_to_rest()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.resting -= 1

    def came_to_rest(self) -> None:
        """Tell who holds it back that nothing of it is in flight, if that is so and it would go on."""
        hold, run = self.hold, self.run
        if hold is not None and not self.effects and (hold.asking or self.resting or (run is not None and run.naps)):
            hold.decide("quiet")

    def effect_ended(self) -> None:
        """Count one effect in flight less."""
        self.effects -= 1
        if self.hold is not None:
            self.came_to_rest()

    def let_go(self, outcome: Outcome) -> None:
        """Hold it back no more."""
        hold, self.hold = self.hold, None
        if hold is not None:
            hold.decide(outcome)
            hold.release()

    def may_end(self) -> bool:
        """Whether it can end, or be told of, although no step begins any more."""
        run = self.run
        return self.new or self.effects > 0 or (run is not None and run.ended and run.halt is None)

    def news(self) -> "asyncio.Future[None]":
        """Return a future that `stir` ends. Whoever gives up on it says `no_news`."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stirred = [*(self.stirred or ()), news]
        return news

    def no_news(self, news: "asyncio.Future[None] | None") -> None:
        """Drop a future that nobody waits for any more."""
        self.stirred = [each for each in self.stirred or () if each is not news] or None

    def stir(self) -> None:
        """Have everything of it that waits look again."""
        for news in self.stirred or ():
            if not news.done():
                news.set_result(None)

    async def wait_while_lying(self) -> None:
        """Wait until it is decided whether it sleeps on disk: if it does, this is cancelled."""
        while self.lying is not None:
            await asyncio.wait([self.lying])

    def could_lie_down(self) -> bool:
        """Whether all of it waits, so that it could as well sleep on disk."""
        run = self.run
        if run is None or run.ended or run.halt is not None or not run.naps or run.flying or run.writing:
            return False
        return self.hold is None and not self.effects and not self.resting

    def leave_place(self) -> bool:
        """Give up the place while it waits; False if it has none, or must keep it until it sleeps on disk."""
        if not self.placed:
            return False
        if not self.shared.sleepers.take():
            self.shared.kin.crowded(self.id)
            return False
        self.placed = False
        self.away = True
        self.shared.places.give()
        return True

    async def take_place(self) -> None:
        """Have a place again, waiting for it."""
        if self.placed:
            return
        await self.shared.places.wait()
        if self.placed:  # another branch woke up meanwhile and has brought one
            self.shared.places.give()
        self.placed = True
        self.away = False


class Run:
    """One run of a saga's body.

    An answer is kept in `pending` and written together with whatever comes next: the body acts only through
    steps, and a step begins only when its row, with all answers before it, is on disk. A run is not used again: a
    branch that outlives it finds it ended, and cannot write into the journal of the next.
    """

    __slots__ = (
        "bug", "claims", "ended", "failure", "flying", "halt", "id", "moves", "naps", "past", "pending", "position",
        "saga", "shared", "world", "writing",
    )  # fmt: skip

    def __init__(self, saga: Awake, world: World, *, past: Past | None = None, position: int = 0) -> None:
        self.saga = saga
        saga.run = self
        self.shared = saga.shared
        self.id = saga.id
        self.world = world
        """The world of the effects; the body has none."""
        self.past = past
        """What earlier lives did; None if there was none."""
        self.position = position
        """Of the next row of the journal."""
        self.pending: list[bytes] = []
        self.flying: set[asyncio.Task[Any]] | None = None
        """Steps that are in tasks of their own, because their branch can be cancelled."""
        self.naps: dict[str, Nap] = _NO_NAPS
        """Steps that wait for time or for something that happens, and that somebody awaits."""
        self.moves = 0
        """Changes whenever a step begins or ends to wait, or the journal is written."""
        self.writing = 0
        """Rows of the journal that are being written."""
        self.claims: frozenset[int] = frozenset()
        """Signals that are about to be taken."""
        self.failure: Failure | None = None
        """The failure that ends the saga, once a step has failed for good."""
        self.halt: Exception | None = None
        """What every later step raises: the failure, a step cut short, changed code, a journal not to be written."""
        self.bug: Exception | None = None
        """The same, if it is the body's doing that a step has begun and will not be settled in this run."""
        self.ended = False
        """Whether the body has returned or raised."""

    def halted(self) -> bool:
        """Whether no step may follow."""
        return self.halt is not None

    def napping(self, step: str, nap: Nap) -> None:
        """Note that a step waits; `woke` follows."""
        if self.naps is _NO_NAPS:
            self.naps = {}
        self.naps[step] = nap
        self.moves += 1
        self.saga.came_to_rest()

    def woke(self, step: str) -> None:
        """Note that it does not wait any more."""
        del self.naps[step]
        self.moves += 1

    def fail(self, step: str, failure: Failure, *, attempts: int) -> None:
        """Note that a step failed for good. The first one counts."""
        if self.failure is None:
            self.failure = self.halt = failure
            self.pending.append(failed_entry(step, error_json(failure), at_us=self.world.now_us(), attempts=attempts))

    def check(self) -> None:
        """Raise what forbids another step, if anything does."""
        if self.halt is not None:
            raise self.halt
        if self.ended:
            raise NoSagaError(f"a step of saga {self.id!r} was called after its body had ended")

    def cut(self, step: str) -> None:
        """Note that a step was cancelled before its answer. If the body lives on, it was the body's own doing."""
        self.spoil(StepCutError(self.id, step))

    def spoil(self, bug: Exception) -> None:
        """Note that a step has begun and its answer will not be known in this run."""
        if self.halt is None:
            self.halt = self.bug = bug

    async def append(self, *entries: bytes, also: Also | None = None) -> None:
        """Write everything pending and then `entries` as one row of the journal; returns when it is durable.

        What `also` does is done in the same transaction; the saga's own row must be on disk then.

        When it cannot be written the run halts: what is on disk is no longer known, so no step may follow. Cancelled,
        it may have been written. In both cases what was pending is pending again: twice in the journal it does no
        harm, and a failure that is not there would be forgotten.
        """
        taken, self.pending = self.pending, []
        row = b"[" + b",".join([*taken, *entries]) + b"]"
        self.writing += 1
        self.moves += 1
        try:
            # Branches may begin at the same time: the first makes the row, and what the others write comes after it.
            if self.saga.new and await self.saga.begin(row):
                return
            position = self.position
            self.position = position + 1
            if also is None:
                check_had(self.id, await self.shared.table.append(self.id, self.saga.worker, position, row))
            else:
                await self.shared.table.append_with(self.id, self.saga.worker, position, row, also)
        except BaseException as error:
            self.pending = [*taken, *self.pending]  # another list: `Keep` must not take these for those it wrote
            if isinstance(error, Exception):
                self.halt = self.halt or error
            raise
        finally:
            self.writing -= 1

    async def flush(self) -> None:
        """Write what is pending, if anything is, and the row of a new saga."""
        if self.pending or self.saga.new:
            await self.append()

    async def finish(self, status: Literal["done", "failed"], answer: bytes) -> None:
        """Write the end, with everything pending; returns when it is durable."""
        tail = b"[" + b",".join(self.pending) + b"]"
        end = new_tuple(End, (self.id, self.saga.worker, status, answer, tail, self.world.now_us()))
        if self.saga.parent is not None:
            await self._finish_child(end, self.saga.parent)
        elif (ticket := self.saga.ticket) is not None and ticket.queue is not None:
            await self.shared.queues.finish(end, ticket)
        else:
            check_had(self.id, await self.shared.table.finish(end))

    async def _finish_child(self, end: End, parent: str) -> None:
        woken = await self.shared.table.finish_child(end, parent)
        world.point(AFTER_CHILD_END)
        self.shared.kin.happened(parent, woken=woken)

    async def settle(self) -> None:
        """Wait for steps whose branch was cancelled or forgotten: neither an undo nor the end may overtake them."""
        while flying := self.flying:
            await asyncio.wait(flying)
