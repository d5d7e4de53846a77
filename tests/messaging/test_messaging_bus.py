"""The bus over both brokers: handlers, failures, order, leases, drain. All on virtual time."""

import asyncio
import time
from collections import defaultdict
from pathlib import Path

import pytest

from archstone import context, world
from archstone.context import Principal, Trace
from archstone.data import Database, Envelope
from archstone.errors import RejectedError
from archstone.messaging import (
    BacklogFullError,
    Broker,
    Bus,
    BusClosedError,
    Channel,
    SendInTransactionError,
    SubscriptionError,
    UnknownBrokerError,
)
from archstone.messaging.brokers.memory import MemoryBroker
from archstone.messaging.brokers.sqlite import SqliteBroker
from archstone.messaging.testing import envelope
from archstone.observability import format_traceparent, recorded
from archstone.resilience import Exponential, Retry

FAST = Retry(3, backoff=Exponential(1.0, cap_s=4.0), on=(Exception,))


@pytest.fixture(params=["memory", "sqlite"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Broker:
    return MemoryBroker() if request.param == "memory" else SqliteBroker(f"sqlite:///{tmp_path}/bus.db")


class Log:
    """A handler that keeps what it was given."""

    def __init__(self, *, takes_s: float = 0.0, fails: int = 0, error: Exception | None = None) -> None:
        self.seen: list[int] = []
        self.at_s: list[float] = []
        self.running = self.most = 0
        self.takes_s = takes_s
        self.fails = fails
        self.error = error or RuntimeError("not today")

    async def __call__(self, message: Envelope) -> None:
        self.seen.append(int(message.payload))
        self.at_s.append(world.monotonic())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.takes_s:
                await asyncio.sleep(self.takes_s)
            if self.fails:
                self.fails -= 1
                raise self.error.with_traceback(None)
        finally:
            self.running -= 1


async def settled(bus: Bus, group: str = "g", *, within_s: float = 600.0) -> None:
    """Wait until a group has nothing left."""
    async with asyncio.timeout(within_s):
        while await bus.depth(group):
            await asyncio.sleep(0.01)


async def test_what_is_sent_is_handled_by_every_group(broker: Broker):
    one, other = Log(), Log()
    bus = Bus(broker)
    bus.subscribe("t", "g", one)
    bus.subscribe("t", "h", other)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1), envelope("t", 2))
        await settled(bus)
        await settled(bus, "h")
    assert (one.seen, other.seen) == ([1, 2], [1, 2])


async def test_order_is_kept_per_key_and_keys_go_in_parallel(broker: Broker):
    log: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()
    most = 0

    async def handle(message: Envelope) -> None:
        nonlocal most
        assert message.key not in running
        running.add(message.key)
        most = max(most, len(running))
        await asyncio.sleep(world.random().random())
        log[message.key].append(int(message.payload))
        running.discard(message.key)

    bus = Bus(broker)
    bus.subscribe("t", "g", handle, concurrency=10)
    async with bus:
        await bus.start()
        for number in range(60):
            await bus.send(envelope("t", number, key=f"k{number % 6}"))
        await settled(bus)
    assert most == 6
    assert log == {f"k{key}": list(range(key, 60, 6)) for key in range(6)}


async def test_no_more_handlers_run_than_the_concurrency(broker: Broker):
    log = Log(takes_s=1.0)
    bus = Bus(broker)
    bus.subscribe("t", "g", log, concurrency=3)
    async with bus:
        await bus.start()
        await bus.send(*[envelope("t", number) for number in range(10)])
        await settled(bus)
    assert log.most == 3
    assert sorted(log.seen) == list(range(10))


async def test_a_message_whose_handler_threw_is_not_acknowledged_but_comes_again(broker: Broker):
    # eShop acknowledges it.
    log = Log(fails=2)
    bus = Bus(broker)
    subscription = bus.subscribe("t", "g", log, retry=FAST)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await asyncio.sleep(0.1)
        assert await bus.depth("g") == 1
        await settled(bus)
    assert log.seen == [1, 1, 1]
    assert (subscription.statistics().handled, subscription.statistics().retried) == (1, 2)


