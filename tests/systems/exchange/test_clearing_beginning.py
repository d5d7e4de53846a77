"""Readers that come too late for the beginning of the stream: they begin with the venue as it is, and that is told."""

import json

import pytest
from clearing_stream import eventually
from test_clearing_system import FOUNDED, exchange, order, read

from archstone.data import Database
from archstone.runtime import running
from archstone.systems.exchange.clearing import differences, faults
from archstone.systems.exchange.matching import Command, Kind, Limit, Side
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.surveillance import Market
from archstone.systems.exchange.tape import Following, TapeService
from archstone.systems.exchange.tape.service import Telling
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue.flows import rows
from archstone.systems.exchange.venue.state import loaded

SELL, BUY = (order(3, 1, Side.SELL, 5, 100), order(2, 1, Side.BUY, 3, 101))


def told(run) -> dict[str, str]:
    run.alerts.look()
    return {each.name: each.why for each in run.alerts.firing() if each.name.startswith("beginning of")}


async def agrees(run, sequencer: MemorySequencer) -> bool:
    """Whether the ledger has come to the end of the stream, and has what the venue has."""
    db = run.parts.services["clearing"].database
    if await db.one(int, "SELECT through FROM progress") < sequencer.last:
        return False
    standings = [sequencer.venue.standing(account) for account in (2, 3)]
    assert await differences(db, standings, sequence=sequencer.last) == []
    assert await faults(db) == []
    return True


async def test_who_begins_late_begins_with_what_everybody_has_then(tmp_path):
    sequencer = MemorySequencer(ReferenceVenue(), keep=1)
    for each in (FOUNDED, [SELL], [BUY]):
        await sequencer.submit(rows(each))
    before = sequencer.last
    async with running(exchange(sequencer), data=tmp_path) as run:
        await eventually(lambda: agrees(run, sequencer))
        assert await run.client(Market).trades("ACME") == ()
        await sequencer.submit(rows([order(2, 2, Side.BUY, 2, 100)]))
        await eventually(lambda: agrees(run, sequencer))
        assert [each.lots for each in await run.client(Market).trades("ACME")] == [2]
        text = f"it has nothing of commands 1 to {before}: the stream kept them no more"

        async def heard() -> bool:
            return told(run) == {"beginning of reader tape": text, "beginning of reader surveillance": text}

        await eventually(heard)
    async with running(exchange(sequencer), data=tmp_path) as run:
        await eventually(lambda: agrees(run, sequencer))


async def test_what_is_missing_in_the_middle_stays_missing_and_the_rest_comes(tmp_path):
    sequencer = MemorySequencer(ReferenceVenue(), keep=1)
    async with running(exchange(sequencer), data=tmp_path) as run:
        await sequencer.submit(rows(FOUNDED))
        await eventually(lambda: read(run, sequencer.last))
    kept = sequencer.last
    for each in (SELL, BUY):
        await sequencer.submit(rows([each]))
    async with running(exchange(sequencer), data=tmp_path) as run:
        await eventually(lambda: read(run, sequencer.last))
        await sequencer.submit(rows([order(2, 2, Side.BUY, 2, 100)]))
        await eventually(lambda: read(run, sequencer.last))
        ledger = run.parts.services["clearing"].database

        async def booked() -> bool:
            return await ledger.all(int, "SELECT lots FROM entries WHERE kind = 'trade'") == [2]

        await eventually(booked)
        missing = await differences(ledger, [sequencer.venue.standing(3)], sequence=sequencer.last)
        assert missing == [
            "account 3, 1: the ledger has -2, the venue -5",
            "account 3, cash: the ledger has 1002000, the venue 1005000",
        ]

        async def heard() -> bool:
            why = told(run).get("beginning of reader tape", "")
            return why.startswith(f"it has nothing of commands {kept + 1} to {kept + 2}")

        await eventually(heard)


async def test_files_go_on_after_what_is_missing(tmp_path):
    pytest.importorskip("pyarrow", reason="the extra `history` is not installed")
    from archstone.systems.exchange.history import Archive

    sequencer = MemorySequencer(ReferenceVenue(), keep=1)
    for each in (FOUNDED, [SELL], [BUY]):
        await sequencer.submit(rows(each))
    archive = Archive(tmp_path)
    async with Following(sequencer, archive, name="history") as following:
        await following.reached(sequencer.last, timeout_s=5)
        assert json.loads((tmp_path / "progress.json").read_text()) == {"format": 1, "last": sequencer.last}
        await sequencer.submit(rows([order(2, 2, Side.BUY, 2, 100)]))
        await following.reached(sequencer.last, timeout_s=5)
    await archive.flush()
    (file,) = tmp_path.glob("trades/*/*/*.parquet")
    assert file.name == f"part-{sequencer.last:020}-{sequencer.last:020}.parquet"


async def test_many_accounts_are_carried_in_several_events(tmp_path):
    venue = ReferenceVenue()
    sequencer = MemorySequencer(venue)
    for each in range(1, 702):
        limit = Command(Kind.LIMIT, account=each, type=Limit.POSITION, quantity=9)
        await sequencer.submit(rows([(0, limit), (0, Command(Kind.DEPOSIT, account=each, quantity=9))]))
    async with Database(f"sqlite:///{tmp_path}/tape.db", migrations=TapeService.service_info.migrations) as db:
        await Telling(db).begin(loaded(venue.dump())[0], 1_402)
        found = await db.all(bytes, "SELECT payload FROM _archstone_outbox ORDER BY position")
        events = [json.loads(each) for each in found]
        assert [(each["number"], len(each["carried"]), each["through"]) for each in events] == [
            (1, 500, 0), (2, 201, 1_402),
        ]  # fmt: skip
        assert await Telling(db).last() == 1_402
