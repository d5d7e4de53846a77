"""The floor: what is submitted is read when it returns, and listeners hear of it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from test_desk_board import order

from archstone.observability import Alerts
from archstone.systems.exchange.desk import floor as floors
from archstone.systems.exchange.desk.contract import NewOrder, OrderRefusedError
from archstone.systems.exchange.desk.entry import Entry
from archstone.systems.exchange.desk.floor import Floor, FloorClosedError, rows
from archstone.systems.exchange.entry import Position, reports_of
from archstone.systems.exchange.feed import Changes
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Flag, Kind, Phase, Reason, Side, TimeInForce, Told
from archstone.systems.exchange.sequencer import Batch, MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue.port import MAX_NUMBER

HALT = rows([Command(Kind.PHASE, type=Phase.HALTED)], book=1)


class Late(MemorySequencer):
    """Tells of what was done a second later, as one on another machine would."""

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        async for batch in super().follow(after):
            await asyncio.sleep(1.0)
            yield batch


class Broken(MemorySequencer):
    """Keeps nothing that was done a while ago."""

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        async for batch in super().follow(after):
            if batch.last > 10:
                raise LookupError("not kept")
            yield batch


async def test_books_are_opened_once_and_what_was_there_is_read_first() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    async with Floor(sequencer, INSTRUMENTS) as first:
        assert {*first.board.books} == {each.book for each in INSTRUMENTS.all}
        await first.submit(HALT)
    async with Floor(sequencer, INSTRUMENTS) as second:
        assert second.feed.depth(1).phase == Phase.HALTED
        assert second.board.sequence == first.board.sequence


async def test_what_was_submitted_has_been_read_when_it_returns() -> None:
    async with Floor(Late(ReferenceVenue()), INSTRUMENTS) as floor:
        batch = await floor.submit(HALT)
        assert floor.board.sequence == floor.feed.sequence == floor.reports.sequence == batch.last
        assert floor.feed.depth(1).phase == Phase.HALTED


async def test_a_listener_that_fails_keeps_nobody_from_hearing() -> None:
    heard: list[Changes] = []

    def fail(changes: Changes) -> None:
        raise RuntimeError(changes)

    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        floor.feed.listen(fail)
        end = floor.feed.listen(heard.append)
        await floor.submit(HALT)
        end()
        await floor.submit(HALT)
    assert [[phase.book for phase in each.phases] for each in heard] == [[1]]


async def test_who_waits_is_told_when_nothing_is_read_any_more() -> None:
    async with Floor(Broken(ReferenceVenue()), INSTRUMENTS) as floor:
        with pytest.raises(FloorClosedError, match="the command was kept") as told:
            await floor.submit(HALT)
        assert told.value.kept


async def test_numbers_are_given_once() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        assert [floor.next_number(7) for _ in range(3)] == [1, 2, 3]


async def test_at_midnight_day_orders_end_and_the_figures_of_the_day_begin_anew() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        for account in (7, 8):
            await floor.open_account(account)
        book, day = floor.board.books[1], TimeInForce.DAY
        await floor.submit(rows([order(7, 1, Side.SELL, 5, 10_000), order(8, 1, Side.BUY, 3, 10_000)], book=1))
        await floor.submit(rows([order(8, 2, Side.BUY, 3, 9_990, tif=day), order(8, 3, Side.BUY, 3, 9_980)], book=1))
        await floor.submit(rows([Command(Kind.PHASE, type=Phase.HALTED)], book=2))
        today = book.day
        await asyncio.sleep(3)
        assert {*floor.board.accounts[8].live} == {2, 3}
        assert (book.first, book.high, book.low, book.lots) == (10_000, 10_000, 10_000, 3)
        for each in floor.board.books.values():
            each.day = today - 1  # as if all of that had been yesterday
        await asyncio.sleep(2)
        assert {*floor.board.accounts[8].live} == {3}
        assert floor.board.accounts[8].ended[-1].reason == Reason.DAY
        assert (book.first, book.high, book.low, book.lots) == (10_000, 0, 0, 0)
        assert [floor.feed.depth(number).phase for number in (1, 2)] == [Phase.CONTINUOUS, Phase.HALTED]
        assert floor.board.books.pop(2).day == today - 1
        assert {each.day for each in floor.board.books.values()} == {today}
        last = floor.board.sequence
        await asyncio.sleep(10)
        assert floor.board.sequence == last


async def test_a_halt_of_the_breaker_ends_by_an_auction_without_anybody_doing_anything() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        for account in (7, 8):
            await floor.open_account(account)
        for number, price in ((1, 10_000), (2, 10_750)):
            await floor.submit(
                rows([order(7, number, Side.SELL, 5, price), order(8, number, Side.BUY, 5, price)], book=1)
            )
        phases: list[int] = [floor.feed.depth(1).phase]
        floor.feed.listen(lambda changes: phases.extend(each.phase for each in changes.phases if each.book == 1))
        await asyncio.sleep(70)
        assert phases == [Phase.HALTED, Phase.AUCTION, Phase.CONTINUOUS]


async def test_a_floor_that_reads_no_more_takes_nothing_but_what_takes_risk_away_and_says_so() -> None:
    sequencer = Broken(ReferenceVenue())
    async with Floor(sequencer, INSTRUMENTS) as floor, Alerts(every_s=1.0) as alerts:
        floor.watched_by(alerts)
        await asyncio.sleep(5)
        assert not alerts.firing()
        with pytest.raises(FloorClosedError):
            await floor.submit(HALT)
        last = sequencer.last
        with pytest.raises(FloorClosedError, match="nothing was done") as told:
            await floor.open_account(7)
        assert not told.value.kept
        with pytest.raises(FloorClosedError, match="nothing was done"):
            await floor.submit(rows([Command(Kind.KILL), order(7, 1, Side.BUY, 1, 10_000)], book=1))
        assert sequencer.last == last
        with pytest.raises(FloorClosedError, match="the command was kept"):
            await floor.submit(rows([Command(Kind.KILL, type=1)]))
        assert sequencer.last == last + 1
        await asyncio.sleep(5)
        assert [each.name for each in alerts.firing()] == ["floor of the exchange"]
        assert alerts.unready() == ["floor of the exchange"]


async def test_a_floor_that_cannot_begin_leaves_nothing_running() -> None:
    sequencer = Broken(ReferenceVenue())
    for _ in range(11):
        await sequencer.submit(HALT)
    before = asyncio.all_tasks()
    with pytest.raises(FloorClosedError):
        await Floor(sequencer, INSTRUMENTS).__aenter__()
    assert asyncio.all_tasks() == before


async def test_the_highest_number_is_the_last_one() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        for account in (7, 8):
            await floor.open_account(account)
        entry, new = Entry(floor), NewOrder(symbol="ACME", side="buy", quantity=1, price=10_000)
        for number in (1 << 31, MAX_NUMBER):  # further at once is taken for a mistake
            await entry.place(7, new.model_copy(update={"number": number}))
        assert floor.next_number(7) is None
        for _ in range(2):
            with pytest.raises(OrderRefusedError, match="the number was used before"):
                await entry.place(7, new)
        assert {each.kind for each in reports_of(floor.reports.after(8, Position(0)))} == {Told.LIMITED, Told.DEPOSITED}


async def test_a_number_that_a_refused_order_has_used_up_is_not_given_again() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        await floor.open_account(7)
        # As a program on another connection may ask for: the venue counts the number before it looks at the rest.
        await floor.submit(rows([order(7, 40, Side.BUY, 5, 10_000, display=50, flags=Flag.POST_ONLY)], book=1))
        assert floor.next_number(7) == 41


async def test_who_asked_is_told_of_a_refusal_whatever_the_order_was_called() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        for account in (7, 8):
            await floor.open_account(account)
        await floor.submit(rows([order(8, 3, Side.BUY, 5, 10_000)._replace(account=7)], book=1))
        told = [{each.kind for each in reports_of(floor.reports.kept(account))} for account in (7, 8)]
        assert [Told.REJECTED in each for each in told] == [True, False]
        assert floor.next_number(8) == 1


async def test_an_order_that_is_sent_again_while_it_waits_is_the_same_order() -> None:
    async with Floor(Late(ReferenceVenue()), INSTRUMENTS) as floor:
        await floor.open_account(7)
        new = NewOrder(symbol="ACME", side="buy", quantity=5, price=10_000, number=3)
        placing = [Entry(floor).place(7, new) for _ in range(2)]
        other = Entry(floor).place(7, new.model_copy(update={"side": "sell"}))
        (_, first), (_, again), refused = await asyncio.gather(*placing, other, return_exceptions=True)
        assert again is first
        assert (first.number, first.status) == (3, "working")
        assert isinstance(refused, OrderRefusedError)


async def test_a_number_too_far_ahead_takes_none_away() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        await floor.open_account(7)
        entry, new = Entry(floor), NewOrder(symbol="ACME", side="buy", quantity=1, price=10_000)
        with pytest.raises(OrderRefusedError):
            await entry.place(7, new.model_copy(update={"number": MAX_NUMBER}))
        _, placed = await entry.place(7, new)
        assert (placed.number, placed.status) == (1, "working")


async def test_numbers_that_were_given_are_forgotten_when_their_orders_have_been_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(floors, "_GIVEN", 3)
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        new = NewOrder(symbol="ACME", side="buy", quantity=1, price=10_000)
        for account in range(1, 11):
            await floor.open_account(account)
            assert floor.next_number(account) == 1  # of an order that never came
            await Entry(floor).place(account, new.model_copy(update={"number": 2}))
            assert len(floor._numbers) <= 3
        assert floor.next_number(10) == 3


async def test_a_reader_that_fails_takes_none_with_it_and_closes_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        await floor.open_account(7)
        monkeypatch.setattr(floor.board, "take", None)
        with pytest.raises(FloorClosedError, match="the command was kept"):
            await floor.submit(rows([order(7, 1, Side.SELL, 5, 10_000)], book=1))
        assert not floor.reads
        assert floor.feed.depth(1).sells == ((10_000, 5, 1),)
        await floor.sequencer.submit(rows([order(7, 2, Side.SELL, 5, 10_000)], book=1))
        await floor.reports.reached(floor.sequencer.last)
        assert floor.feed.depth(1).sells == ((10_000, 10, 2),)