async def test_messages_that_wait_for_another_attempt_are_counted_by_group(broker: Broker):
    bus = Bus(broker)
    for topic, fails in (("t", 1), ("u", 2), ("v", 0)):
        bus.subscribe(topic, "g" if fails else "well", Log(fails=fails), retry=FAST)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1), envelope("u", 2), envelope("u", 3), envelope("v", 4))
        await asyncio.sleep(0.0001)
        assert await bus.retrying() == {"g": 3}
        await settled(bus)
        assert await bus.retrying() == {}


async def test_delays_between_attempts_grow_and_are_drawn_by_chance(broker: Broker):
    log = Log(fails=1000)
    retry = Retry(6, backoff=Exponential(1.0, cap_s=8.0), on=(Exception,))
    bus = Bus(broker)
    bus.subscribe("t", "g", log, retry=retry)
    async with bus:
        await bus.start()
        await bus.send(*[envelope("t", number) for number in range(50)])
        await settled(bus)
    assert len(log.seen) == 300
    gaps = [b - a for n in range(50) for a, b in [[at for s, at in zip(log.seen, log.at_s, strict=True) if s == n][:2]]]
    assert all(0 <= gap <= 1.05 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.5


async def test_a_failing_message_blocks_only_its_key_until_it_is_buried(broker: Broker):
    seen: list[tuple[str, int]] = []

    async def handle(message: Envelope) -> None:
        seen.append((message.key, int(message.payload)))
        if message.payload == b"0":
            raise RuntimeError("poison")

    bus = Bus(broker)
    bus.subscribe("t", "g", handle, retry=FAST)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 0, key="a"), envelope("t", 1, key="a"), envelope("t", 2, key="b"))
        await settled(bus)
        assert seen == [("a", 0), ("b", 2), ("a", 0), ("a", 0), ("a", 1)]
        (letter,) = await bus.dead("g")
        assert (letter.attempts, letter.error) == (3, "RuntimeError: poison")


async def test_dead_letters_can_be_replayed_by_id_and_by_group(broker: Broker):
    log = Log(fails=2)
    bus = Bus(broker)
    bus.subscribe("t", "g", log, retry=Retry(1, on=(Exception,)))
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1), envelope("t", 2))
        await settled(bus)
        first, _ = await bus.dead()
        assert await bus.replay(first.id) == 1
        await settled(bus)
        assert await bus.replay(group="g") == 1
        await settled(bus)
        assert await bus.dead() == []
    assert log.seen == [1, 2, 1, 2]


async def test_an_error_that_the_retry_does_not_name_buries_at_once(broker: Broker):
    log = Log(fails=1, error=ValueError("unreadable"))
    bus = Bus(broker)
    bus.subscribe("t", "g", log, retry=Retry(5, on=(ConnectionError,)))
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await settled(bus)
        assert [letter.error for letter in await bus.dead()] == ["ValueError: unreadable"]
    assert log.seen == [1]


async def test_a_refusal_says_when_the_message_comes_again(broker: Broker):
    refusal = RejectedError()
    refusal.retry_after_s = 30.0
    log = Log(fails=1, error=refusal)
    bus = Bus(broker)
    bus.subscribe("t", "g", log, retry=FAST)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await settled(bus)
    assert 30.0 <= log.at_s[1] - log.at_s[0] <= 31.1


async def test_an_attempt_is_cut_at_its_time_limit(broker: Broker):
    log = Log(takes_s=100.0)
    bus = Bus(broker)
    bus.subscribe("t", "g", log, retry=Retry(2, per_attempt_s=5.0, on=(Exception,)))
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await settled(bus)
        (letter,) = await bus.dead()
        assert letter.error.startswith("OutOfTimeError")
    assert log.seen == [1, 1]


