"""Sagas on PostgreSQL: what they wait for, what they are made of, forks and queues, as on SQLite."""

import asyncio

import pytest
from saga_cast import Depot, NoneLeft, Traveller

from archstone.data import Database, Transaction
from archstone.sagas import Queue, SagaCancelledError, SagaInfo, Sagas, SagaSettings, current_step, saga

pytestmark = pytest.mark.real_time

LINE = Queue("line", per_key=1, max_running=2)
SMALL = SagaSettings(max_running=4, max_sleeping=1)


class Guide(Traveller):
    def __init__(self, depot: Depot) -> None:
        super().__init__(depot)
        self.log: list[str] = []

    @saga()
    async def bag(self, thing: str) -> str:
        await self.step(self.depot.take, thing, undo=(self.depot.put_back, thing))
        return thing

    @saga()
    async def trip(self, last: str) -> str:
        packed = await self.step.child(self.bag, "hat")
        told = await self.step.receive("go", str)
        await self.step(self.depot.take, last, undo=(self.depot.put_back, last))
        return f"{packed}, {told}"

    @saga(queue=LINE)
    async def lined(self, what: str) -> str:
        await current_step()(self.note, what)
        return what

    async def note(self, what: str) -> None:
        self.log.append(what)
        await asyncio.sleep(0.05)


async def started(sagas: Sagas, guide: Guide, count: int, *, last: str = "tent") -> None:
    async with sagas._db.transaction() as tx:
        for n in range(count):
            await sagas.start(tx, guide.trip, last, id=f"t{n}")


async def settled(sagas: Sagas, saga: str, *, steps: int) -> SagaInfo:
    async with asyncio.timeout(20):
        while len((seen := await sagas.inspect(saga)).steps) < steps:
            await asyncio.sleep(0.02)
    return seen


async def test_signals_and_children_on_disk_and_in_memory(postgres_url: str) -> None:
    guide = Guide(Depot())
    async with Database(postgres_url) as db, Sagas(db, owner=guide, settings=SMALL) as sagas:
        await started(sagas, guide, 6)
        for n in range(6):
            await settled(sagas, f"t{n}", steps=2)
        async with asyncio.timeout(20):  # all but one find no room in memory, and go to sleep on disk
            while await db.one(int, "SELECT count(*) FROM _archstone_sagas WHERE status = 'asleep'") < 5:
                await asyncio.sleep(0.02)
        for n in range(6):
            assert await sagas.signal(f"t{n}", "go", f"now {n}", key="k") is True
            assert await sagas.signal(f"t{n}", "go", f"now {n}", key="k") is False
        assert [await sagas.result(f"t{n}") for n in range(6)] == [f"hat, now {n}" for n in range(6)]


async def test_many_signals_at_once_are_all_received(postgres_url: str) -> None:
    class Counting(Guide):
        @saga()
        async def count(self, times: int) -> list[int]:
            return sorted([await self.step.receive("number", int) for _ in range(times)])

    guide = Counting(Depot())
    async with Database(postgres_url) as db, Sagas(db, owner=guide) as sagas:
        async with db.transaction() as tx:
            await sagas.start(tx, guide.count, 20, id="c")
        await asyncio.gather(*(sagas.signal("c", "number", n, key=str(n)) for n in range(20)))
        assert await sagas.result("c") == list(range(20))


async def test_a_child_that_was_done_is_undone_with_its_parent(postgres_url: str) -> None:
    guide = Guide(Depot())
    guide.depot.fail("take tent", NoneLeft("tent", 1))
    async with Database(postgres_url) as db, Sagas(db, owner=guide) as sagas:
        await started(sagas, guide, 1)
        await sagas.signal("t0", "go", "now")
        with pytest.raises(NoneLeft):
            await sagas.result("t0")
        with pytest.raises(SagaCancelledError):
            await sagas.result("t0/main/bag#1")
    assert guide.depot.log == ["take hat", "take tent", "put back tent", "put back hat"]


async def test_a_fork_and_a_list_and_a_sweep(postgres_url: str) -> None:
    guide = Guide(Depot())
    async with Database(postgres_url) as db, Sagas(db, owner=guide, settings=SagaSettings(keep_s=0)) as sagas:
        await sagas.run(guide.journey, ("hat", "map"), id="j1")
        guide.depot.log.clear()
        assert await sagas.fork("j1", from_step="main/depot.take#2", as_id="j2") is True
        assert await sagas.fork("j1", from_step="main/depot.take#2", as_id="j2") is False
        assert await sagas.result("j2") == ["1 hat", "1 map"]
        assert guide.depot.log == ["take map"]
        assert [each.id for each in await sagas.list(method="journey", older_than_s=0.0)] == ["j2", "j1"]
        await asyncio.sleep(0.01)
        assert await sagas.sweep() == 2


async def test_a_queue_lets_one_of_a_key_run_in_order(postgres_url: str) -> None:
    guide = Guide(Depot())
    async with Database(postgres_url) as db, Sagas(db, owner=guide) as sagas:

        async def first(tx: Transaction) -> None:
            for what in ("a1", "a2", "b1"):
                await sagas.start(tx, guide.lined, what, id=what, key=what[0])

        async def then(tx: Transaction) -> None:
            await sagas.start(tx, guide.lined, "c1", id="c1", key="c", priority=-1)
            await sagas.start(tx, guide.lined, "a0", id="a0", key="a", delay_s=0.5)

        await db.run(first)
        await db.run(then)
        for what in ("a1", "a2", "b1", "c1", "a0"):
            assert await sagas.result(what) == what
        assert sorted(guide.log[:2]) == ["a1", "b1"]  # at once: either may come first to the server
        assert guide.log[-1] == "a0"
        assert guide.log.index("a2") > guide.log.index("a1")
        await asyncio.gather(*(sagas.run(guide.lined, f"d{n}", key="d") for n in range(8)))
