"""Files of both formats through an exchange: the same book, the same trades, and what is lost is counted."""

from pathlib import Path

import numpy as np
import pytest
from bot_markets import MARKET, open_book, rows
from replay_samples import added, itch_bytes, lobster_files, recorded, replayed, told

from archstone import world
from archstone.systems.exchange.invariants import Watch, disagreements
from archstone.systems.exchange.matching import Command, Kind, Phase, Side, Told
from archstone.systems.exchange.replaying import (
    Happened,
    ItchReader,
    LobsterReader,
    Messages,
    Recorder,
    orderbook_of,
    replay,
)
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue, order_id


@pytest.fixture(scope="module")
def day() -> Messages:
    """What bots did in a while."""
    return recorded()


def itch_file(folder: Path, messages) -> ItchReader:
    file = folder / "day.itch"
    file.write_bytes(itch_bytes(messages))
    return ItchReader(file)


async def test_a_day_of_ours_replayed_from_itch_has_the_same_trades_and_books(day, tmp_path: Path) -> None:
    messages = day
    executed = messages[messages["kind"] == Happened.EXECUTED]
    assert len(executed) > 20
    sequencer = MemorySequencer(ReferenceVenue())
    report = await replay(itch_file(tmp_path, messages), sequencer, depths=sequencer.venue, batch=7)
    assert (report.faults, report.told, report.lost) == (0, [], {})
    assert report.messages == len(messages)
    assert report.trades == len(executed)
    assert report.compared > 50
    recorder, watch, again = Recorder(), Watch(), []
    for batch in sequencer._batches:
        watch.note(batch)
        again.append(recorder.recorded(batch))
    assert watch.faults == disagreements(watch, sequencer.venue) == []
    ours = np.concatenate(again)
    fields = ["kind", "side", "price", "quantity"]
    book = np.isin(messages["kind"], [Happened.ADDED, Happened.EXECUTED])
    ours_book = np.isin(ours["kind"], [Happened.ADDED, Happened.EXECUTED])
    assert ours[ours_book][fields].tolist() == messages[book][fields].tolist()


@pytest.mark.parametrize(("levels", "packed"), [(1, False), (3, True), (50, False)])
async def test_a_day_of_ours_replayed_from_lobster_agrees_with_every_row(day, tmp_path: Path, levels, packed) -> None:
    file = lobster_files(tmp_path, day, levels=levels, packed=packed)
    report, venue = await replayed(LobsterReader(file, orderbook_of(file)))
    assert (report.faults, report.told) == (0, [])
    assert report.trades > 20
    assert report.compared == 2 * report.messages
    assert (report.adopted > 0) == (levels < 50), "what was out of view is taken from the rows"
    for side in Side:
        assert len(venue.depth(MARKET.book, side, 99)) <= levels + 3


async def test_a_file_that_begins_in_the_middle_of_a_day_takes_what_was_there_from_its_first_row(
    day,
    tmp_path: Path,
) -> None:
    file = lobster_files(tmp_path, day, levels=50, skip=100)
    report, _ = await replayed(LobsterReader(file, orderbook_of(file)))
    assert (report.faults, report.told) == (0, [])
    assert report.adopted > 4
    assert report.trades > 10
    alone, _ = await replayed(LobsterReader(file, None))
    assert alone.lost["of an unknown order"] > 0


async def test_in_batches_and_without_comparing_it_comes_to_the_same(day, tmp_path: Path) -> None:
    file = lobster_files(tmp_path, day, levels=3)
    one, first = await replayed(LobsterReader(file, orderbook_of(file)))
    other, second = await replayed(LobsterReader(file, orderbook_of(file)), check=False, batch=64)
    assert (one.commands, one.trades, one.faults) == (other.commands, other.trades, other.faults)
    assert [first.depth(1, side, 99) for side in Side] == [second.depth(1, side, 99) for side in Side]