async def test_a_handler_that_runs_longer_than_its_lease_is_not_given_twice(broker: Broker):
    log = Log(takes_s=300.0)
    bus = Bus(broker)
    subscription = bus.subscribe("t", "g", log, lease_s=3.0)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await settled(bus)
    assert log.seen == [1]
    assert subscription.statistics().lost == 0


class LosesLeases(MemoryBroker):
    """A broker that says once that every lease has passed to somebody else."""

    losing = False

    async def extend(self, channel, deliveries, *, lease_s):
        if self.losing:
            self.losing = False
            await self.release(channel, deliveries)
            return list(deliveries)
        return await super().extend(channel, deliveries, lease_s=lease_s)


async def test_a_handler_whose_lease_was_lost_is_cancelled_and_settles_nothing():
    broker = LosesLeases()
    log = Log(takes_s=10.0)
    bus = Bus(broker)
    subscription = bus.subscribe("t", "g", log, lease_s=3.0)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await asyncio.sleep(0.5)
        broker.losing = True
        await settled(bus)
    assert log.seen == [1, 1]
    assert log.most == 1
    assert (subscription.statistics().handled, subscription.statistics().lost) == (1, 1)


@pytest.mark.real_time
async def test_a_loop_that_was_held_up_longer_than_a_lease_takes_no_message_from_its_own_handlers():
    seen: list[int] = []

    async def handle(message: Envelope) -> None:
        seen.append(int(message.payload))
        if message.payload == b"1":
            await asyncio.sleep(0.01)
            time.sleep(0.5)  # nothing else runs meanwhile, heartbeats neither
        await asyncio.sleep(0.05)

    bus = Bus("memory:")
    subscription = bus.subscribe("t", "g", handle, lease_s=0.2)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1), envelope("t", 2))
        await asyncio.sleep(0.02)
        await bus.send(envelope("t", 3))
        await settled(bus)
    assert sorted(seen) == [1, 2, 3]
    assert subscription.statistics().lost == 0


async def test_a_message_that_loses_its_lease_every_time_is_buried():
    class AlwaysLost(MemoryBroker):
        async def extend(self, channel, deliveries, *, lease_s):
            return list(deliveries)

    bus = Bus(AlwaysLost())
    log = Log(takes_s=1000.0)
    bus.subscribe("t", "g", log, lease_s=3.0, retry=FAST)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await settled(bus)
        assert [letter.error for letter in await bus.dead()] == ["its lease was lost 3 times"]
    assert log.seen == [1, 1, 1]


async def test_a_handler_runs_in_a_call_made_from_the_headers(broker: Broker):
    calls: list[context.Call] = []

    async def handle(message: Envelope) -> None:
        calls.append(context.current())

    trace = Trace(5, 6)
    headers = f'{{"traceparent":"{format_traceparent(trace)}","correlation_id":"order-1","caused_by":"ann"}}'
    told = envelope("t", 1)._replace(headers=headers.encode())
    bare = envelope("t", 2)
    broken = envelope("t", 3)._replace(headers=b"not json")
    bus = Bus(broker)
    bus.subscribe("t", "g", handle, principal=Principal("service:mailer"))
    with recorded() as spans:
        async with bus:
            await bus.start()
            await bus.send(told, bare, broken)
            await settled(bus)
    assert [call.principal.id for call in calls] == ["service:mailer"] * 3
    assert [call.correlation_id for call in calls] == ["order-1", bare.id, broken.id]
    assert [call.causation_id for call in calls] == [told.id, bare.id, broken.id]
    assert calls[0].key == f"g/{told.id}"
    assert [(s.trace_id, s.parent_id) for s in spans if s.ref == told.key] == [(5, 6)]
    assert [s.status for s in spans if s.kind == "consumer"] == ["ok"] * 3


