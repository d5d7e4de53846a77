"""Several processes on one PostgreSQL: one of them relays, and another goes on when it dies."""

import asyncio

import pytest

from archstone.data import ConnectionFailedError, Database, Envelope, Event, Schema, Transaction
from archstone.messaging import Relay
from archstone.resilience import Exponential

pytestmark = pytest.mark.real_time


class Noted(Event, name="shared.noted", version=1, key="key"):
    key: str
    number: int


class Sink:
    """Keeps what is sent to it, by whom."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def of(self, who: str) -> "OneSink":
        return OneSink(self, who)

    @property
    def ids(self) -> list[str]:
        return [id_ for _, id_ in self.sent]


class OneSink:
    def __init__(self, sink: Sink, who: str) -> None:
        self._sink = sink
        self._who = who

    async def send(self, *envelopes: Envelope) -> None:
        await asyncio.sleep(0)
        self._sink.sent += [(self._who, envelope.id) for envelope in envelopes]


async def publish(db: Database, numbers: range) -> None:
    async def work(tx: Transaction) -> None:
        for number in numbers:
            tx.publish(Noted(key="k", number=number))

    await db.run(work)


async def until(done: object, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_one_of_two_sends_in_order_and_is_woken_by_the_other(postgres_url: str) -> None:
    sink = Sink()
    one, two = Database(postgres_url), Database(postgres_url)
    first = Relay(one, sink.of("one"), poll_s=1000, lease_s=1.0)
    second = Relay(two, sink.of("two"), poll_s=1000, lease_s=1.0)
    async with one, two, first:
        await publish(one, range(3))
        await until(lambda: len(sink.sent) == 3)
        async with second:
            await asyncio.sleep(0.3)  # it has looked, and found the lease held
            began = asyncio.get_running_loop().time()
            for start in range(3, 33, 3):
                await publish(two, range(start, start + 3))
            await until(lambda: first.statistics().sent == 33)
            assert asyncio.get_running_loop().time() - began < 5, "it was not woken by the other process"
            assert {who for who, _ in sink.sent} == {"one"}
            assert len(set(sink.ids)) == 33
            assert second.statistics().sent == 0
            await asyncio.sleep(0.05)
            assert (first.lag_s, second.lag_s) == (0, 0), "who only stands by is behind with nothing"


async def test_a_relay_that_finds_the_database_away_tries_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink()
    async with Database(postgres_url) as db:
        ensure, tries = db.ensure, 0

        async def away(schema: Schema) -> None:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise ConnectionFailedError(db.label, "", "is away")
            await ensure(schema)

        monkeypatch.setattr(db, "ensure", away)
        async with Relay(db, sink.of("one"), backoff=Exponential(0.01, cap_s=0.1)):
            await publish(db, range(3))
            await until(lambda: len(sink.sent) == 3)


async def test_another_goes_on_when_the_one_that_sends_has_died(postgres_url: str) -> None:
    sink = Sink()
    async with Database(postgres_url) as one, Database(postgres_url) as two:
        first = Relay(one, sink.of("one"), lease_s=0.6)
        running = asyncio.create_task(first.run())
        await publish(one, range(3))
        await until(lambda: len(sink.sent) == 3)
        assert first._lease is not None
        assert first._lease._runner is not None
        async with Relay(two, sink.of("two"), lease_s=0.6):
            # As SIGSTOP: it beats no more and sends no more, and gives nothing up.
            first._lease._runner.cancel()
            first._lease._token = None
            first._lease.name = "gone"
            await publish(two, range(3, 6))
            await until(lambda: len(sink.sent) == 6)
            assert {who for who, _ in sink.sent[3:]} == {"two"}
        running.cancel()
        await asyncio.wait([running])