def changed(messages, kind: Happened, **fields: int):
    changed = messages.copy()
    first = int(np.flatnonzero(changed["kind"] == kind)[3])
    for name, value in fields.items():
        changed[name][first] = value
    return changed


async def test_a_row_that_is_not_that_of_the_messages_is_a_fault(day, tmp_path: Path) -> None:
    file = lobster_files(tmp_path, day, levels=5)
    orderbook = orderbook_of(file)
    lines = orderbook.read_text().splitlines()
    row = lines[50].split(",")
    row[1] = str(int(row[1]) + 1)
    lines[50] = ",".join(row)
    orderbook.write_text("\n".join(lines) + "\n")
    report, _ = await replayed(LobsterReader(file, orderbook))
    assert report.faults == 2, "the row, and the next one, where it is right again"
    assert report.told[0].startswith("message 51: SELL ")


async def test_an_exchange_that_trades_otherwise_is_a_fault() -> None:
    messages = told(added(1, Side.SELL, 100, 5), added(2, Side.SELL, 100, 5), {"kind": 4, "id": 1, "quantity": 5})

    class Unfair(MemorySequencer):
        async def submit(self, commands):
            if len(commands) == 4:
                commands["price"][1] = 101
            return await super().submit(commands)

    venue = ReferenceVenue()
    report = await replay([messages], Unfair(venue), depths=venue)
    assert report.told[0] == "after 0 messages: the trades are not those of the file"
    assert report.told[1].startswith("after 3 messages: book 1 SELL: [(101, 5)] here, [(100, 5)] in the file")


async def test_what_has_no_counterpart_is_left_out_and_counted() -> None:
    messages = told(
        added(1, Side.SELL, 100, 5),
        added(1, Side.SELL, 101, 5),
        added(2, Side.BUY, 100, 5),
        added(3, Side.BUY, 99, 2**31),
        {"kind": Happened.EXECUTED, "id": 9, "quantity": 5},
        {"kind": Happened.REPLACED, "id": 9, "other": 10, "quantity": 5, "price": 70},
        {"kind": Happened.REDUCED, "id": 1, "quantity": 7},
        {"kind": Happened.HIDDEN, "side": Side.BUY, "price": 100, "quantity": 7},
    )
    report, venue = await replayed([messages])
    assert report.lost == {
        "added twice": 1,
        "added across the book": 1,
        "added out of range": 1,
        "of an unknown order": 2,
        "more than was open": 1,
    }
    assert report.faults == 0
    assert len(venue) == 0
    assert report.counts[Happened.HIDDEN] == 1


async def test_executions_out_of_turn_and_at_another_price_are_cancelled() -> None:
    messages = told(
        added(1, Side.SELL, 100, 5),
        added(2, Side.SELL, 100, 5),
        {"kind": Happened.EXECUTED, "id": 2, "quantity": 2},
        {"kind": Happened.PRICED, "id": 1, "quantity": 5, "price": 99},
        {"kind": Happened.PRICED, "id": 2, "quantity": 1, "price": 100},
    )
    report, venue = await replayed([messages])
    assert report.lost == {"traded out of turn: cancelled": 1, "traded at another price: cancelled": 1}
    assert (report.trades, report.faults) == (1, 0)
    assert venue.depth(1, Side.SELL, 5) == [(100, 2, 1)]


async def test_a_replace_gives_up_its_place_and_a_reduced_order_keeps_it() -> None:
    messages = told(
        added(1, Side.BUY, 100, 5),
        added(2, Side.BUY, 100, 5),
        {"kind": Happened.REDUCED, "id": 1, "quantity": 2},
        {"kind": Happened.EXECUTED, "id": 1, "quantity": 1},
        {"kind": Happened.REPLACED, "id": 1, "other": 3, "quantity": 9, "price": 100},
        {"kind": Happened.EXECUTED, "id": 2, "quantity": 5},
        {"kind": Happened.EXECUTED, "id": 3, "quantity": 9},
    )
    report, venue = await replayed([messages])
    assert (report.trades, report.faults, report.lost) == (3, 0, {})
    assert len(venue) == 0