@pytest.mark.parametrize("headers", [b"", b"nonsense", b"[]", b'{"traceparent": 5}', b'{"traceparent": "x"}'])
async def test_a_message_with_broken_headers_is_handled_without_them(headers: bytes):
    bus, traces = Bus(), []

    async def look(message: Envelope) -> None:
        traces.append((context.current().trace, context.current().correlation_id == message.id))

    bus.subscribe("t", "g", look)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1)._replace(headers=headers))
        await settled(bus, within_s=5.0)
    assert traces == [(None, True)]


async def test_a_handler_does_not_inherit_the_call_of_whoever_started_the_bus(broker: Broker):
    calls: list[context.Call] = []

    async def handle(message: Envelope) -> None:
        calls.append(context.current())

    bus = Bus(broker)
    bus.subscribe("t", "g", handle)
    async with bus:
        with context.enter(context.Call(principal=Principal("ann"), deadline_s=0.0)):
            await bus.start()
            await bus.send(envelope("t", 1))
        await settled(bus)
    assert (calls[0].principal.id, calls[0].deadline_s) == ("", None)


async def test_draining_lets_handlers_finish_and_takes_nothing_new(broker: Broker):
    log = Log(takes_s=2.0)
    bus = Bus(broker)
    bus.subscribe("t", "g", log, concurrency=2)
    async with bus:
        await bus.start()
        await bus.send(*[envelope("t", number) for number in range(4)])
        await asyncio.sleep(1.0)
        await bus.drain()
        assert (sorted(log.seen), log.running) == ([0, 1], 0)
        assert await bus.depth("g") == 2
        await bus.start()
        await settled(bus)
    assert sorted(log.seen) == [0, 1, 2, 3]


async def test_draining_hands_back_what_does_not_finish_in_time(broker: Broker):
    log = Log(takes_s=50.0)
    bus = Bus(broker, grace_s=5.0)
    bus.subscribe("t", "g", log)
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await asyncio.sleep(1.0)
        await bus.drain()
        log.takes_s = 0.0
        (backlog,) = await bus.backlogs()
        assert (backlog.depth, backlog.leased) == (1, 0)
        await bus.start()
        await settled(bus)
    assert log.seen == [1, 1]


async def test_a_handler_that_awaits_something_cancelled_has_failed(broker: Broker):
    async def handle(message: Envelope) -> None:
        task = asyncio.create_task(asyncio.sleep(100))
        task.cancel()
        await task

    bus = Bus(broker)
    bus.subscribe("t", "g", handle, retry=Retry(2, backoff=Exponential(0.1), on=(Exception,)))
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await settled(bus)
        assert [letter.attempts for letter in await bus.dead()] == [2]


async def test_sending_inside_a_transaction_is_refused(broker: Broker, tmp_path: Path):
    bus, log = Bus(broker), Log()
    bus.subscribe("t", "g", log)
    async with bus, Database(f"sqlite:///{tmp_path}/x.db") as db, Database(f"sqlite:///{tmp_path}/y.db") as other:
        async with db.transaction() as tx:
            # As a call to another service: nobody waits for a transaction that has not begun, so sending harms nobody.
            await bus.send(envelope("t", 1))
            await tx.execute("CREATE TABLE x (a)")
            with pytest.raises(SendInTransactionError, match=r"say tx\.publish"):
                await bus.send(envelope("t", 2))
            async with other.transaction():
                with pytest.raises(SendInTransactionError):
                    await bus.send(envelope("t", 3))
        await bus.send(envelope("t", 4))
        assert await bus.depth("g") == 2


@pytest.mark.parametrize("make", [MemoryBroker, SqliteBroker])
async def test_a_full_backlog_refuses_and_sends_nothing_of_the_call(make: type, tmp_path: Path):
    bus = Bus(make(f"sqlite:///{tmp_path}/bus.db", backlog_limit=3))
    bus.subscribe("t", "g", Log())
    async with bus:
        await bus.send(envelope("t", 1), envelope("t", 2))
        with pytest.raises(BacklogFullError) as refused:
            await bus.send(envelope("t", 3), envelope("t", 4))
        assert (refused.value.group, refused.value.depth, refused.value.limit) == ("g", 2, 3)
        assert refused.value.retry_after_s > 0
        await bus.send(envelope("t", 3))
        assert await bus.depth("g") == 3


