"""Several workers on one PostgreSQL: each saga is one's at a time, a dead one's go on elsewhere, none writes late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from saga_cast import Depot, NoneLeft, Traveller

from archstone.data import Database, Transaction
from archstone.errors import ConfigError
from archstone.resilience import Retry
from archstone.sagas import (
    Queue,
    SagaCancelledError,
    SagaNotCancellableError,
    Sagas,
    SagaSettings,
    SagaStuckError,
    current_step,
    saga,
)

pytestmark = pytest.mark.real_time

CALM = SagaSettings(lease_s=5.0)
"""Nobody is taken for dead in a test, however busy the machine."""
QUICK = SagaSettings(lease_s=0.5)
ONE = SagaSettings(lease_s=5.0, max_running=1)
LINE = Queue("line", max_running=2)


class Worker(Traveller):
    """One process's: the depots of all of a test write one log."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__(Depot())
        self.name = name
        self.log = log
        self.at_work = self.most = 0

    @saga()
    async def told(self) -> str:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        word = await self.step.receive("word", str)
        await self.step(self.note, word)
        return word

    @saga(queue=LINE)
    async def lined(self, what: str) -> str:
        await current_step()(self.note, what)
        return what

    @saga()
    async def lined_free(self, what: str) -> None:
        await current_step()(self.slow, what)

    async def slow(self, what: str) -> None:
        self.log.append(f"{self.name} {what}")
        await asyncio.sleep(0.3)

    @saga()
    async def bag(self) -> str:
        return await self.step.receive("packed", str)

    @saga()
    async def trip(self, child: str) -> str:
        return await self.step.child(self.bag, id=child)

    async def note(self, what: str) -> None:
        self.log.append(f"{self.name} {what}")
        await asyncio.sleep(0.02)


