"""From the outbox to the bus, and the inbox at the other end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archstone import context, world
from archstone.context import Call, Trace
from archstone.data import Database, Envelope, Event, Transaction
from archstone.messaging import Bus, Inbox, Relay
from archstone.observability import recorded, render, span
from archstone.resilience import Exponential, SettingsError


class Paid(Event, name="relaytest.paid", key="order_id"):
    order_id: str
    amount: int = 0


class Sink:
    """A bus that keeps what it is sent, fails the next `failures` times, and hangs the next `hangs` times."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.calls = 0
        self.failures = 0
        self.hangs = 0
        self.deaf = False

    async def send(self, *envelopes: Envelope) -> None:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise OSError("bus is away")
        if self.hangs:
            self.hangs -= 1
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                if not self.deaf:
                    raise
                await asyncio.sleep(500.0)
                raise
        self.sent += envelopes

    @property
    def orders(self) -> list[str]:
        return [str(Paid.decode(envelope.payload).model_dump()["order_id"]) for envelope in self.sent]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/orders.db", name="relay-test") as db:
        await db.execute("CREATE TABLE effects (message_id TEXT NOT NULL)")
        yield db


async def publish(db: Database, *orders: str) -> None:
    async with db.transaction() as tx:
        for order in orders:
            tx.publish(Paid(order_id=order))


async def left(db: Database) -> int:
    return await db.one(int, "SELECT COUNT(*) FROM _archstone_outbox")


async def drained(db: Database) -> None:
    async with asyncio.timeout(600):
        while await left(db):
            await asyncio.sleep(0.01)


async def test_events_are_sent_in_order_and_leave_the_outbox(db: Database):
    sink = Sink()
    relay = Relay(db, sink, batch=2)
    await publish(db, "a", "b")
    await publish(db, "c")
    assert [await relay.relay_once() for _ in range(3)] == [2, 1, 0]
    assert sink.orders == ["a", "b", "c"]
    assert await left(db) == 0


async def test_an_event_whose_transaction_rolled_back_is_never_sent(db: Database):
    sink = Sink()
    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            tx.publish(Paid(order_id="a"))
            raise ValueError("no")
    assert await Relay(db, sink).relay_once() == 0
    assert sink.sent == []


async def test_a_commit_wakes_the_relay(db: Database):
    sink = Sink()
    async with Relay(db, sink, poll_s=1000.0):
        await asyncio.sleep(1.0)
        before_s = world.monotonic()
        await publish(db, "a")
        await drained(db)
        assert world.monotonic() - before_s < 0.1
    assert sink.orders == ["a"]
    assert db.outbox_ready == []


async def test_an_outbox_row_left_by_a_crash_is_sent(db: Database):
    # eShop never sends it: it sends only what the running request has just written.
    await publish(db, "left behind")
    sink = Sink()
    async with Relay(db, sink):
        await drained(db)
    assert sink.orders == ["left behind"]


async def test_a_relay_without_a_wake_up_finds_events_by_polling(db: Database):
    sink = Sink()
    async with Relay(db, sink, poll_s=7.0):
        await asyncio.sleep(1.0)
        async with db.transaction() as tx:
            tx.publish(Paid(order_id="a"))
            callbacks, db.outbox_ready[:] = list(db.outbox_ready), []
        db.outbox_ready[:] = callbacks
        await asyncio.sleep(5.0)
        assert sink.orders == []
        await asyncio.sleep(2.0)
        assert sink.orders == ["a"]


async def test_a_relay_that_dies_is_restarted_with_backoff(db: Database):
    sink = Sink()
    sink.failures = 4
    relay = Relay(db, sink, backoff=Exponential(1.0, cap_s=4.0))
    await publish(db, "a")
    async with relay:
        await asyncio.sleep(6.5)
        assert relay.statistics().restarts == 3
        assert relay.statistics().error == "OSError: bus is away"
        assert relay.lag_s >= 6.5
        await drained(db)
        assert relay.statistics().restarts == 4
        assert world.monotonic() < 20.0
        await asyncio.sleep(0.1)
        assert relay.statistics().error is None
    assert sink.orders == ["a"]


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_relay_that_stalls_is_restarted(db: Database, deaf: bool):
    sink = Sink()
    sink.hangs, sink.deaf = 1, deaf
    relay = Relay(db, sink, stall_s=10.0)
    await publish(db, "a")
    async with relay:
        await drained(db)
        assert 10.0 <= world.monotonic() < 30.0
        assert relay.statistics().restarts == 1
    await asyncio.sleep(1000.0)
    assert sink.orders == ["a"]


async def test_the_lag_is_the_age_of_the_oldest_unsent_event(db: Database):
    sink = Sink()
    sink.hangs = 1
    relay = Relay(db, sink, stall_s=100.0)
    async with relay:
        await asyncio.sleep(1.0)
        assert relay.lag_s == 0.0
        await publish(db, "a")
        await asyncio.sleep(30.0)
        await publish(db, "b")
        await asyncio.sleep(10.0)
        assert relay.lag_s == pytest.approx(40.0, abs=0.1)
        line = next(line for line in render().splitlines() if 'lag_seconds{database="relay-test"}' in line)
        assert float(line.split()[-1]) == pytest.approx(40.0, abs=0.1)
        await drained(db)
        await asyncio.sleep(0.1)
        assert relay.lag_s == 0.0