async def test_old_dead_letters_are_swept_by_a_started_bus(broker: Broker):
    bus = Bus(broker, dead_retention_s=100.0, sweep_every_s=10.0)
    bus.subscribe("t", "g", Log(fails=1), retry=Retry(1, on=(Exception,)))
    async with bus:
        await bus.start()
        await bus.send(envelope("t", 1))
        await asyncio.sleep(90.0)
        assert len(await bus.dead()) == 1
        await asyncio.sleep(30.0)
        assert await bus.dead() == []


async def test_a_group_collects_while_its_consumer_is_away_and_can_be_forgotten(broker: Broker):
    bus = Bus(broker)
    bus.subscribe("t", "g", Log())
    async with bus:
        await bus.broker.declare(Channel("t", "old"), names=None)
        await bus.send(envelope("t", 1))
        assert await bus.depth("old") == 1
        with pytest.raises(SubscriptionError, match="subscribed here"):
            await bus.forget("g")
        assert await bus.forget("old") == 1
        assert await bus.depth("old") == 0
        assert await bus.forget("old") == 0


async def test_groups_are_listed_with_those_that_nobody_subscribes_any_more(broker: Broker):
    bus = Bus(broker)
    bus.subscribe("t", "g", Log())
    async with bus:
        for topic in ("u", "t"):
            await bus.broker.declare(Channel(topic, "old"), names=None)
        await bus.send(envelope("t", 1), envelope("t", 2), envelope("u", 3))
        assert await bus.groups() == [("t", "g", 2, True), ("t", "old", 2, False), ("u", "old", 1, False)]
        assert await bus.forget("old", topic="u") == 1
        assert await bus.groups() == [("t", "g", 2, True), ("t", "old", 2, False)]


async def test_a_group_is_forgotten_on_all_topics_or_if_one_is_subscribed_on_none(broker: Broker):
    bus = Bus(broker)
    bus.subscribe("u", "live", Log())
    async with bus:
        for topic in ("t", "u"):
            await bus.broker.declare(Channel(topic, "old"), names=None)
        await bus.broker.declare(Channel("t", "live"), names=None)
        await bus.send(envelope("t", 1), envelope("u", 2), envelope("u", 3))
        with pytest.raises(SubscriptionError, match="'live' to topic 'u': it is subscribed here"):
            await bus.forget("live")
        assert await bus.forget("old") == 3
        assert [group[:3] for group in await bus.groups()] == [("t", "live", 1), ("u", "live", 2)]


async def test_a_large_group_is_forgotten_in_parts_while_others_send(tmp_path: Path):
    broker = SqliteBroker(f"sqlite:///{tmp_path}/bus.db")
    bus, log = Bus(broker), Log()
    bus.subscribe("t", "g", log)
    async with bus:
        await broker.declare(Channel("u", "old"), names=None)
        await bus.send(*(envelope("u", number) for number in range(6_500)))
        await bus.start()
        forgetting = asyncio.create_task(bus.forget("old"))
        await asyncio.sleep(0)
        for number in range(50):
            await bus.send(envelope("t", number), envelope("u", number))
        assert await forgetting == 6_500
        await settled(bus)
        assert sorted(log.seen) == list(range(50))
        assert await broker.database.one(int, "SELECT count(*) FROM _archstone_bus_messages") == 0


