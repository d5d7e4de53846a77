"""A floor that stops goes on from where it was, and passes over what it cannot trust."""

import asyncio
from pathlib import Path

import pytest
from test_desk_board import Stand, flowing, order

from archstone.systems.exchange.desk import board as boards
from archstone.systems.exchange.desk.board import Board
from archstone.systems.exchange.desk.floor import CANDLES_S, Floor, FloorClosedError, rows
from archstone.systems.exchange.desk.ledger import KEEP_ENDED, KEEP_FILLS
from archstone.systems.exchange.entry import ForgottenError, Position, readers, reports_of
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Kind, Side
from archstone.systems.exchange.matching.flows import FLOWS
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue

EVERY_S = 60.0


async def traded(sequencer: MemorySequencer, path: Path) -> Floor:
    """Trade for a while, stop, and return what was seen last."""
    async with Floor(sequencer, INSTRUMENTS, checkpoint=path) as floor:
        for account in range(1, 51):
            await floor.open_account(account)
        await floor.submit(rows(flowing("quiet", seed=3, count=500), book=1))
    return floor


def loaded(kept: bytes) -> Board:
    board = Board()
    board.load(kept)
    return board


def accounts_of(board: Board) -> dict[int, object]:
    """All of a board's accounts that is kept."""
    return {
        number: (
            each.cash, each.fees, each.positions, each.live, [*each.ended], [*each.fills], each.limits, each.killed
        )
        for number, each in board.accounts.items()
    }  # fmt: skip


def told(floor: Floor) -> dict[str, object]:
    """All of a floor that is kept."""
    return {
        "depth": floor.feed.depth(1, levels=None),
        "candles": [floor.feed.candles(1, step_s) for step_s in CANDLES_S],
        "trades": floor.feed.trades(1),
        "books": floor.board.books,
        "accounts": accounts_of(floor.board),
        "orders": {*floor.board.orders},
        "reports": [reports_of(floor.reports.kept(account)) for account in floor.board.accounts],
    }


async def test_a_floor_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    before = await traded(sequencer, tmp_path / "kept")
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"board", "feed", "reports"}
    sequencer._batches.clear()  # what came before is not kept any more
    async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "kept") as floor:
        assert told(floor) == told(before)
        assert before.feed.trades(1)
        assert any(each.fills for each in floor.board.accounts.values())
        await floor.submit(rows(flowing("quiet", seed=4, count=500), book=1))
        for side, found in zip(Side, (floor.feed.depth(1, levels=None).buys, floor.feed.depth(1).sells), strict=True):
            assert [*found] == sequencer.venue.depth(1, side, len(found))
        assert len(floor.board.orders) == len(sequencer.venue)


async def test_reports_from_before_a_start_are_still_told(tmp_path: Path) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    before = await traded(sequencer, tmp_path / "kept")
    sequencer._batches.clear()
    account = next(number for number, each in before.board.accounts.items() if each.fills)
    async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "kept") as floor:
        found = reports_of(floor.reports.after(account, Position(before.board.sequence - 400)))
        assert found == reports_of(before.reports.after(account, Position(before.board.sequence - 400)))
        assert found


@pytest.mark.parametrize("name", ["board", "feed", "reports"])
async def test_a_damaged_one_is_passed_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / "kept" / name
    sequencer = MemorySequencer(ReferenceVenue())
    before = await traded(sequencer, path.parent)
    whole = path.read_bytes()
    for at in (0, 16, 25, -1):
        data = bytearray(whole)
        data[at] ^= 1
        path.write_bytes(data)
        async with Floor(sequencer, INSTRUMENTS, checkpoint=path.parent) as floor:
            assert told(floor) == told(before)


async def test_one_that_is_ahead_of_the_stream_is_passed_over(tmp_path: Path) -> None:
    await traded(MemorySequencer(ReferenceVenue()), tmp_path / "kept")
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS, checkpoint=tmp_path / "kept") as floor:
        assert {*floor.board.books} == {each.book for each in INSTRUMENTS.all}
        assert floor.board.orders == {}
        assert not floor.feed.trades(1)


async def test_it_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(readers, "_put", lambda path, kept: written.append(path.name))
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS, checkpoint=tmp_path / "kept"):
        await asyncio.sleep(2.5 * EVERY_S)
        assert written == 2 * ["reports", "feed", "board"]
    assert written == 3 * ["reports", "feed", "board"]