class Team:
    """Workers with a connection pool each, as processes would have."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack
        self.log: list[str] = []

    async def hire(self, name: str, settings: SagaSettings = CALM, *, opened: bool = True) -> "tuple[Worker, Sagas]":
        db = await self._stack.enter_async_context(Database(self._url))
        worker = Worker(name, self.log)
        sagas = Sagas(db, owner=worker, settings=settings)
        if opened:
            await self._stack.enter_async_context(sagas)
        else:
            await sagas.prepare()
        return worker, sagas


@pytest.fixture
async def team(postgres_url: str) -> AsyncIterator[Team]:
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        yield Team(postgres_url, stack)


async def start(sagas: Sagas, method, *args, id: str) -> None:
    async def work(tx: Transaction) -> None:
        await sagas.start(tx, method, *args, id=id)

    await sagas._db.run(work)


async def worker_of(sagas: Sagas, saga: str) -> int:
    return (await sagas._table.get(saga)).worker


async def until(condition) -> None:
    while not await condition():
        await asyncio.sleep(0.01)


def stall(sagas: Sagas) -> None:
    """Let a worker give no sign of life any more, as a process that was stopped."""
    for task in (sagas._runner.team._pulse, sagas._runner.team._member):
        assert task is not None
        task.cancel()


async def test_what_a_process_starts_that_runs_none_is_run_by_another(team: Team) -> None:
    ann, outside = await team.hire("ann", opened=False)
    await start(outside, ann.journey, ("hat",), id="j")
    assert await worker_of(outside, "j") == 0
    ben, inside = await team.hire("ben")
    assert await inside.result("j") == ["1 hat"]
    await start(outside, ann.journey, ("map",), id="k")
    assert await inside.result("k") == ["1 map"]
    assert ben.depot.log == ["take hat", "take map"]


async def test_what_is_run_at_once_after_opening_is_run_once(team: Team) -> None:
    ann, at_ann = await team.hire("ann")
    assert await asyncio.gather(*(at_ann.run(ann.journey, ("hat",)) for _ in range(20))) == [["1 hat"]] * 20
    assert at_ann.statistics().started == 20


async def test_who_waits_elsewhere_is_told_of_every_end(team: Team) -> None:
    ann, at_ann = await team.hire("ann")
    _, at_ben = await team.hire("ben")
    gate = ann.depot.hold("take hat")
    ann.depot.fail("take tent", NoneLeft("tent", 1))
    for name, things in (("done", ("hat",)), ("failed", ("hat", "tent"))):
        await start(at_ann, ann.journey, things, id=name)
    async with asyncio.TaskGroup() as group:
        done = group.create_task(at_ben.result("done"))
        failed = group.create_task(refused(at_ben, "failed"))
        await asyncio.sleep(0.05)
        gate.set()
    assert done.result() == ["1 hat"]
    assert isinstance(failed.result(), NoneLeft)


async def refused(sagas: Sagas, saga: str) -> Exception:
    with pytest.raises(Exception) as raised:
        await sagas.result(saga)
    return raised.value


async def test_a_dead_workers_sagas_go_on_elsewhere_and_it_writes_nothing_late(team: Team) -> None:
    ann, at_ann = await team.hire("ann", QUICK)
    ben, at_ben = await team.hire("ben", QUICK)
    gate = ann.depot.hold("take map")
    await start(at_ann, ann.journey, ("hat", "map", "tent"), id="j")
    await until(lambda: called(ann, "take map"))
    stall(at_ann)
    assert await at_ben.result("j") == ["1 hat", "1 map", "1 tent"]
    assert ben.depot.log == ["take map", "take tent"]
    before = await at_ben.inspect("j")
    assert at_ben.statistics().taken_over == 1
    gate.set()
    await until(lambda: gone(at_ann, "j"))
    assert ann.depot.log == ["take hat", "take map"]
    assert ann.depot.calls[-1].key == ben.depot.calls[0].key
    assert await at_ben.inspect("j") == before
    assert await at_ann.result("j") == ["1 hat", "1 map", "1 tent"]


async def called(worker: Worker, act: str) -> bool:
    return act in worker.depot.log


async def gone(sagas: Sagas, saga: str) -> bool:
    return not sagas._runner.awake(saga)


async def test_who_seemed_dead_goes_on_under_a_new_number(team: Team) -> None:
    ann, at_ann = await team.hire("ann", QUICK)
    _, at_ben = await team.hire("ben", QUICK)
    old = at_ann._table.worker
    gate = ann.depot.hold("take hat")
    await start(at_ann, ann.journey, ("hat",), id="j")
    await until(lambda: called(ann, "take hat"))
    stall(at_ann)
    assert await at_ben.result("j") == ["1 hat"]
    # What it starts before it knows is nobody's soon.
    await start(at_ann, ann.journey, ("map",), id="k")
    assert await at_ann.result("k") == ["1 map"]
    at_ann._runner.team._pulse = asyncio.create_task(at_ann._runner.team._beat())
    at_ann._runner.team._member = asyncio.create_task(at_ann._runner.team._work())
    await until(lambda: working(at_ann, but=old))
    gate.set()
    await at_ben.close()
    await start(at_ann, ann.journey, ("tent",), id="l")
    assert await at_ann.result("l") == ["1 tent"]
    assert "take tent" in ann.depot.log


async def working(sagas: Sagas, *, but: int) -> bool:
    return sagas._table.worker not in {0, but}


async def test_who_closes_hands_over_at_once(team: Team) -> None:
    ann, at_ann = await team.hire("ann", CALM)
    ben, at_ben = await team.hire("ben", CALM)
    ann.depot.hold("take map")
    await start(at_ann, ann.journey, ("hat", "map"), id="j")
    await until(lambda: called(ann, "take map"))
    await at_ann.close()
    assert await at_ben.result("j") == ["1 hat", "1 map"]
    assert ben.depot.log == ["take map"]


async def test_signals_and_children_reach_whoever_has_the_saga(team: Team) -> None:
    ann, at_ann = await team.hire("ann", CALM)
    _, at_ben = await team.hire("ben", CALM)
    await start(at_ann, ann.told, id="t")
    await start(at_ann, ann.trip, "b", id="p")
    await until(lambda: steps(at_ben, "t", 2))
    await until(lambda: steps(at_ben, "b", 1))
    await at_ben.signal("t", "word", "go")
    await at_ben.signal("b", "packed", "full")
    assert [await at_ben.result(each) for each in ("t", "p")] == ["go", "full"]
    assert team.log == ["ann go"]


async def test_the_end_of_a_child_elsewhere_wakes_its_parent(team: Team) -> None:
    ann, at_ann = await team.hire("ann", CALM)
    _, at_ben = await team.hire("ben", CALM)
    await start(at_ann, ann.trip, "b", id="p")
    await until(lambda: steps(at_ben, "b", 1))
    # The child goes to the other, as when it had found no place.
    await at_ann._runner.stop(at_ann._runner._awake["b"])
    await at_ann._db.execute("UPDATE _archstone_sagas SET worker = 0 WHERE id = 'b'")
    at_ben._runner.look()
    await until(lambda: had_by(at_ben, "b"))
    await at_ann.signal("b", "packed", "full")
    assert await at_ann.result("p") == "full"


async def had_by(sagas: Sagas, saga: str) -> bool:
    return await worker_of(sagas, saga) == sagas._table.worker and sagas._runner.awake(saga)


async def steps(sagas: Sagas, saga: str, count: int) -> bool:
    rows = await sagas.list()
    return any(row.id == saga for row in rows) and len((await sagas.inspect(saga)).steps) >= count


async def test_a_saga_that_another_has_is_cancelled_there(team: Team) -> None:
    ann, at_ann = await team.hire("ann")
    _, at_ben = await team.hire("ben")
    await start(at_ann, ann.told, id="t")
    await until(lambda: steps(at_ben, "t", 2))
    await at_ben.cancel("t", by="eve")
    with pytest.raises(SagaCancelledError, match="eve"):
        await at_ben.result("t")
    assert ann.depot.log == ["take hat", "put back hat"]


async def test_a_saga_elsewhere_that_comes_to_no_step_is_not_cancelled(team: Team) -> None:
    ann, at_ann = await team.hire("ann", SagaSettings(timeout_s=30))
    _, at_ben = await team.hire("ben")
    gate = ann.depot.hold("take map")
    await start(at_ann, ann.journey, ("hat", "map"), id="j")
    await until(lambda: called(ann, "take map"))
    with pytest.raises(SagaNotCancellableError, match="no step within"):
        await at_ben.cancel("j", by="eve", limit_s=0.5)
    assert (await at_ben._table.get("j")).asked is None
    gate.set()
    assert await at_ben.result("j") == ["1 hat", "1 map"]


async def test_what_finds_no_place_is_run_by_who_has_one(team: Team) -> None:
    ann, at_ann = await team.hire("ann", ONE)
    ben, _ = await team.hire("ben", ONE)
    gates = [each.depot.hold("take hat") for each in (ann, ben)]
    for n in range(4):
        await start(at_ann, ann.journey, ("hat",), id=f"j{n}")
    await until(lambda: called(ben, "take hat"))
    for gate in gates:
        gate.set()
    assert [await at_ann.result(f"j{n}") for n in range(4)] == [["1 hat"]] * 4
    assert len(ann.depot.log) + len(ben.depot.log) == 4


async def test_a_queue_is_one_whoever_lets_out(team: Team) -> None:
    ann, at_ann = await team.hire("ann")
    await team.hire("ben")
    _, at_cat = await team.hire("cat")

    async def work(tx: Transaction) -> None:
        for n in range(12):
            await at_ann.start(tx, ann.lined, f"l{n}", id=f"l{n}")

    most = 0
    await at_ann._db.run(work)
    sql = "SELECT count(*) FROM _archstone_sagas WHERE queue IS NOT NULL AND status = 'running'"
    while await at_cat.list(status="queued"):
        most = max(most, await at_cat._db.one(int, sql))
        await asyncio.sleep(0.005)
    assert [await at_cat.result(f"l{n}") for n in range(12)] == [f"l{n}" for n in range(12)]
    assert 1 <= most <= 2
    assert len(team.log) == 12


async def test_a_stuck_saga_is_resumed_from_outside(team: Team) -> None:
    ann, at_ann = await team.hire("ann", SagaSettings(undo_retry=Retry(1)))
    _, outside = await team.hire("ben", opened=False)
    ann.depot.fail("take hat", NoneLeft("hat", 1))
    ann.depot.fail("put back hat", RuntimeError("jammed"))
    await start(at_ann, ann.told, id="t")
    with pytest.raises(SagaStuckError):
        await at_ann.result("t")
    assert await worker_of(at_ann, "t") == 0
    ann.depot.errors.clear()
    await outside.resume("t")
    with pytest.raises(NoneLeft):
        await at_ann.result("t")


async def test_a_buried_canceller_writes_nothing_into_its_successors_saga(team: Team) -> None:
    ann, at_ann = await team.hire("ann", SagaSettings(lease_s=0.5, timeout_s=30))
    ben, at_ben = await team.hire("ben", SagaSettings(lease_s=0.5, timeout_s=30))
    held = ann.depot.hold("take hat")
    gate = ben.depot.hold("take hat")
    await start(at_ann, ann.journey, ("hat", "map"), id="j")
    await until(lambda: called(ann, "take hat"))
    cancel = asyncio.create_task(at_ann.cancel("j", by="eve"))
    await asyncio.sleep(0.1)
    stall(at_ann)
    await until(lambda: called(ben, "take hat"))
    held.set()  # ann comes to a step of a saga that ben has
    await asyncio.sleep(0.2)
    assert (await at_ben._table.get("j")).worker == at_ben._table.worker
    assert len((await at_ben.inspect("j")).steps) == 1
    gate.set()
    await asyncio.gather(cancel, return_exceptions=True)
    assert "put back hat" not in ann.depot.log


async def test_a_saga_that_was_asked_for_in_vain_goes_on(team: Team) -> None:
    ann, at_ann = await team.hire("ann", SagaSettings(timeout_s=30, lease_s=1))
    _, at_ben = await team.hire("ben", SagaSettings(timeout_s=30, lease_s=1))
    gate = ann.depot.hold("take hat")
    await start(at_ann, ann.journey, ("hat", "map"), id="j")
    await until(lambda: called(ann, "take hat"))
    with pytest.raises(SagaNotCancellableError):
        await at_ben.cancel("j", by="eve", limit_s=1.0)
    gate.set()
    assert await at_ben.result("j") == ["1 hat", "1 map"]


async def test_a_queue_that_a_process_has_not_heard_of_is_served(team: Team) -> None:
    ann, outside = await team.hire("ann", opened=False)
    _, at_ben = await team.hire("ben", SagaSettings(lease_s=1))
    at_ben._runner.lines._lines.clear()  # as with functions of modules, or code that has no such queue any more

    async def work(tx: Transaction) -> None:
        await outside.start(tx, ann.lined, "l", id="l")

    await outside._db.run(work)
    assert await at_ben.result("l") == "l"


async def test_what_one_process_starts_in_bulk_is_shared(team: Team) -> None:
    few = SagaSettings(max_running=5, lease_s=1)
    ann, at_ann = await team.hire("ann", few)
    await team.hire("ben", few)

    async def work(tx: Transaction) -> None:
        for n in range(60):
            await at_ann.start(tx, ann.lined_free, f"{n}", id=f"f{n}")

    await at_ann._db.run(work)
    for n in range(60):
        await at_ann.result(f"f{n}")
    assert {line.split()[0] for line in team.log} == {"ann", "ben"}
    assert len(team.log) == 60


async def test_sagas_refuse_a_database_that_is_not_serializable(postgres_url: str) -> None:
    async with Database(f"{postgres_url}?isolation=read-committed") as db:
        with pytest.raises(ConfigError, match="need serializable"):
            await Sagas(db).prepare()
