"""Sagas in a queue: how many run of each key and in all, who is next, how fast, and when."""

import asyncio
import re
from pathlib import Path

import pytest
from saga_cast import Depot, Traveller, opened

from archstone import world
from archstone.data import Database
from archstone.resilience import OverloadedError, SettingsError
from archstone.sagas import (
    Queue,
    SagaCancelledError,
    Sagas,
    SagaSettings,
    SagaStuckError,
    StepCodecError,
    queue_rows,
    saga,
)

ONE_EACH = Queue("each", per_key=1)
THREE = Queue("three", max_running=3)
SLOW = Queue("slow", starts_per_s=2)
BOTH = Queue("both", per_key=1, max_running=2, max_waiting=3)
PLAIN = Queue("plain", max_running=1)


class Clerk(Traveller):
    """Works for ten seconds at each thing, and says when it begins and ends."""

    def __init__(self, depot: Depot) -> None:
        super().__init__(depot)
        self.log: list[str] = []
        self.begun_s: dict[str, float] = {}
        self.now: set[str] = set()
        self.most = 0

    async def work(self, what: str) -> None:
        self.log.append(what)
        self.begun_s[what] = world.monotonic()
        self.now.add(what)
        self.most = max(self.most, len(self.now))
        await asyncio.sleep(10)
        self.now.discard(what)

    @saga(queue=ONE_EACH)
    async def each(self, what: str) -> str:
        await self.step(self.work, what, timeout_s=60)
        return what

    @saga(queue=THREE)
    async def three(self, what: str) -> str:
        await self.step(self.work, what, timeout_s=60)
        return what

    @saga(queue=SLOW)
    async def slow(self, what: str) -> str:
        await self.step(self.work, what, timeout_s=60)
        return what

    @saga(queue=BOTH)
    async def both(self, what: str) -> str:
        await self.step(self.work, what, timeout_s=60)
        return what

    @saga(queue=PLAIN)
    async def one(self, what: str) -> str:
        await self.step(self.work, what, timeout_s=60)
        return what

    @saga(queue=PLAIN)
    async def parent(self, what: str) -> str:
        return await self.step.child(self.one, what)

    @saga()
    async def free(self, what: str) -> str:
        await self.step(self.work, what, timeout_s=60)
        return what

    @saga(queue=ONE_EACH)
    async def broken(self, what: str) -> None:
        self.log.append(what)
        raise ZeroDivisionError


@pytest.fixture
def clerk() -> Clerk:
    return Clerk(Depot())


async def start(sagas: Sagas, method, *sagas_of: str, **options: object) -> None:
    """Start sagas; the key of `a1` is `a`."""
    async with sagas._db.transaction() as tx:
        for what in sagas_of:
            await sagas.start(tx, method, what, id=what, **{"key": what[0], **options})


async def test_one_of_a_key_runs_at_a_time_in_order_and_other_keys_do_not_wait(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.each, "a1", "a2", "a3", "b1", "c1")
        await asyncio.sleep(1)
        assert clerk.log == ["a1", "b1", "c1"]
        assert [(each.id, each.status, each.queue, each.key) for each in await sagas.list("queued")] == [
            ("a3", "queued", "each", "a"),
            ("a2", "queued", "each", "a"),
        ]
        assert await sagas.result("a3") == "a3"
        assert clerk.log == ["a1", "b1", "c1", "a2", "a3"]
        assert clerk.begun_s["a3"] - clerk.begun_s["a1"] == pytest.approx(20, abs=0.5)


async def test_without_a_key_no_limit_of_a_key_holds(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.each, "a1", "a2", key=None)
        await asyncio.sleep(1)
        assert clerk.log == ["a1", "a2"]


async def test_so_many_run_as_the_queue_lets_and_not_one_less(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.three, *[f"a{n}" for n in range(10)])
        begun_s = world.monotonic()
        for n in range(10):
            await sagas.result(f"a{n}")
        assert clerk.most == 3
        assert clerk.log == [f"a{n}" for n in range(10)]
        assert world.monotonic() - begun_s == pytest.approx(40, abs=1)


async def test_keys_take_turns_however_many_sagas_one_has(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.three, *[f"a{n}" for n in range(50)])
        await asyncio.sleep(15)
        await start(sagas, clerk.three, "b0", "b1", "c0")
        await sagas.result("b1")
        later = clerk.log[6:]
        assert later[:3] == ["a6", "b0", "c0"]
        assert later.index("b1") < 6
        assert len(clerk.log) < 15