def test_settings_are_checked_together():
    with pytest.raises(SettingsError, match=r"batch=0 .*poll_s=nan .*stall_s=0"):
        Relay(Database("sqlite:///never.db"), Sink(), batch=0, poll_s=float("nan"), stall_s=0)


async def test_an_inbox_lets_a_message_have_its_effect_once(db: Database):
    inbox = Inbox(db)
    await inbox.open()

    async def effect(tx: Transaction, envelope: Envelope) -> None:
        await tx.execute("INSERT INTO effects VALUES (:id)", id=envelope.id)

    await publish(db, "a")
    sink = Sink()
    await Relay(db, sink).relay_once()
    handle = inbox.handler("test.effect", effect)
    other = inbox.handler("test.other", effect)
    for _ in range(3):
        await handle(sink.sent[0])
    assert await db.one(int, "SELECT COUNT(*) FROM effects") == 1
    await other(sink.sent[0])
    assert await db.one(int, "SELECT COUNT(*) FROM effects") == 2


async def test_a_handler_that_fails_leaves_no_note_and_no_effect(db: Database):
    inbox = Inbox(db)
    await inbox.open()
    fails = True

    async def effect(tx: Transaction, envelope: Envelope) -> None:
        await tx.execute("INSERT INTO effects VALUES (:id)", id=envelope.id)
        if fails:
            raise RuntimeError("after the effect")

    message = Envelope("m1", "t", "t.x", 1, "m1", b"{}", b"{}", 0)
    handle = inbox.handler("test.effect", effect)
    with pytest.raises(RuntimeError):
        await handle(message)
    fails = False
    await handle(message)
    assert await db.all(str, "SELECT message_id FROM effects") == ["m1"]


async def test_two_deliveries_at_once_have_one_effect(db: Database):
    inbox = Inbox(db)
    await inbox.open()

    async def effect(tx: Transaction, envelope: Envelope) -> None:
        await tx.execute("INSERT INTO effects VALUES (:id)", id=envelope.id)

    message = Envelope("m1", "t", "t.x", 1, "m1", b"{}", b"{}", 0)
    handle = inbox.handler("test.effect", effect)
    await asyncio.gather(*(handle(message) for _ in range(10)))
    assert await db.one(int, "SELECT COUNT(*) FROM effects") == 1


async def test_an_inbox_forgets_after_its_retention(db: Database):
    inbox = Inbox(db, retention_s=100.0)
    await inbox.open()
    for message_id in ("old", "older"):
        async with db.transaction() as tx:
            assert await inbox.handle_once(tx, "h", message_id)
    await asyncio.sleep(60.0)
    async with db.transaction() as tx:
        assert await inbox.handle_once(tx, "h", "young")
    assert await inbox.sweep() == 0
    await asyncio.sleep(60.0)
    assert await inbox.sweep() == 2
    async with db.transaction() as tx:
        assert not await inbox.handle_once(tx, "h", "young")
        assert await inbox.handle_once(tx, "h", "old")
    await asyncio.sleep(200.0)
    assert await inbox.sweep() == 2


async def test_an_event_goes_all_the_way_and_has_its_effect_once(db: Database, tmp_path: Path):
    inbox = Inbox(db)
    await inbox.open()

    async def effect(tx: Transaction, envelope: Envelope) -> None:
        await tx.execute("INSERT INTO effects VALUES (:id)", id=envelope.key)

    bus = Bus(f"sqlite:///{tmp_path}/bus.db")
    bus.subscribe("relaytest", "effects", inbox.handler("test.effect", effect))
    async with bus, Relay(db, bus):
        await bus.start()
        await publish(db, *(f"o{number}" for number in range(50)))
        await drained(db)
        while await bus.depth("effects"):
            await asyncio.sleep(0.01)
    assert sorted(await db.all(str, "SELECT message_id FROM effects")) == sorted(f"o{n}" for n in range(50))


async def test_an_event_of_a_trace_is_told_as_a_span_of_its_time_in_the_outbox(db: Database) -> None:
    with recorded() as spans, context.enter(Call()):
        with span("place") as work:
            await publish(db, "o1")
            trace_id = work.trace_id
        await asyncio.sleep(2.0)
        await Relay(db, Sink()).relay_once()
    place, sent = spans
    assert (sent.name, sent.kind, sent.ref, sent.status) == ("send relaytest.paid", "producer", "o1", "ok")
    assert (sent.trace_id, sent.parent_id) == (trace_id, place.span_id)
    assert 2_000_000 <= sent.duration_us < 2_100_000
    assert sent.attributes["database"] == "relay-test"
    assert sent.attributes["published_us"] == sent.start_us


async def test_an_event_without_a_trace_or_of_one_that_is_not_sampled_makes_no_span(db: Database) -> None:
    with recorded() as spans:
        await publish(db, "o1")
        with context.enter(Call(trace=Trace(7, 8, sampled=False))):
            await publish(db, "o2")
        await Relay(db, sink := Sink()).relay_once()
    assert sink.orders == ["o1", "o2"]
    assert spans == []
