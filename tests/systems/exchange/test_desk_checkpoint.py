"""A floor that stops goes on from where it was, and passes over what it cannot trust."""

from pathlib import Path

import pytest
from test_desk_board import flowing

from archstone.systems.exchange.desk import floor as floors
from archstone.systems.exchange.desk.board import Board
from archstone.systems.exchange.desk.checkpoint import load, save
from archstone.systems.exchange.desk.floor import Floor, rows
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Side
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
