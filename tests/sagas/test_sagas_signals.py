"""Signals: what is said to a saga from outside reaches it once and in order, or the sender hears why not."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from saga_cast import Depot, Traveller, opened

from archstone import world
from archstone.data import Database
from archstone.data.errors import MisuseError
from archstone.resilience import OverloadedError, Retry
from archstone.sagas import (
    SagaCancelledError,
    SagaEndedError,
    Sagas,
    SagaSettings,
    SagaStuckError,
    SagaUnknownError,
    SignalExistsError,
    SignalLateError,
    StepCodecError,
    saga,
)


@dataclass(frozen=True)
class Payment:
    amount: int
    by: str = "card"


class Seller(Traveller):
    @saga()
    async def sale(self) -> int:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        payment = await self.step.receive("paid", Payment)
        await self.step(self.depot.take, f"receipt over {payment.amount}")
        return payment.amount

    @saga()
    async def patient(self, seconds: float) -> int:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        return (await self.step.receive("paid", Payment, timeout_s=seconds)).amount

    @saga()
    async def reminding(self) -> str:
        try:
            await self.step.receive("paid", Payment, timeout_s=100)
        except SignalLateError:
            await self.step(self.depot.take, "reminder")
            await self.step.receive("paid", Payment)
            return "paid late"
        return "paid"

    @saga()
    async def counting(self, count: int) -> list[int]:
        return [await self.step.receive("number", int) for _ in range(count)]

    @saga()
    async def both(self) -> list[int]:
        async def one(branch: str) -> int:
            number = await self.step.branch(branch).receive("number", int)
            await self.step.branch(branch)(self.depot.take, f"{branch} {number}")
            return number

        return list(await asyncio.gather(one("left"), one("right")))

    @saga()
    async def racing(self) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.step.branch("pay").receive("paid", Payment, timeout_s=10))
            group.create_task(self.step.branch("take")(self.depot.take, "rope", undo=(self.depot.put_back, "rope")))
        return "both"


@pytest.fixture
def seller() -> Seller:
    return Seller(Depot())


async def started(sagas: Sagas, method, *args: object, id: str = "s1") -> None:
    async with sagas._db.transaction() as tx:
        await sagas.start(tx, method, *args, id=id)
    await asyncio.sleep(1)


async def test_a_saga_waits_for_a_signal_and_goes_on_with_its_value(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.sale)
        seen = await sagas.inspect("s1")
        assert [(step.id, step.operation, step.state) for step in seen.steps] == [
            ("main/depot.take#1", "depot.take", "done"),
            ("main/signal.paid#1", "signal", "begun"),
        ]
        assert await sagas.signal("s1", "paid", Payment(5)) is True
        assert await sagas.result("s1") == 5
        assert (await sagas.inspect("s1")).steps[1].answer == '{"amount":5,"by":"card"}'
    assert seller.depot.log == ["take hat", "take receipt over 5"]


async def test_what_comes_before_the_saga_asks_is_kept_in_order(tmp_path: Path, seller: Seller) -> None:
    gate = seller.depot.hold("take hat")
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.sale)
        await sagas.signal("s1", "paid", Payment(1))
        await sagas.signal("s1", "paid", Payment(2))
        await sagas.signal("s1", "other", Payment(3))
        gate.set()
        assert await sagas.result("s1") == 1


async def test_signals_of_a_name_are_received_in_the_order_of_sending_each_once(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.counting, 5)
        for number in range(3):
            await sagas.signal("s1", "number", number)
    async with opened(tmp_path, seller) as sagas:
        for number in (3, 4):
            await sagas.signal("s1", "number", number)
        assert await sagas.result("s1") == [0, 1, 2, 3, 4]


async def test_a_key_is_sent_once_also_after_it_was_received_and_after_the_end(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.counting, 2)
        assert await sagas.signal("s1", "number", 1, key="a") is True
        await asyncio.sleep(1)
        assert await sagas.signal("s1", "number", 1, key="a") is False
        with pytest.raises(SignalExistsError, match="signal 'number' with key 'a' and another value"):
            await sagas.signal("s1", "number", 2, key="a")
        assert await sagas.signal("s1", "number", 2, key="b") is True
        assert await sagas.result("s1") == [1, 2]
        assert await sagas.signal("s1", "number", 2, key="b") is False


async def test_a_signal_is_sent_if_and_only_if_its_transaction_commits(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.counting, 1)
        with pytest.raises(ZeroDivisionError):
            async with sagas._db.transaction() as tx:
                await sagas.signal("s1", "number", 1, tx=tx)
                raise ZeroDivisionError
        await asyncio.sleep(1)
        assert (await sagas.inspect("s1")).steps[0].state == "begun"
        async with sagas._db.transaction() as tx:
            await sagas.signal("s1", "number", 2, tx=tx)
            with pytest.raises(MisuseError):
                await sagas.signal("s1", "number", 3)
        assert await sagas.result("s1") == [2]


async def test_a_saga_can_be_signalled_in_the_transaction_that_starts_it(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, seller.counting, 1, id="s1")
            await sagas.signal("s1", "number", 7, tx=tx)
        assert await sagas.result("s1") == [7]


async def test_two_branches_take_two_signals(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.both)
        async with sagas._db.transaction() as tx:
            for number in (1, 2):
                await sagas.signal("s1", "number", number, tx=tx)
        assert sorted(await sagas.result("s1")) == [1, 2]


async def test_a_late_signal_undoes_what_the_saga_began(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.patient, 60.0)
        with pytest.raises(SignalLateError, match=r"step main/signal.paid#1: the signal did not come within 60 s"):
            await sagas.result("s1")
        seen = await sagas.inspect("s1")
    assert (seen.status, [step.state for step in seen.steps]) == ("failed", ["undone", "failed"])
    assert seller.depot.log == ["take hat", "put back hat"]
    async with opened(tmp_path, seller) as sagas:
        with pytest.raises(SignalLateError):
            await sagas.result("s1")


async def test_the_time_of_a_wait_runs_on_while_nothing_runs(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.patient, 60.0)
    await asyncio.sleep(100)
    async with opened(tmp_path, seller) as sagas:
        begun_s = world.monotonic()
        with pytest.raises(SignalLateError):
            await sagas.result("s1")
        assert world.monotonic() - begun_s < 1


async def test_what_had_come_in_time_counts_although_it_is_seen_later(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.patient, 60.0)
    async with Database(f"sqlite:///{tmp_path / 'sagas.db'}") as db:
        closed = Sagas(db, owner=seller, name="trip")
        await closed.signal("s1", "paid", Payment(9))
    await asyncio.sleep(100)
    async with opened(tmp_path, seller) as sagas:
        assert await sagas.result("s1") == 9


async def test_a_body_that_catches_the_late_signal_goes_on_also_after_a_restart(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.reminding)
        await asyncio.sleep(200)
        assert seller.depot.log == ["take reminder"]
    async with opened(tmp_path, seller) as sagas:
        await sagas.signal("s1", "paid", Payment(1))
        assert await sagas.result("s1") == "paid late"
    assert seller.depot.log == ["take reminder"]


async def test_a_late_signal_in_a_group_of_tasks_undoes_what_the_others_did(tmp_path: Path, seller: Seller) -> None:
    gate = seller.depot.hold("take rope")
    async with opened(tmp_path, seller, settings=SagaSettings(timeout_s=1000)) as sagas:
        await started(sagas, seller.racing)
        await asyncio.sleep(20)
        assert seller.depot.log == ["take rope"], "what is in flight ends before anything is undone"
        gate.set()
        with pytest.raises(SignalLateError):
            await sagas.result("s1")
    assert seller.depot.log == ["take rope", "put back rope"]


async def test_the_unknown_and_the_ended_are_told_apart(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        with pytest.raises(SagaUnknownError, match="no saga 's1'"):
            await sagas.signal("s1", "paid", Payment(1))
        await started(sagas, seller.counting, 0)
        with pytest.raises(SagaEndedError, match="saga 's1' has ended: it is done"):
            await sagas.signal("s1", "number", 1)


async def test_too_many_that_nobody_takes_are_refused(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller, settings=SagaSettings(max_signals=3)) as sagas:
        await started(sagas, seller.sale)
        for number in range(3):
            await sagas.signal("s1", "other", number)
        with pytest.raises(OverloadedError, match=r"saga s1.*unread signals 3 against a limit of 3"):
            await sagas.signal("s1", "paid", Payment(1))
        await started(sagas, seller.counting, 10, id="s2")
        for number in range(10):
            await sagas.signal("s2", "number", number)
            await asyncio.sleep(1)
        assert await sagas.result("s2") == list(range(10)), "what is taken does not count"


async def test_a_value_that_does_not_fit_makes_the_saga_stuck_and_is_not_lost(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller, settings=SagaSettings(body_retry=Retry(1))) as sagas:
        await started(sagas, seller.counting, 1)
        with pytest.raises(StepCodecError, match="signal number: its value has no JSON form"):
            await sagas.signal("s1", "number", object())
        await sagas.signal("s1", "number", "many")
        with pytest.raises(SagaStuckError, match=r"main/signal.number#1: the value does not fit its annotations"):
            await sagas.result("s1")

        class Lenient(Seller):
            @saga()
            async def counting(self, count: int) -> list[str]:
                return [await self.step.receive("number", str) for _ in range(count)]

    async with opened(tmp_path, Lenient(seller.depot)) as sagas:
        await sagas.resume("s1")
        assert await sagas.result("s1") == ["many"]


async def test_a_saga_that_waits_for_a_signal_is_cancelled(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller) as sagas:
        await started(sagas, seller.sale)
        await sagas.cancel("s1", by="ann")
        with pytest.raises(SagaCancelledError):
            await sagas.result("s1")
    assert seller.depot.log == ["take hat", "put back hat"]


async def test_those_that_wait_hold_no_place(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller, settings=SagaSettings(max_running=1)) as sagas:
        for n in range(5):
            await started(sagas, seller.sale, id=f"s{n}")
        assert await sagas.run(seller.journey, ("map",), id="j") == ["1 map"]
        for n in range(5):
            await sagas.signal(f"s{n}", "paid", Payment(n))
            assert await sagas.result(f"s{n}") == n


SMALL = SagaSettings(max_running=2, max_sleeping=1)


async def test_those_that_find_no_room_to_wait_in_memory_sleep_on_disk(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller, settings=SMALL) as sagas:
        for n in range(6):
            await started(sagas, seller.sale, id=f"s{n}")
        counted = sagas.statistics()
        assert (counted.running, counted.waiting) == (1, 0)
        assert {each.status for each in await sagas.list("running")} == {"running"}
        for n in (5, 0, 3):
            await sagas.signal(f"s{n}", "paid", Payment(n))
            assert await sagas.result(f"s{n}") == n
    async with opened(tmp_path, seller, settings=SMALL) as sagas:
        await sagas.cancel("s1", by="ann")
        with pytest.raises(SagaCancelledError):
            await sagas.result("s1")
        for n in (4, 2):
            await sagas.signal(f"s{n}", "paid", Payment(n))
            assert await sagas.result(f"s{n}") == n
        counted = sagas.statistics()
        assert (counted.running, counted.waiting, counted.finished, counted.failed) == (0, 0, 2, 1)


async def test_those_on_disk_wake_when_their_time_is_up_also_after_a_restart(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller, settings=SMALL) as sagas:
        for n in range(5):
            await started(sagas, seller.patient, 100.0 + n, id=f"s{n}")
        begun_s = world.monotonic()
        for n in range(3):
            with pytest.raises(SignalLateError):
                await sagas.result(f"s{n}")
        assert world.monotonic() - begun_s == pytest.approx(100, abs=5)
        await started(sagas, seller.patient, 2000.0, id="long")
    await asyncio.sleep(100)
    async with opened(tmp_path, seller, settings=SMALL) as sagas:
        for n in (3, 4):
            with pytest.raises(SignalLateError):
                await sagas.result(f"s{n}")
        with pytest.raises(SignalLateError):
            await sagas.result("long")


async def test_a_signal_that_comes_while_its_saga_is_laid_to_sleep_is_not_lost(tmp_path: Path, seller: Seller) -> None:
    async with opened(tmp_path, seller, settings=SagaSettings(max_running=50, max_sleeping=0)) as sagas:
        for n in range(40):
            async with sagas._db.transaction() as tx:
                await sagas.start(tx, seller.sale, id=f"s{n}")
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.0)
        for n in range(40):
            await sagas.signal(f"s{n}", "paid", Payment(n))
        assert [await sagas.result(f"s{n}") for n in range(40)] == list(range(40))


@pytest.mark.parametrize("bad", ["", "a b", "x" * 101])
async def test_a_name_must_be_one(tmp_path: Path, seller: Seller, bad: str) -> None:
    class Naming(Seller):
        @saga()
        async def named(self) -> int:
            return await self.step.receive(bad, int)

    owner = Naming(seller.depot)
    async with opened(tmp_path, owner, settings=SagaSettings(body_retry=Retry(1))) as sagas:
        with pytest.raises(SagaStuckError, match="must be 1 to 100 letters"):
            await sagas.run(owner.named, id="s1")