async def test_a_key_that_is_blocked_for_long_gives_no_start_to_others_who_come_later(
    tmp_path: Path, clerk: Clerk
) -> None:
    """The turn of a key does not lag behind while it waits: one that came later is not served many times before it."""
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.both, *[f"a{n}" for n in range(4)])
        await start(sagas, clerk.both, *[f"b{n}" for n in range(4)])
        await start(sagas, clerk.both, *[f"c{n}" for n in range(4)])
        for name in ("a3", "b3", "c3"):
            await sagas.result(name)
        assert clerk.most == 2
        place = {what: clerk.log.index(what) for what in clerk.log}
        for n in range(4):
            assert all(place[f"{key}{n}"] in range(3 * n - 2, 3 * n + 5) for key in "abc"), clerk.log


async def test_the_highest_priority_comes_first(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.one, "a1")
        await asyncio.sleep(1)
        await start(sagas, clerk.one, "a2", priority=0)
        await start(sagas, clerk.one, "a3", priority=5)
        await start(sagas, clerk.one, "a4", priority=-5)
        await start(sagas, clerk.one, "a5", priority=5)
        await sagas.result("a4")
        assert clerk.log == ["a1", "a3", "a5", "a2", "a4"]
        assert (await sagas.inspect("a3")).priority == 5


async def test_so_many_begin_in_a_second_as_the_queue_lets(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.slow, *[f"a{n}" for n in range(9)])
        await sagas.result("a8")
        times = [clerk.begun_s[f"a{n}"] - clerk.begun_s["a0"] for n in range(9)]
        assert times == pytest.approx([n / 2 for n in range(9)], abs=0.11)
        await asyncio.sleep(100)
        await start(sagas, clerk.slow, "b0", "b1", "b2")
        await sagas.result("b2")
        assert clerk.begun_s["b2"] - clerk.begun_s["b0"] == pytest.approx(1, abs=0.11), "what was not used is gone"


async def test_one_does_not_begin_before_its_time_also_after_a_restart(tmp_path: Path, clerk: Clerk) -> None:
    begun_s = world.monotonic()
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.each, "a1", delay_s=100)
        await start(sagas, clerk.free, "f1", delay_s=50, key=None)
        await start(sagas, clerk.free, "f2", delay_s=20, key=None)
        seen = await sagas.inspect("a1")
        assert (seen.status, seen.due_at is not None, clerk.log) == ("queued", True, [])
        await sagas.result("f2")
        assert clerk.begun_s["f2"] - begun_s == pytest.approx(20, abs=1)
    await asyncio.sleep(40)
    async with opened(tmp_path, clerk) as sagas:
        await asyncio.sleep(0.1)
        assert clerk.log == ["f2", "f1"], "its time came while nothing ran"
        await sagas.result("a1")
        assert clerk.begun_s["a1"] - begun_s == pytest.approx(100, abs=1)
        assert (await sagas.inspect("a1")).due_at is None


async def test_one_that_is_delayed_joins_when_it_is_due_and_not_before_those_that_wait(
    tmp_path: Path, clerk: Clerk
) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.each, "a1", delay_s=5)
        await start(sagas, clerk.each, "a2", "a3")
        await sagas.result("a1")
        assert clerk.log == ["a2", "a3", "a1"]


async def test_what_waits_and_what_runs_is_as_before_after_a_restart(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.both, "a1", "a2", "b1", "b2")
        await asyncio.sleep(1)
        assert clerk.log == ["a1", "b1"]
        await start(sagas, clerk.both, "a3", delay_s=1000)
    clerk.log.clear()
    clerk.now.clear()
    async with opened(tmp_path, clerk) as sagas:
        await asyncio.sleep(1)
        assert sorted(clerk.log) == ["a1", "b1"], "those that had begun, and nobody else"
        assert sagas.statistics().queued == 2
        for name in ("a2", "b2"):
            await sagas.result(name)
        assert clerk.most == 2


async def test_a_stuck_saga_keeps_the_turn_of_its_key_and_no_other(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk, settings=SagaSettings()) as sagas:
        await start(sagas, clerk.broken, "a1")
        with pytest.raises(SagaStuckError):
            await sagas.result("a1")
        await start(sagas, clerk.each, "a2", "b1")
        assert await sagas.result("b1") == "b1"
        assert (await sagas.inspect("a2")).status == "queued"
        await sagas.cancel("a1", by="ann")
        assert await sagas.result("a2") == "a2"


async def test_one_in_the_queue_is_cancelled_and_never_begins(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.each, "a1", "a2", "a3")
        await start(sagas, clerk.each, "a4", delay_s=1000)
        await asyncio.sleep(1)
        for name in ("a2", "a4"):
            await sagas.cancel(name, by="ann")
            with pytest.raises(SagaCancelledError):
                await sagas.result(name)
        assert sagas.statistics().queued == 1
        await sagas.result("a3")
        assert clerk.log == ["a1", "a3"]
        assert sagas.statistics().queued == 0