async def test_a_group_that_is_subscribed_while_it_is_forgotten_is_registered_anew(broker: Broker):
    bus, log = Bus(broker), Log()
    async with bus:
        await broker.declare(Channel("t", "g"), names=None)
        await bus.send(envelope("t", 1))
        forgetting = asyncio.create_task(bus.forget("g"))
        await asyncio.sleep(0)
        bus.subscribe("t", "g", log)
        await bus.start()
        await asyncio.wait([forgetting])
        await bus.send(envelope("t", 2))
        await settled(bus)
        assert log.seen[-1] == 2


async def test_a_closed_bus_refuses(broker: Broker):
    bus = Bus(broker)
    with pytest.raises(BusClosedError, match="use it inside `async with bus:`"):
        await bus.send(envelope("t", 1))
    with pytest.raises(BusClosedError):
        await bus.start()


async def test_a_sender_that_is_cancelled_does_not_disturb_others(broker: Broker):
    log = Log()
    bus = Bus(broker)
    bus.subscribe("t", "g", log)
    async with bus:
        await bus.start()
        tasks = [asyncio.create_task(bus.send(envelope("t", number))) for number in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await settled(bus)
    assert set(log.seen) >= {0, 2}


def test_a_subscription_names_all_its_faults_at_once():
    def plain(message: Envelope) -> None: ...

    with pytest.raises(SubscriptionError) as refused:
        Bus("memory:").subscribe(
            "", "g", plain, names=[], concurrency=0, lease_s=float("nan"), retry=Retry(3, total_s=1.0)
        )
    assert str(refused.value) == (
        "subscription of group 'g' to topic '': topic must not be empty; handler must be a coroutine function "
        "(async def); names must not be empty; None means all; concurrency=0 must be at least 1; lease_s=nan must be "
        "above 0 and finite; retry.total_s=1.0 must be None: attempts outlive calls and processes"
    )


def test_a_second_subscription_of_a_group_is_refused():
    bus = Bus("memory:")
    bus.subscribe("t", "g", Log())
    with pytest.raises(SubscriptionError, match="this process has one already"):
        bus.subscribe("t", "g", Log())


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(UnknownBrokerError, match=r"'carrier-pigeon': known are memory, sqlite"):
        Bus("carrier-pigeon://roof")


async def test_who_wants_a_message_what_is_under_way_and_what_died_of_a_key_is_told(broker: Broker):
    async with Bus(broker) as bus:
        for group in ("mailer", "archive"):
            handler = Log(fails=9, error=ValueError("never")) if group == "mailer" else Log(takes_s=60)
            bus.subscribe(
                "orders", group, handler, names=["orders.happened"] if group == "mailer" else None, retry=FAST
            )
        assert bus.wanting("orders", "orders.happened") == ["archive", "mailer"]
        assert bus.wanting("orders", "orders.other") == ["archive"]
        assert bus.wanting("payments", "orders.happened") == []
        await bus.start()
        await bus.send(envelope("orders", 1, key="k"), envelope("orders", 2, key="k"))
        await asyncio.sleep(0.01)
        told = [(each.channel.group, each.state, int(each.envelope.payload)) for each in bus.under_way("k")]
        assert told == [
            ("mailer", "retrying", 1),
            ("mailer", "waiting", 2),
            ("archive", "running", 1),
            ("archive", "waiting", 2),
        ]
        await asyncio.sleep(30)
        newest, oldest = await bus.letters(key="k")
        assert (int(newest.envelope.payload), int(oldest.envelope.payload)) == (2, 1)
        assert await bus.drop(newest.id) == 1
        assert [letter.id for letter in await bus.letters(group="mailer")] == [oldest.id]


async def test_the_span_of_a_handler_names_the_message_and_when_it_was_published(broker: Broker):
    with recorded() as spans:
        async with Bus(broker) as bus:
            bus.subscribe("orders", "mailer", Log())
            await bus.start()
            await bus.send(message := envelope("orders", 1, key="k"))
            await asyncio.sleep(0.01)
    (handled,) = spans
    assert handled.attributes["message_id"] == message.id
    assert handled.attributes["published_us"] == message.at
