"""Commands: once per key, to their end, whatever their caller and their neighbours do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract_cases import ANN, SKU, TABLE, Inventory, InventoryService, Line, OutOfStock, asked_by, dispatcher

from archstone import context, world
from archstone.context import Principal
from archstone.data import Database, TransactionLostError
from archstone.errors import DeadlineError, DomainError, RejectedError, RemoteError
from archstone.services import (
    CallInTransactionError,
    Contract,
    Dispatcher,
    InProcess,
    KeyMissingError,
    NoTransactionError,
    Service,
    StillRunningError,
    client,
    command,
    operations,
    options,
    query,
)
from archstone.services.keys import KEEP_S, sweep

__all__ = ["dispatcher"]

FILL = next(each for each in operations(Inventory) if each.name == "slow_fill")
RESERVE = next(each for each in operations(Inventory) if each.name == "reserve")


async def rows(db: Database) -> int:
    return await db.one(int, "SELECT count(*) FROM stock")


async def test_a_command_runs_on_when_its_caller_is_cancelled(dispatcher: Dispatcher) -> None:
    inventory = dispatcher.client(Inventory, as_=ANN)
    task = asyncio.create_task(inventory.slow_fill(SKU("tea"), 1.0))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await rows(dispatcher.service.db) == 0
    await asyncio.sleep(1.0)
    assert await rows(dispatcher.service.db) == 1


async def test_a_command_is_rolled_back_at_its_deadline(dispatcher: Dispatcher) -> None:
    inventory = dispatcher.client(Inventory, as_=ANN)
    with pytest.raises(DeadlineError):
        await options(inventory, timeout_s=0.5).slow_fill(SKU("tea"), 1.0)
    await asyncio.sleep(2.0)
    assert await rows(dispatcher.service.db) == 0


async def test_cancelling_the_caller_cancels_a_query(dispatcher: Dispatcher) -> None:
    task = asyncio.create_task(dispatcher.client(Inventory, as_=ANN).slow(1.0))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_draining_waits_for_commands_in_flight(dispatcher: Dispatcher) -> None:
    task = asyncio.create_task(dispatcher.client(Inventory, as_=ANN).slow_fill(SKU("tea"), 1.0))
    await asyncio.sleep(0.1)
    await dispatcher.drain()
    assert await rows(dispatcher.service.db) == 1
    assert await task == 1


async def test_a_repeat_while_the_first_runs_is_told_to_come_again(dispatcher: Dispatcher) -> None:
    inventory = options(dispatcher.client(Inventory, as_=ANN), key="k", retry=None)
    task = asyncio.create_task(inventory.slow_fill(SKU("tea"), 1.0))
    await asyncio.sleep(0.5)
    with pytest.raises(StillRunningError) as caught:
        await inventory.slow_fill(SKU("tea"), 1.0)
    assert caught.value.retry_after_s > 0
    assert await task == 1


async def test_a_public_command_without_a_key_is_refused(dispatcher: Dispatcher) -> None:
    with context.enter(asked_by(ANN)), pytest.raises(KeyMissingError):
        await dispatcher.call(RESERVE, {"lines": (), "marks": frozenset[str]()})


async def test_a_twin_in_another_process_wins_and_its_answer_is_given(dispatcher: Dispatcher) -> None:
    other = Dispatcher(dispatcher.service)  # does not know what the first one has in flight
    await other.open()
    with context.enter(asked_by(ANN, key="k")):
        twins = [each.client(Inventory).slow_fill(SKU("tea"), 0.5) for each in (dispatcher, other)]
        results = await asyncio.gather(*twins, return_exceptions=True)
    assert results.count(1) >= 1
    assert await rows(dispatcher.service.db) == 1


class Flaky(InventoryService):
    lost = 2

    async def fill(self, sku: SKU, free: int) -> None:
        await super().fill(sku, free)
        if self.lost:
            self.lost -= 1
            raise TransactionLostError("inventory.db", "its group was rolled back")


async def test_a_body_whose_transaction_is_lost_runs_again(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path}/x.db") as db:
        await db.execute(TABLE)
        async with Dispatcher(Flaky(db=db)) as flaky:
            root = flaky.client(Inventory, as_=Principal("root", frozenset({"admin"})))
            await root.fill(SKU("a"), 1)
            flaky.service.lost = 3
            await options(root, key="k").fill(SKU("a"), 1)
        assert await db.one(int, "SELECT free FROM stock") == 2


async def test_a_key_is_forgotten_after_its_time(dispatcher: Dispatcher) -> None:
    lines = (Line(sku=SKU("tea"), quantity=1),)
    reserve = options(dispatcher.client(Inventory, as_=ANN), key="k").reserve
    with pytest.raises(OutOfStock):
        await reserve(lines)
    assert (KEEP_S, await sweep(dispatcher.service.db, keep_s=60)) == (24 * 3600, 0)
    await asyncio.sleep(61)
    assert await sweep(dispatcher.service.db, keep_s=60) == 1
    assert await dispatcher.service.db.one(int, "SELECT count(*) FROM _archstone_keys") == 0


async def test_a_call_inside_a_transaction_is_refused(dispatcher: Dispatcher) -> None:
    inventory = dispatcher.client(Inventory, as_=ANN)
    async with dispatcher.service.db.transaction() as tx:
        await tx.one(int, "SELECT 1")
        with pytest.raises(CallInTransactionError, match=r"Inventory\.who"):
            await inventory.who()


async def test_a_call_before_the_first_statement_of_a_transaction_is_fine(dispatcher: Dispatcher) -> None:
    inventory = dispatcher.client(Inventory, as_=ANN)
    async with dispatcher.service.db.transaction():
        assert await inventory.who() == ANN.id


async def test_tx_outside_a_transaction_is_told(dispatcher: Dispatcher) -> None:
    service = dispatcher.service
    assert isinstance(service, InventoryService)
    with pytest.raises(NoTransactionError, match=r"a query reads self\.db"):
        await service.fill(SKU("tea"), 1)


class Refused(DomainError, code="tests.refused"):
    pass


class Desk(Contract, version="1.0"):
    @command("/ask", raises=(Refused,))
    async def ask(self, text: str) -> str: ...

    @query("/relayed")
    async def relayed(self) -> str: ...


class DeskService(Service, Desk):
    inventory: Inventory

    async def ask(self, text: str) -> str:
        if text == "refuse":
            raise Refused("not today")
        await self.tx.one(int, "SELECT 1")
        return await self.inventory.who()

    async def relayed(self) -> str:
        return await self.inventory.who()


@pytest.fixture
async def desk(dispatcher: Dispatcher, tmp_path: Path) -> AsyncIterator[Desk]:
    async with Database(f"sqlite:///{tmp_path}/desk.db") as db:
        inventory = client(Inventory, InProcess(dispatcher, encode=True))
        async with Dispatcher(DeskService(db=db, inventory=inventory)) as made:
            yield made.client(Desk, as_=ANN)


async def test_a_command_that_calls_another_service_inside_its_transaction_fails(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RemoteError):
        await desk.ask("who")
    assert "make the method a @saga" in capsys.readouterr().err


async def test_a_query_calls_another_service_as_its_own_caller(desk: Desk) -> None:
    assert await desk.relayed() == "ann"


async def test_an_error_with_a_text_alone_crosses(desk: Desk) -> None:
    with pytest.raises(Refused, match="not today"):
        await desk.ask("refuse")


async def test_one_call_is_one_trace(desk: Desk) -> None:
    from archstone.observability import recorded

    with recorded() as spans:
        await desk.relayed()
    inner, outer = spans
    assert (inner.name, outer.name) == ("Inventory.who", "Desk.relayed")
    assert (inner.trace_id, inner.parent_id) == (outer.trace_id, outer.span_id)


def test_fields_are_told_when_they_are_missing() -> None:
    with pytest.raises(TypeError, match=r"DeskService\(db=, inventory=\): missing inventory, unknown stock"):
        DeskService(db=Database("sqlite:///x.db"), stock=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportArgumentType, reportIncompatibleMethodOverride]


async def test_times_are_virtual_here() -> None:
    before = world.monotonic()
    await asyncio.sleep(100)
    assert world.monotonic() - before >= 100


async def test_a_command_cut_off_by_closing_is_refused_and_not_cancelled(dispatcher: Dispatcher) -> None:
    inventory = options(dispatcher.client(Inventory, as_=ANN), retry=None)
    waiting = asyncio.create_task(inventory.slow_fill(SKU("tea"), 1.0))
    given_up = asyncio.create_task(inventory.slow_fill(SKU("tea"), 1.0))
    await asyncio.sleep(0.5)
    given_up.cancel()
    await dispatcher.close()
    with pytest.raises(RejectedError, match="its service is closing"):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await given_up
    with pytest.raises(RejectedError, match="its service is closing"):
        await inventory.slow_fill(SKU("tea"), 1.0)
    assert await rows(dispatcher.service.db) == 0