async def test_a_halt_gathers_orders_and_trading_resumes() -> None:
    messages = told(
        added(1, Side.SELL, 100, 5),
        {"kind": Happened.ACTION, "state": ord("H")},
        {"kind": Happened.ACTION, "state": ord("Q")},
        added(2, Side.BUY, 101, 5),
        {"kind": Happened.PRICED, "id": 1, "quantity": 5, "price": 101},
        {"kind": Happened.EXECUTED, "id": 2, "quantity": 4},
        {"kind": Happened.ACTION, "state": ord("T")},
        {"kind": Happened.EXECUTED, "id": 2, "quantity": 1},
    )
    report, venue = await replayed([messages])
    assert (report.trades, report.faults) == (1, 0)
    assert report.lost == {"traded at another price: cancelled": 1, "traded out of turn: cancelled": 1}
    assert len(venue) == 0


async def test_it_goes_as_fast_as_is_said(day, tmp_path: Path) -> None:
    messages = day
    lasted_s = int(messages["at_ns"][-1] - messages["at_ns"][0]) / 1e9
    for speed in (1, 10):
        began_s = world.monotonic()
        report, _ = await replayed(itch_file(tmp_path, messages), speed=speed)
        assert world.monotonic() - began_s == pytest.approx(lasted_s / speed, rel=0.01)
        assert report.faults == 0
    began_s = world.monotonic()
    await replayed(itch_file(tmp_path, messages))
    assert world.monotonic() == began_s


async def test_icebergs_auctions_and_replaces_are_recorded_as_all_could_see_them() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    money = [Command(kind, account=each, quantity=10**9) for each in (1, 2) for kind in (Kind.LIMIT, Kind.DEPOSIT)]
    limits = [Command(Kind.LIMIT, account=each, type=1, quantity=10**9) for each in (1, 2)]
    await sequencer.submit(open_book())
    await sequencer.submit(rows(*limits, *(each for each in money if each.kind == Kind.DEPOSIT), book=0))

    def new(account: int, number: int, side: Side, price: int, lots: int, **more: int) -> Command:
        return Command(Kind.NEW, order_id(account, number), account, side, price=price, quantity=lots, **more)

    await sequencer.submit(
        rows(
            new(1, 1, Side.SELL, 100, 10, display=4),
            new(2, 1, Side.BUY, 100, 5),
            new(1, 2, Side.SELL, 101, 6),
            Command(Kind.REPLACE, order_id(1, 2), 1, price=101, quantity=4),
            Command(Kind.REPLACE, order_id(1, 2), 1, price=102, quantity=4),
            Command(Kind.PHASE, type=Phase.AUCTION),
            new(2, 2, Side.BUY, 103, 7),
            Command(Kind.PHASE, type=Phase.CONTINUOUS),
        )
    )
    recorder = Recorder()
    messages = np.concatenate([recorder.recorded(batch) for batch in sequencer._batches])
    seen = [(Happened(each["kind"]).name, int(each["id"]), int(each["quantity"])) for each in messages]
    assert seen[:9] == [
        ("LISTED", 0, 0), ("ADDED", 1, 4), ("EXECUTED", 1, 4), ("ADDED", 2, 4), ("EXECUTED", 2, 1), ("ADDED", 3, 6),
        ("REDUCED", 3, 2), ("DELETED", 3, 4), ("ADDED", 4, 4),
    ]  # fmt: skip
    assert ("ADDED", 5, 7) in seen
    report, venue = await replayed([messages])
    assert report.faults == 0
    for side in Side:
        ours = [(price, lots) for price, lots, _ in venue.depth(1, side, 9)]
        assert ours == [(price, lots) for price, lots, _ in sequencer.venue.depth(1, side, 9)]
    assert any(each["kind"] == Told.UNCROSSED for batch in sequencer._batches for each in batch.events)
