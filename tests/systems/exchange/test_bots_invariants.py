"""What must never be false: a stream and a venue that keep it, and some that do not, each told."""

import asyncio
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
from bot_markets import open_book, rows

from archstone.systems.exchange.invariants import Watch, disagreements
from archstone.systems.exchange.matching import Command, Events, Kind, Limit, Side, Told
from archstone.systems.exchange.sequencer import Batch, MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue, order_id
from archstone.systems.exchange.venue.flows import VENUE_FLOWS, venue_flow


def new(account: int, number: int, side: Side, price: int, lots: int, **more: int) -> Command:
    return Command(Kind.NEW, order_id(account, number), account, side, price=price, quantity=lots, **more)


async def stream(*commands: Command) -> tuple[MemorySequencer, list[Batch]]:
    sequencer = MemorySequencer(ReferenceVenue())
    await sequencer.submit(open_book())
    limits = [Command(Kind.LIMIT, account=account, type=kind, quantity=10**12) for account in (1, 2) for kind in Limit]
    await sequencer.submit(
        rows(*limits, *(Command(Kind.DEPOSIT, account=each, quantity=10**9) for each in (1, 2)), book=0)
    )
    for command in commands:
        await sequencer.submit(rows(command))
    return sequencer, [*sequencer._batches]


TRADING = (
    new(1, 1, Side.SELL, 100, 10, display=3),
    new(1, 2, Side.SELL, 101, 10),
    new(2, 1, Side.BUY, 100, 8),
    Command(Kind.REPLACE, order_id(1, 2), 1, price=101, quantity=4),
    Command(Kind.REPLACE, order_id(1, 2), 1, price=102, quantity=6),
    new(2, 2, Side.BUY, 99, 5),
    Command(Kind.CANCEL, order_id(2, 2), 2),
)


def watched(batches: list[Batch]) -> Watch:
    watch = Watch()
    for batch in batches:
        watch.note(batch)
    return watch


async def test_a_sane_stream_has_no_faults_and_its_venue_agrees() -> None:
    sequencer, batches = await stream(*TRADING)
    watch = watched(batches)
    assert watch.faults == []
    assert {account: lots for (_, account), lots in watch.positions.items()} == {1: -8, 2: 8}
    assert disagreements(watch, sequencer.venue) == []


def changed(kind: Told, **fields: int) -> Callable[[Events], None]:
    def change(events: Events) -> None:
        first = int(np.flatnonzero(events["kind"] == kind)[0])
        for name, value in fields.items():
            events[name][first] = value

    return change


@pytest.mark.parametrize(
    ("place", "change", "told"),
    [
        (4, changed(Told.TRADED, quantity=2), "trades 2 lots"),
        (4, changed(Told.TRADED, price=101), "names 100 and trades at 101"),
        (4, changed(Told.TRADED, price=99), "was there first at 100, and trades at 99"),
        (4, changed(Told.REFRESHED, left=9), "rests with 9 lots"),
        (7, changed(Told.RESTED, quantity=6), "rests with 5 lots"),
        (8, changed(Told.CANCELED, left=4), "is cancelled with 4 lots"),
        (5, changed(Told.REPLACED, id=77), "order 77 is replaced, and is not open"),
        (3, changed(Told.ACCEPTED, id=order_id(1, 1)), "is accepted, and is open already"),
    ],
)
async def test_each_lie_about_an_order_is_told(place: int, change: Callable[[Events], None], told: str) -> None:
    _, batches = await stream(*TRADING)
    change(batches[place].events)
    assert any(told in fault for fault in watched(batches).faults)


async def test_a_crossed_book_is_told() -> None:
    _, batches = await stream(new(1, 1, Side.SELL, 100, 10), new(2, 1, Side.BUY, 99, 8))
    for name in ("price",):
        batches[3].events[name] = 100
    assert any("book 1 is crossed: 100 is bid, 100 asked" in fault for fault in watched(batches).faults)


async def test_a_gap_and_a_time_that_goes_back_are_told() -> None:
    await asyncio.sleep(1)
    _, batches = await stream(*TRADING)
    assert "after command 1 come those from" in watched([batches[0], *batches[2:]]).faults[0]
    back = batches[1]._replace(at_ns=batches[0].at_ns - 5)
    assert any("is 5 ns before" in fault for fault in watched([batches[0], back]).faults)


@pytest.mark.parametrize(
    ("limit", "most", "told"),
    [(Limit.QUANTITY, 9, "QUANTITY is 9"), (Limit.VALUE, 999, "VALUE is 999"), (Limit.POSITION, 9, "POSITION is 9")],
)
async def test_a_passed_limit_is_told(limit: Limit, most: int, told: str) -> None:
    _, batches = await stream(new(2, 1, Side.BUY, 100, 10))
    limits = batches[1].events
    limits["quantity"][(limits["account"] == 2) & (limits["other"] == limit) & (limits["kind"] == Told.LIMITED)] = most
    assert any(told in fault for fault in watched(batches).faults)


async def test_a_venue_that_went_another_way_is_told() -> None:
    sequencer, batches = await stream(*TRADING)
    short = disagreements(watched(batches[:-4]), sequencer.venue)
    assert any("open orders" in fault or "the venue shows" in fault for fault in short)


@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_flows_with_breakers_kill_switches_and_limits_that_bite_keep_all_of_it(name: str) -> None:
    venue, watch, first = ReferenceVenue(), Watch(), 1
    for commands, at_ns in islice(venue_flow(name, seed=4), 120):
        kept = commands.copy()
        kept["sequence"] = range(first, first + len(kept))
        watch.note(Batch(first, at_ns, kept, venue.apply(kept, at_ns)))
        first += len(kept)
    assert watch.faults == []
    assert disagreements(watch, venue) == []
    assert sum(map(abs, watch.positions.values())) > 0
