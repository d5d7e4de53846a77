"""The readers on the streams of a whole venue: the ledger says what the venue says, and nothing is lost on the way."""

from itertools import islice

import pytest
from clearing_stream import STAFF, Kept, eventually, following, serving

from archstone.systems.exchange.clearing import Clearing, ClearingService, differences, faults
from archstone.systems.exchange.history.columns import rows_of
from archstone.systems.exchange.matching import Told
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.surveillance import Candle, Interval, Market, SurveillanceService, candles_of
from archstone.systems.exchange.tape import TapeService, trades_of
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue.flows import VENUE_FLOWS, venue_flow


def done(name: str, count: int) -> tuple[ReferenceVenue, list[Batch]]:
    """Return a venue that has done batches of a flow, and those."""
    venue, batches = ReferenceVenue(), []
    for timed in islice(venue_flow(name, seed=4), count):
        first = batches[-1].last + 1 if batches else 1
        commands = timed.commands.copy()
        commands["sequence"] = range(first, first + len(commands))
        batches.append(Batch(first, timed.at_ns, commands, venue.apply(commands, timed.at_ns)))
    return venue, batches


@pytest.mark.parametrize("name", [*VENUE_FLOWS])
async def test_the_ledger_is_the_venues_after_any_flow(tmp_path, name):
    venue, batches = done(name, 25)
    parts = (TapeService, {"sequencer": Kept(batches)}), (ClearingService, {})
    async with serving(*parts, url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        db, clearing = run["clearing"].service.db, run["clearing"].client(Clearing, as_=STAFF)

        async def booked() -> bool:
            return (await clearing.trial_balance()).through == batches[-1].last

        await eventually(booked)
        standings = [venue.standing(account) for account in range(1, VENUE_FLOWS[name].accounts + 1)]
        assert sum(len(trades_of(batch)) for batch in batches) > 20
        assert any(standing.positions for standing in standings)
        assert await differences(db, standings, sequence=batches[-1].last) == []
        assert await faults(db) == []


async def test_surveillance_reads_whatever_a_venue_tells(tmp_path):
    _, batches = done("many", 25)
    trades = [trade for batch in batches for trade in trades_of(batch)]
    parts = (SurveillanceService, {"sequencer": Kept(batches)})
    async with serving(parts, url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        await following(run["surveillance"]).reached(batches[-1].last, timeout_s=30)
        found = await run["surveillance"].service.db.all(Candle, "SELECT * FROM candles")
        assert sorted(found) == sorted(candles_of(trades))
        page = await run["surveillance"].client(Market).candles("1", Interval.HOUR)
        assert page.candles == () or page.candles[-1].lots >= 0


def test_every_event_of_a_venue_is_a_row_of_history_and_in_a_book_that_it_concerns():
    _, batches = done("many", 40)
    trades, events = rows_of("trades", batches), rows_of("events", batches)
    assert len(trades["at"]) + len(events["at"]) == sum(len(batch.events) for batch in batches)
    assert {Told.KILLED.name.lower(), "rested", "canceled", "opened"} <= set(events["kind"].tolist())
    for rows in (trades, events):
        names = [*zip(rows["sequence"], rows["number"], strict=True)]
        assert len(set(names)) == len(names)
    placed, columns = {}, [events[name] for name in ("account", "order", "kind", "book")]
    for account, order, kind, book in zip(*columns, strict=True):
        if kind == "accepted":
            placed[account, order] = book
        elif kind == "canceled":
            assert placed[account, order] == book