async def test_who_waits_for_the_answer_waits_in_the_queue_too(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        answers = await asyncio.gather(*(sagas.run(clerk.each, f"a{n}", key="a") for n in range(3)))
        assert answers == ["a0", "a1", "a2"]
        assert clerk.most == 1


async def test_a_saga_that_is_a_step_does_not_wait_in_the_queue_of_its_parent(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.parent, "p1", "p2")
        assert await sagas.result("p2") == "p2"


async def test_a_queue_that_is_full_is_told_at_the_door_and_does_not_fill_others(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.both, *[f"a{n}" for n in range(4)])
        await asyncio.sleep(1)
        with pytest.raises(OverloadedError, match=r"queue both of trip.*waiting 3 against a limit of 3"):
            sagas.check_room(clerk.both)
        sagas.check_room(clerk.each)
        sagas.check_room()
        assert (sagas.statistics().waiting, sagas.statistics().queued) == (0, 3)
        await sagas.result("a0")
        await asyncio.sleep(1)
        sagas.check_room(clerk.both)


async def test_queues_and_plain_sagas_take_turns_at_the_places(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk, settings=SagaSettings(max_running=1)) as sagas:
        async with sagas._db.transaction() as tx:
            for n in range(6):
                await sagas.start(tx, clerk.free, f"f{n}", id=f"f{n}")
        await start(sagas, clerk.each, "a1", "b1", "c1")
        for name in ("f5", "c1"):
            await sagas.result(name)
        assert clerk.log == ["f0", "a1", "f1", "b1", "f2", "c1", "f3", "f4", "f5"]


async def test_many_in_a_queue_cost_no_memory(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.each, *[f"a{n}" for n in range(500)])
        await asyncio.sleep(1)
        runner = sagas._runner
        assert (len(runner._awake), len(runner.backlog), len(clerk.log)) == (1, 0, 1)


async def test_what_its_code_has_no_queue_for_any_more_still_runs(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        await start(sagas, clerk.each, "a1", "a2", "a3")
        await asyncio.sleep(1)

    class Free(Clerk):
        @saga()
        async def each(self, what: str) -> str:
            await self.step(self.work, what, timeout_s=60)
            return what

    owner = Free(clerk.depot)
    async with opened(tmp_path, owner) as sagas:
        for name in ("a1", "a2", "a3"):
            assert await sagas.result(name) == name


async def test_wishes_that_cannot_be_are_refused(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas, sagas._db.transaction() as tx:
        for options, fault in [
            ({"key": "a"}, "free: has no queue for a key or a priority"),
            ({"priority": 1}, "free: has no queue for a key or a priority"),
            ({"delay_s": -1.0}, "delay_s=-1.0 must be at least 0"),
            ({"delay_s": float("nan")}, "delay_s=nan must be"),
        ]:
            with pytest.raises(StepCodecError, match=fault):
                await sagas.start(tx, clerk.free, "x", id="x", **options)
        with pytest.raises(StepCodecError, match="key='' must have 1 to 200 characters"):
            await sagas.start(tx, clerk.each, "x", id="x", key="")

    class Two(Clerk):
        @saga(queue=Queue("each", per_key=2))
        async def other(self) -> None: ...

    with pytest.raises(StepCodecError, match="queue each: has other limits in another function; share one value"):
        Sagas(Database("sqlite:///none.db"), owner=Two(Depot()))


def test_a_queue_that_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError) as refused:
        Queue("", per_key=0, max_running=0, starts_per_s=0, max_waiting=0)
    for field in ("name", "per_key", "max_running", "starts_per_s", "max_waiting"):
        assert field in str(refused.value)


async def test_no_statement_about_a_queue_looks_at_all_that_is_in_it(tmp_path: Path, clerk: Clerk) -> None:
    async with opened(tmp_path, clerk) as sagas:
        for name in ("_FRONT", "_LAST", "_BUSY", "_RUNNING", "_NEXT_OF_KEY", "_NEXT"):
            sql = getattr(queue_rows, name)
            params = {word: 1 if word in {"priority", "limit"} else "a" for word in re.findall(r":(\w+)", sql)}
            plan = await sagas._db.all(tuple[int, int, int, str], f"EXPLAIN QUERY PLAN {sql}", **params)
            assert [line.startswith("SEARCH") and "USING" in line for *_, line in plan] == [True], (name, plan)
