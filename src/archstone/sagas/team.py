"""The processes that share the sagas of one engine: who is alive, who has what, and how they wake each other.

Each has the sagas that it has started or claimed; the others leave those alone. All look at each other's beats, once in
a fifth of `lease_s` of their own clock. One whose beat stands for five looks is taken for dead, and whoever sees that
first makes its sagas nobody's. If it was only slow it finds that out with its next beat, or with its next write, which
is not written. It drops what it has in memory then, and goes on under a new number.

Words between the processes are wake-ups: lost ones cost a look, which each takes by itself from time to time.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import orjson

from archstone import context, world
from archstone.context import Call
from archstone.data import Database
from archstone.errors import ArchstoneError
from archstone.observability import get_logger
from archstone.sagas.answers import Answers, ending_of
from archstone.sagas.cancelling import Cancelling
from archstone.sagas.errors import SagaNotCancellableError, SagasClosedError, SagaUnknownError
from archstone.sagas.failures import describe
from archstone.sagas.points import AFTER_BURIAL, AFTER_CLAIM
from archstone.sagas.reading import AT_ONCE
from archstone.sagas.table import Table
from archstone.sagas.worker_rows import Beat, WorkerRows

if TYPE_CHECKING:
    from archstone.sagas.runner import Runner

__all__ = ["Team"]

_log = get_logger("archstone.sagas")
_LOOKS: Final = 5
"""Looks at a beat that stands after which its worker is dead; the time between two is that part of a lease."""
_RARELY: Final = 5
"""What costs a look at many rows is done once in so many looks."""
_SHORTEST_S: Final = 0.02
_LONGEST_S: Final = 0.5
_CANCEL_S: Final = 10.0


class Team:
    """This process among those that share the sagas of an engine. Where nobody shares them it does nothing."""

    def __init__(self, db: Database, table: Table, runner: "Runner", *, lease_s: float) -> None:
        self._db = db
        self._table = table
        self._runner = runner
        self._answers: Answers = runner.answers
        self._pause_s = lease_s / _LOOKS
        self._word = f"sagas/{table.engine}"
        self.rows = WorkerRows(db, table)
        self._member: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._watch_s = _SHORTEST_S
        self._unlisten: Callable[[], None] | None = None
        self._seen: dict[int, tuple[int, int]] = {}
        """Beat of each worker, and looks for which it stands."""
        self._looks = 0
        self._cancelling: set[str] = set()
        """Sagas that others want cancelled, while that is tried."""
        self._pulse: asyncio.Task[None] | None = None
        self._buried = False
        """Whether the others have taken this process for dead."""
        self.taken_over = 0
        """Sagas of dead workers that this process has made free."""

    @property
    def size(self) -> int:
        """Workers that seem alive, at least 1."""
        return max(1, len(self._seen))

    async def join(self) -> None:
        """Be one of them from now on."""
        if not self._db.shared:
            return
        self._table.worker = await self.rows.join()
        self._seen = {each.number: (each.beat, 0) for each in await self.rows.beats()}
        self._unlisten = self._db.listen(self._word, self._look)
        self._buried = False
        self._pulse = asyncio.create_task(self._beat(), name=f"pulse of {self._word}")
        self._member = asyncio.create_task(self._work(), name=f"worker of {self._word}")

    async def leave(self) -> None:
        """Be none of them any more; what this process had the others go on with. Nothing of it may be in memory."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        tasks = [task for task in (self._pulse, self._member, self._watch) if task is not None]
        self._pulse = self._member = self._watch = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        number, self._table.worker = self._table.worker, 0
        self._seen.clear()
        if not number:
            return
        try:
            await self.rows.leave(number)
            self.call()
        except ArchstoneError as error:  # the others will see it
            _log.warning("a worker could not say that it leaves", worker=number, error=describe(error))

    def call(self) -> None:
        """Tell the others that there are sagas which are nobody's."""
        if self._db.shared:
            self._db.signal(self._word)

    def tell(self, saga: str) -> None:
        """Tell whoever has a saga that something has happened which it may wait for."""
        if self._db.shared:
            self._db.signal(f"{self._word}/{saga}")

    def listen(self, saga: str, stir: Callable[[], None]) -> Callable[[], None] | None:
        """Have `stir` called when somebody else tells a saga something; return what ends that."""
        return self._db.listen(f"{self._word}/{saga}", stir) if self._db.shared else None

    def watch(self) -> None:
        """Look from time to time for the ends of sagas that somebody here waits for and somebody else has."""
        self._watch_s = _SHORTEST_S
        self._watch_on()

    def _watch_on(self) -> None:
        if self._db.shared and (self._watch is None or self._watch.done()):
            self._watch = asyncio.create_task(self._watching(), name=f"ends of {self._word}")

    async def claim(self, limit: int) -> list[str]:
        """Return sagas that were nobody's and are this process's now."""
        if not self._db.shared or not self._table.worker or limit <= 0:
            return []
        sagas = await self.rows.claim(limit)
        if sagas:
            world.point(AFTER_CLAIM)
        return sagas

    def _look(self) -> None:
        if self._runner.open:
            self._runner.look()
            self._runner.lines.look()

    async def _work(self) -> None:
        context.set_current(Call())
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self._turn()
            except ArchstoneError as error:
                # The database is away, for the others as well: their beats stand for a reason.
                self._seen = {number: (beat, 0) for number, (beat, _) in self._seen.items()}
                _log.warning("a worker cannot give a sign of life", worker=self._table.worker, error=describe(error))
            except Exception as error:  # noqa: BLE001 - without signs of life the others take everything over
                _log.critical("a worker failed", worker=self._table.worker, exc_info=error)

    async def _beat(self) -> None:
        """Give signs of life, whatever else takes long."""
        context.set_current(Call())
        while True:
            await asyncio.sleep(self._pause_s)
            number = self._table.worker
            with suppress(ArchstoneError):  # the turn tells of it
                if number and not await self.rows.beat(number):
                    self._buried = self._table.worker == number

    async def _turn(self) -> None:
        if not self._table.worker or self._buried:
            await self._again()
        for dead in self._dead(await self.rows.beats()):
            await self._bury(dead)
        for asked in await self.rows.asked():
            if asked.id not in self._cancelling and self._runner.open:
                self._cancelling.add(asked.id)
                self._runner.chore(self._cancel(asked.id, asked.asked))
        self._looks += 1
        if self._looks % _RARELY == 0:
            await self._look_around()
        await self._runner.backlog.share()
        if any(not self._runner.awake(saga) for saga in self._answers.awaited()):
            self._watch_on()
        self._look()

    async def _again(self) -> None:
        """Drop everything and begin under a new number: the others have taken this process for dead."""
        number, self._table.worker = self._table.worker, 0
        if number:
            _log.error("this process seemed dead to the others, who go on with its sagas", worker=number)
            await self._runner.drop()
        self._table.worker = await self.rows.join()
        self._buried = False
        await self.rows.free_lost()  # what was written under the old number meanwhile

    def _dead(self, beats: list[Beat]) -> list[Beat]:
        """Return those whose beat stands, from what was seen before."""
        seen = self._seen
        self._seen = {
            each.number: (each.beat, looks + 1 if beat == each.beat else 0)
            for each in beats
            for beat, looks in [seen.get(each.number, (each.beat, -1))]
        }
        return [each for each in beats if self._seen[each.number][1] >= _LOOKS and each.number != self._table.worker]

    async def _bury(self, dead: Beat) -> None:
        had = await self.rows.bury(dead)
        if had is None:
            return
        world.point(AFTER_BURIAL)
        self._seen.pop(dead.number, None)
        self.taken_over += had
        _log.error("a worker is dead; its sagas are taken over", worker=dead.number, sagas=had)
        self.call()

    async def _look_around(self) -> None:
        if await self.rows.free_lost():
            self.call()
        self._runner.stir(await self.rows.told())
        await self._runner.recount()

    async def _cancel(self, saga: str, asked: str) -> None:
        """Cancel a saga of this process that another wants cancelled."""
        by, whatever = orjson.loads(asked)
        try:
            cancelling = Cancelling(self._runner, self._table, saga, by, asked=True)
            await cancelling.cancel(limit_s=_CANCEL_S, whatever=whatever)
        except (SagaNotCancellableError, SagaUnknownError, SagasClosedError) as error:
            _log.info("a saga is not cancelled", saga=saga, by=by, why=str(error))
        finally:
            self._cancelling.discard(saga)
        await self.rows.answer(saga)

    async def _watching(self) -> None:
        context.set_current(Call())
        while sagas := [saga for saga in self._answers.awaited() if not self._runner.awake(saga)]:
            await asyncio.sleep(self._watch_s)
            self._watch_s = min(self._watch_s * 1.5, _LONGEST_S)
            try:
                for first in range(0, len(sagas), AT_ONCE):
                    for row in await self._table.ended_among(sagas[first : first + AT_ONCE]):
                        if (ending := ending_of(row)) is not None:
                            self._answers.tell(row.id, ending)
            except ArchstoneError as error:
                _log.warning("the ends of sagas cannot be read", error=describe(error))
