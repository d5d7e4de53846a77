"""Commands that are sagas, the steps of sagas, and handlers that start them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from contract_cases import ANN, asked_by
from services_cast import BANK, TILL, Bank, BankService, Books, BooksService, Declined, SaleMade, Till, TillService

from archstone import context
from archstone.data import Database, Envelope, envelope
from archstone.errors import BackendError, RejectedError
from archstone.services import (
    Dispatcher,
    EventUnreadableError,
    InProcess,
    KeyReusedError,
    NotSignedInError,
    StillRunningError,
    client,
    event_routes,
    operations,
    options,
    periodic,
)
from archstone.services.nested import NestedKeys


class Cast(NamedTuple):
    till: Dispatcher
    bank: Dispatcher
    books: Dispatcher


@pytest.fixture
async def cast(tmp_path: Path) -> AsyncIterator[Cast]:
    way = InProcess(encode=True)
    async with (
        Database(f"sqlite:///{tmp_path}/bank.db") as bank_db,
        Database(f"sqlite:///{tmp_path}/till.db") as till_db,
        Database(f"sqlite:///{tmp_path}/books.db") as books_db,
    ):
        for db, table in ((bank_db, BANK), (till_db, TILL), (books_db, BANK)):
            await db.execute(table)
        async with (
            Dispatcher(BankService(db=bank_db)) as bank,
            Dispatcher(TillService(db=till_db, bank=client(Bank, way))) as till,
            Dispatcher(BooksService(db=books_db, bank=client(Bank, way))) as books,
        ):
            way.connect(bank)
            yield Cast(till, bank, books)


async def entries(dispatcher: Dispatcher) -> list[int]:
    return await dispatcher.service.db.all(int, "SELECT amount FROM entries ORDER BY position")


async def test_a_command_that_is_a_saga_answers_when_it_is_done(cast: Cast) -> None:
    receipt = await cast.till.client(Till, as_=ANN).sell("s1", "ann", 5)
    assert receipt.entries == (1, 3)
    assert await entries(cast.bank) == [5, 1, 1]
    assert await cast.till.client(Till, as_=ANN).state("s1") == "closed"


async def test_a_repeat_with_the_key_finds_the_same_saga(cast: Cast) -> None:
    till = options(cast.till.client(Till, as_=ANN), key="k")
    assert await till.sell("s1", "ann", 5) == await till.sell("s1", "ann", 5)
    assert await entries(cast.bank) == [5, 1, 1]
    with pytest.raises(KeyReusedError):
        await till.sell("s2", "ann", 5)


async def test_a_saga_that_fails_raises_its_declared_error_and_is_undone(cast: Cast) -> None:
    till = cast.till.client(Till, as_=ANN)
    with pytest.raises(Declined) as caught:
        await till.sell("s1", "poor", 5)
    assert caught.value.account == "poor"
    assert await till.state("s1") == "dropped"


async def test_a_saga_that_outlasts_its_caller_goes_on(cast: Cast) -> None:
    till = options(cast.till.client(Till, as_=ANN), key="k", retry=None)
    async with cast.bank.service.db.paused():
        with pytest.raises(StillRunningError):
            await options(till, timeout_s=0.5).sell("s1", "ann", 5)
    assert (await till.sell("s1", "ann", 5)).sale == "s1"
    assert await entries(cast.bank) == [5, 1, 1]


async def test_a_saga_starts_in_the_transaction_of_a_command(cast: Cast) -> None:
    till = cast.till.client(Till, as_=ANN)
    await till.sell_later("s1", "ann", 5)
    assert cast.till.sagas is not None
    await cast.till.sagas.result("s1")
    assert await till.state("s1") == "closed"


async def test_a_door_refuses_to_start_more_sagas_than_can_wait_and_a_service_may(cast: Cast) -> None:
    till = cast.till.client(Till, as_=ANN)
    assert cast.till.sagas is not None
    runner = cast.till.sagas._runner
    runner._present = 10_000
    with pytest.raises(RejectedError, match=r"refused inside .resilience.overloaded., not done") as refused:
        await till.sell_later("s1", "ann", 5)
    assert refused.value.retry_after_s == 5.0
    assert await cast.till.service.db.all(str, "SELECT id FROM sales") == []
    with context.enter(asked_by(cast.till.principal, key="saga/step")):
        await client(Till, InProcess(cast.till)).sell_later("s2", "ann", 5)
    await cast.till.sagas.result("s2")
    assert await till.state("s2") == "closed"


async def test_a_local_step_has_its_effect_once_however_often_it_is_made(cast: Cast) -> None:
    service = cast.till.service
    assert isinstance(service, TillService)
    steps = cast.till._steps
    with context.enter(asked_by(cast.till.principal, key="saga/step")):
        await steps(service.open_sale, ("s1", 5))
        await steps(service.open_sale, ("s1", 5))
    assert await cast.till.client(Till, as_=ANN).state("s1") == "open"


async def test_a_nested_key_counts_the_calls_of_one_attempt() -> None:
    charge, refund = operations(Bank)
    attempts = [NestedKeys("saga/step"), NestedKeys("saga/step")]
    made = [[keys.next(charge), keys.next(charge), keys.next(refund)] for keys in attempts]
    assert made[0] == made[1]
    assert made[0] == ["saga/step/Bank.charge#1", "saga/step/Bank.charge#2", "saga/step/Bank.refund#1"]


def message(event: SaleMade, **changed: object) -> Envelope:
    return envelope(event, context.current())._replace(**changed)


async def test_an_event_is_handled_once_by_each_handler(cast: Cast) -> None:
    (route,) = event_routes(cast.books)
    assert (route.topic, route.group, route.names) == ("till-tests", "books", {"till-tests.sale-made"})
    sale = message(SaleMade(sale="s1", amount=5))
    await route.handle(sale)
    await route.handle(sale)
    assert await cast.books.client(Books, as_=ANN).total() == 5
    await asyncio.sleep(1.0)
    assert await entries(cast.bank) == [-1]


async def test_a_handler_that_fails_leaves_nothing_and_is_handled_again(cast: Cast) -> None:
    (route,) = event_routes(cast.books)
    sale = message(SaleMade(sale="s1", amount=13))
    for _ in range(2):
        with pytest.raises(BackendError, match="the pen is broken"):
            await route.handle(sale)
    assert await entries(cast.books) == []


async def test_an_event_of_an_unknown_version_fails_clearly(cast: Cast) -> None:
    (route,) = event_routes(cast.books)
    with pytest.raises(EventUnreadableError, match="version 2: this code handles version 1"):
        await route.handle(message(SaleMade(sale="s1", amount=5), version=2))
    with pytest.raises(EventUnreadableError, match="missing"):
        await route.handle(message(SaleMade(sale="s1", amount=5), payload=b'{"sale": "s1"}'))


async def test_an_event_that_nobody_here_wants_is_let_pass(cast: Cast) -> None:
    (route,) = event_routes(cast.books)
    await route.handle(message(SaleMade(sale="s1", amount=5), name="till-tests.something-else"))
    assert await entries(cast.books) == []


async def test_periodic_work_is_done_again_and_again_and_the_tables_are_swept(cast: Cast) -> None:
    works = {work.name: work for work in periodic(cast.books)}
    assert sorted(works) == [
        "books.close_day",
        "books.remind",
        "books: sweep of inbox",
        "books: sweep of keys",
        "books: sweep of sagas",
    ]
    tasks = [asyncio.create_task(work.run()) for work in works.values()]
    await asyncio.sleep(125)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert len(await entries(cast.books)) == 2
    assert await entries(cast.bank) == [-7, -7, -7, -7]
    for work in works.values():
        await work.once()


async def test_periodic_work_that_fails_is_logged_and_comes_again(
    cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    work = next(each for each in periodic(cast.books) if each.name == "books.close_day")
    await cast.books.service.db.execute("DROP TABLE entries")
    task = asyncio.create_task(work.run())
    await asyncio.sleep(61)
    await cast.books.service.db.execute(BANK)
    await asyncio.sleep(61)
    task.cancel()
    await asyncio.wait([task])
    assert "periodic work failed" in capsys.readouterr().err
    assert await entries(cast.books) == [0]


async def test_nobody_cannot_start_a_saga(cast: Cast) -> None:
    with pytest.raises(NotSignedInError):
        await cast.till.client(Till).sell("s1", "ann", 5)
