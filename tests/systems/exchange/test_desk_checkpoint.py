"""A floor that stops goes on from where it was, and passes over what it cannot trust."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_desk_board import flowing, order

from archstone.systems.exchange.desk import floor as floors
from archstone.systems.exchange.desk.board import KEEP_TRADES, Board
from archstone.systems.exchange.desk.candles import KEEP, STEPS_S
from archstone.systems.exchange.desk.checkpoint import load, save
from archstone.systems.exchange.desk.floor import Floor, FloorClosedError, rows
from archstone.systems.exchange.desk.ledger import KEEP_ENDED, KEEP_FILLS, KEEP_REPORTS
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Kind, Side
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue


async def traded(sequencer: MemorySequencer, path: Path) -> Board:
    """Trade for a while, stop, and return what was seen last."""
    async with Floor(sequencer, INSTRUMENTS, checkpoint=path) as floor:
        for account in range(1, 51):
            await floor.open_account(account)
        await floor.submit(rows(flowing("quiet", seed=3, count=500), book=1))
    return floor.board


def told(board: Board) -> dict[str, object]:
    """All of a board that a checkpoint keeps."""
    return {
        "depth": [board.books[1].depth(side, 1_000) for side in Side],
        "candles": board.books[1].candles.of(1),
        "trades": board.books[1].trades,
        "accounts": {
            number: (each.cash, each.positions, each.live, [*each.ended], [*each.fills], each.limits, each.last_number)
            for number, each in board.accounts.items()
        },
    }


async def test_a_floor_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    before = await traded(sequencer, tmp_path / "board")
    kept = load(tmp_path / "board")
    assert kept is not None
    assert told(kept) == told(before)
    assert {*kept.orders} == {*before.orders}
    assert any(each.fills for each in kept.accounts.values())
    sequencer._batches.clear()  # what came before is not kept any more
    async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "board") as floor:
        await floor.submit(rows(flowing("quiet", seed=4, count=500), book=1))
        depth = [tuple(each) for each in floor.board.books[1].depth(Side.BUY, 1_000)]
        assert depth == sequencer.venue.depth(1, Side.BUY, 1_000)


async def test_reports_from_before_are_not_said_to_be_complete(tmp_path: Path) -> None:
    board = await traded(MemorySequencer(ReferenceVenue()), tmp_path / "board")
    kept = load(tmp_path / "board")
    assert kept is not None
    owner = next(each for each in kept.accounts.values() if each.fills)
    assert owner.reports_after(board.sequence - 1) is None
    assert owner.reports_after(board.sequence) == []


async def test_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "board"
    sequencer = MemorySequencer(ReferenceVenue())
    before = await traded(sequencer, path)
    whole = path.read_bytes()
    for at in (0, 16, 25, -1):
        data = bytearray(whole)
        data[at] ^= 1
        path.write_bytes(data)
        assert load(path) is None
    async with Floor(sequencer, INSTRUMENTS, checkpoint=path) as floor:
        assert told(floor.board) == told(before)


async def test_one_that_is_ahead_of_the_stream_is_passed_over(tmp_path: Path) -> None:
    await traded(MemorySequencer(ReferenceVenue()), tmp_path / "board")
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS, checkpoint=tmp_path / "board") as floor:
        assert {*floor.board.books} == {each.book for each in INSTRUMENTS.all}
        assert floor.board.orders == {}


async def test_it_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(floors, "save", lambda path, board: (written.append(board.sequence), save(path, board)))
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS, checkpoint=tmp_path / "board"):
        await floors.asyncio.sleep(2.5 * floors.CHECKPOINT_S)
        assert len(written) == 2
    assert len(written) == 3


def bounds(board: Board) -> Iterator[tuple[int | None, ...]]:
    """How much of each thing a board keeps."""
    for account in board.accounts.values():
        yield (account.ended.maxlen, account.fills.maxlen, account.reports.maxlen)
    for book in board.books.values():
        yield (book.trades.maxlen, *(each.maxlen for each in book.candles.kept.values()))


async def test_what_is_bounded_is_bounded_after_a_start_too(tmp_path: Path) -> None:
    before = await traded(MemorySequencer(ReferenceVenue()), tmp_path / "board")
    kept = load(tmp_path / "board")
    assert kept is not None
    expected = {(KEEP_ENDED, KEEP_FILLS, KEEP_REPORTS), (KEEP_TRADES, *(KEEP for _ in STEPS_S))}
    assert {*bounds(kept)} == {*bounds(before)} == expected


async def test_a_board_that_was_left_halfway_through_a_batch_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    before = await traded(sequencer, tmp_path / "board")
    whole = (tmp_path / "board").read_bytes()

    def fail(*_: object) -> None:
        raise RuntimeError("halfway")

    with monkeypatch.context() as patched:
        patched.setattr(floors, "CHECKPOINT_S", 1.0)
        async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "board") as floor:
            floor.board._acts = dict.fromkeys(floor.board._acts, fail)
            with pytest.raises(FloorClosedError):
                await floor.submit(rows([Command(Kind.DEPOSIT, account=1, quantity=5)]))
            await floors.asyncio.sleep(2.5)
    assert (tmp_path / "board").read_bytes() == whole
    async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "board") as floor:
        assert floor.board.accounts[1].cash == before.accounts[1].cash + 5


async def test_a_disk_that_takes_none_for_a_while_ends_neither_the_floor_nor_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "away" / "board"
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS, checkpoint=path) as floor:
        await floors.asyncio.sleep(1.5 * floors.CHECKPOINT_S)
        path.parent.mkdir()
        await floors.asyncio.sleep(floors.CHECKPOINT_S)
        kept = load(path)
        assert kept is not None
        assert kept.sequence == floor.board.sequence
        path.unlink()
        path.parent.rmdir()


def standing(board: Board) -> dict[str, object]:
    """All of a board that a venue keeps too."""
    orders = [
        (each.id, each.book, each.side, each.price, each.left, each.shown, each.rests, each.status, each.trigger)
        for each in sorted(board.orders.values(), key=lambda each: each.id)
    ]
    accounts = {
        number: (each.cash, each.paid_in, each.killed, each.limits, each.last_number, {*each.live})
        for number, each in board.accounts.items()
    }
    owned = ((number, owner.positions) for number, owner in board.accounts.items())
    lots = {(number, book): each.lots for number, held in owned for book, each in held.items() if each.lots}
    books = {number: (each.value, each.phase, each.last, each.levels) for number, each in board.books.items()}
    return {"orders": orders, "accounts": accounts, "books": books, "lots": lots}


async def test_a_board_whose_beginning_is_gone_begins_with_the_venue(tmp_path: Path) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    await traded(sequencer, tmp_path / "board")
    async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "board") as floor:
        last = floor.board.books[1].last
        await floor.submit(rows([order(1, 10**6, Side.BUY, 5, last + 5, trigger=last + 3)], book=1))
    before = floor.board
    assert any(each.status == "sleeping" for each in before.orders.values())
    assert any(held.lots for each in before.accounts.values() for held in each.positions.values())
    sequencer._batches.clear()
    await sequencer.submit(rows([Command(Kind.TICK)], book=1))
    (tmp_path / "board").unlink()
    async with Floor(sequencer, INSTRUMENTS) as floor:
        assert standing(floor.board) == standing(before)
        assert floor.board.sequence == sequencer.last
        owner = next(each for each in floor.board.accounts.values() if each.live)
        assert owner.reports_after(before.sequence - 1) is None
        await floor.submit(rows(flowing("quiet", seed=4, count=500), book=1))
        for side in Side:
            depth = [tuple(each) for each in floor.board.books[1].depth(side, 1_000)]
            assert depth == sequencer.venue.depth(1, side, 1_000)
        assert len(floor.board.orders) == len(sequencer.venue)