async def test_what_is_bounded_is_bounded_after_a_start_too(tmp_path: Path) -> None:
    floor = await traded(MemorySequencer(ReferenceVenue()), tmp_path / "kept")
    kept = loaded(await floor.board.dump())
    bounds = {(each.ended.maxlen, each.fills.maxlen) for each in [*kept.accounts.values(), floor.board.accounts[1]]}
    assert bounds == {(KEEP_ENDED, KEEP_FILLS)}


@pytest.mark.parametrize("name", FLOWS)
async def test_a_board_that_is_read_on_while_it_is_kept_comes_to_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each account is kept as it is when its turn comes, and skips what is in it already when the stream is read."""
    monkeypatch.setattr(boards, "_SLICE", 1)
    stand, commands = Stand(), flowing(name, seed=6)
    stand.do(*commands[:500])
    keeping, following = asyncio.create_task(stand.board.dump()), [stand.do(*commands[500:510])]
    for first in range(510, 2_000, 10):
        await asyncio.sleep(0)
        following.append(stand.do(*commands[first : first + 10]))
    again = loaded(await keeping)
    assert again.sequence == following[0].last < stand.board.sequence
    assert len({each.sequence for each in again.accounts.values()}) > 3
    for batch in following:
        again.take(batch)
    assert accounts_of(again) == accounts_of(stand.board)
    assert (again.books, again.orders) == (stand.board.books, stand.board.orders)


async def test_a_board_that_was_left_halfway_through_a_batch_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    before = await traded(sequencer, tmp_path / "kept")
    whole = (tmp_path / "kept" / "board").read_bytes()

    def fail(*_: object) -> None:
        raise RuntimeError("halfway")

    async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "kept") as floor:
        floor.board._acts = dict.fromkeys(floor.board._acts, fail)
        with pytest.raises(FloorClosedError):
            await floor.submit(rows([Command(Kind.DEPOSIT, account=1, quantity=5)]))
        await asyncio.sleep(2.5 * EVERY_S)
    assert (tmp_path / "kept" / "board").read_bytes() == whole
    async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "kept") as floor:
        assert floor.board.accounts[1].cash == before.board.accounts[1].cash + 5


async def test_a_disk_that_takes_none_for_a_while_ends_neither_the_floor_nor_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "away" / "kept"
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS, checkpoint=path) as floor:
        path.parent.write_text("not a folder")
        await asyncio.sleep(1.5 * EVERY_S)
        path.parent.unlink()
        await asyncio.sleep(EVERY_S)
        assert loaded((path / "board").read_bytes()).sequence == floor.board.sequence


def standing(floor: Floor) -> dict[str, object]:
    """All of a floor that a venue keeps too."""
    board = floor.board
    orders = [
        (each.id, each.book, each.side, each.price, each.left, each.status, each.trigger)
        for each in sorted(board.orders.values(), key=lambda each: each.id)
    ]
    accounts = {
        number: (each.cash, each.paid_in, each.killed, each.limits, {*each.live}, floor.reports.highest(number))
        for number, each in board.accounts.items()
    }
    owned = ((number, owner.positions) for number, owner in board.accounts.items())
    lots = {(number, book): each.lots for number, held in owned for book, each in held.items() if each.lots}
    depths = [floor.feed.depth(number, levels=None)._replace(sequence=0, at_ns=0) for number in board.books]
    books = {number: (each.value, each.last) for number, each in board.books.items()}
    return {"orders": orders, "accounts": accounts, "books": books, "depths": depths, "lots": lots}


async def test_a_floor_whose_beginning_is_gone_begins_with_the_venue() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    async with Floor(sequencer, INSTRUMENTS) as before:
        for account in range(1, 51):
            await before.open_account(account)
        await before.submit(rows(flowing("quiet", seed=3, count=500), book=1))
        last = before.board.books[1].last
        await before.submit(rows([order(1, 10**6, Side.BUY, 5, last + 5, trigger=last + 3)], book=1))
    assert any(each.status == "sleeping" for each in before.board.orders.values())
    assert any(held.lots for each in before.board.accounts.values() for held in each.positions.values())
    sequencer._batches.clear()
    await sequencer.submit(rows([Command(Kind.TICK)], book=1))
    async with Floor(sequencer, INSTRUMENTS) as floor:
        assert standing(floor) == standing(before)
        assert floor.board.sequence == floor.feed.sequence == sequencer.last
        with pytest.raises(ForgottenError):
            floor.reports.after(1, Position(before.board.sequence - 1))
        await floor.submit(rows(flowing("quiet", seed=4, count=500), book=1))
        depth = floor.feed.depth(1, levels=None)
        for side, found in zip(Side, (depth.buys, depth.sells), strict=True):
            assert [*found] == sequencer.venue.depth(1, side, 1_000)
        assert len(floor.board.orders) == len(sequencer.venue)
