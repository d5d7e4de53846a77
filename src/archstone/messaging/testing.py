"""What every broker must do, executable: subclass `BrokerConformance` and provide a `broker` fixture.

    class TestMyBroker(BrokerConformance):
        durable = True

        @pytest.fixture
        async def broker(self):
            broker = MyBroker("my://...")
            await broker.open()
            yield broker
            await broker.close()

The suite waits by `pass_time`; run it on virtual time (`archstone.simulation`), or set `lease_s` to a fraction of a
second for a broker whose server has a clock of its own. Each test uses topics of its own, so a server may be shared.
"""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from archstone import world
from archstone.data import Envelope
from archstone.messaging.broker import Backlog, Broker, Channel, DeadLetter, Delivery

__all__ = ["BrokerConformance", "envelope"]

_LIMIT: Final = 100


def envelope(
    topic: str, number: int = 0, *, key: str | None = None, name: str | None = None, payload: bytes | None = None
) -> Envelope:
    """Return a message to test with. Without `key` it has its id as key: no order."""
    message_id = world.new_id()
    content = payload if payload is not None else str(number).encode()
    return Envelope(
        message_id, topic, name or f"{topic}.happened", 1, key or message_id, content, b"{}", world.now_us()
    )  # fmt: skip


class _Desk:
    """One channel of a broker, with the verbs of a test."""

    def __init__(self, broker: Broker, channel: Channel, lease_s: float) -> None:
        self.broker = broker
        self.channel = channel
        self.lease_s = lease_s

    async def send(self, number: int = 0, *, key: str | None = None, name: str | None = None) -> Envelope:
        message = envelope(self.channel.topic, number, key=key, name=name)
        await self.broker.send([message])
        return message

    async def lease(self, limit: int = _LIMIT) -> Sequence[Delivery]:
        return await self.broker.lease(self.channel, limit=limit, lease_s=self.lease_s)

    async def one(self) -> Delivery:
        leased = await self.lease(1)
        assert len(leased) == 1, f"one message was due, {len(leased)} were leased"
        return leased[0]

    async def settle(self, *deliveries: Delivery) -> list[Delivery]:
        return list(await self.broker.settle(self.channel, deliveries))

    async def numbers(self) -> list[int]:
        """Lease and settle until nothing is due; return what came, in order."""
        came: list[int] = []
        while leased := await self.lease():
            came += numbers(leased)
            await self.settle(*leased)
        return came

    async def backlog(self) -> Backlog:
        found = [backlog for backlog in await self.broker.backlogs() if backlog.channel == self.channel]
        assert len(found) == 1, f"{self.channel} must be listed once"
        return found[0]

    async def dead(self) -> list[DeadLetter]:
        found = await self.broker.dead(group=self.channel.group, limit=_LIMIT)
        return [letter for letter in found if letter.channel == self.channel]


def numbers(deliveries: Sequence[Delivery]) -> list[int]:
    """Return the payloads as the numbers that `envelope` put there."""
    return [int(delivery.envelope.payload) for delivery in deliveries]


class BrokerConformance:
    """The promise of `Broker`, one test per sentence."""

    lease_s: ClassVar[float] = 30.0
    """Lease of each test, seconds."""
    durable: ClassVar[bool] = False
    """Whether messages outlive `close` and `open`. The tests that need it return at once otherwise."""

    async def pass_time(self, seconds: float) -> None:
        """Wait: virtual time jumps, a server with a clock of its own needs the real thing."""
        await asyncio.sleep(seconds)

    async def reopen(self, broker: Broker) -> None:
        """Close the broker and open it again, as a new process would."""
        await broker.close()
        await broker.open()

    async def desk(self, broker: Broker, *, group: str = "g", names: Sequence[str] | None = None) -> _Desk:
        """Declare a channel of a topic that no other test has."""
        return await self.join(broker, f"t{world.new_id()}", group=group, names=names)

    async def join(self, broker: Broker, topic: str, *, group: str, names: Sequence[str] | None = None) -> _Desk:
        """Declare a channel of `topic`."""
        await broker.declare(Channel(topic, group), names=names)
        return _Desk(broker, Channel(topic, group), self.lease_s)

    # what is sent, and to whom

    async def test_a_message_arrives_as_it_was_sent(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        message = Envelope("id-1", desk.channel.topic, "a.b", 7, "käy", b"\x00\xff{}", b'{"correlation_id":"c"}', 5)
        await broker.send([message])
        delivery = await desk.one()
        assert delivery.envelope == message
        assert delivery.attempt == 1

    async def test_every_group_gets_a_message_once(self, broker: Broker) -> None:
        desks = [await self.desk(broker, group="a")]
        desks.append(await self.join(broker, desks[0].channel.topic, group="b"))
        await desks[0].send(1)
        assert [await desk.numbers() for desk in desks] == [[1], [1]]

    async def test_a_message_that_no_group_wants_is_dropped(self, broker: Broker) -> None:
        topic = f"t{world.new_id()}"
        await broker.send([envelope(topic, 1)])
        desk = await self.join(broker, topic, group="late")
        assert await desk.numbers() == []
        assert (await desk.backlog()).depth == 0

    async def test_a_group_gets_only_the_names_it_wants(self, broker: Broker) -> None:
        desk = await self.desk(broker, names=["x.wanted"])
        await desk.send(1, name="x.other")
        await desk.send(2, name="x.wanted")
        assert await desk.numbers() == [2]

    async def test_declaring_again_changes_the_names_and_keeps_what_waits(self, broker: Broker) -> None:
        desk = await self.desk(broker, names=["x.first"])
        await desk.send(1, name="x.first")
        await broker.declare(desk.channel, names=["x.first", "x.second"])
        await desk.send(2, name="x.second")
        await broker.declare(desk.channel, names=None)
        await desk.send(3, name="x.third")
        assert await desk.numbers() == [1, 2, 3]

    async def test_many_messages_are_sent_at_once_in_order(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await broker.send([envelope(desk.channel.topic, number, key="k") for number in range(20)])
        assert await desk.numbers() == list(range(20))

    # order

    async def test_two_messages_of_a_key_are_never_out_at_once(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send(1, key="k")
        await desk.send(2, key="k")
        first = await desk.lease()
        assert numbers(first) == [1]
        assert await desk.lease() == []
        await desk.settle(*first)
        assert numbers(await desk.lease()) == [2]

    async def test_other_keys_go_on_beside_a_key_that_is_out(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        for number, key in enumerate(("a", "a", "b", "c", "b")):
            await desk.send(number, key=key)
        assert numbers(await desk.lease()) == [0, 2, 3]

    async def test_messages_without_a_key_go_out_together(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        for number in range(3):
            await desk.send(number)
        assert numbers(await desk.lease()) == [0, 1, 2]

    async def test_the_same_key_in_another_group_is_independent(self, broker: Broker) -> None:
        one = await self.desk(broker, group="a")
        other = await self.join(broker, one.channel.topic, group="b")
        await one.send(1, key="k")
        await one.send(2, key="k")
        assert numbers(await one.lease()) == [1]
        assert await other.numbers() == [1, 2]

    async def test_no_more_than_the_limit_is_leased(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        for number in range(5):
            await desk.send(number)
        assert len(await desk.lease(2)) == 2
        assert len(await desk.lease(10)) == 3

    # leases

    async def test_a_leased_message_is_not_leased_again(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send()
        assert len(await desk.lease()) == 1
        assert await desk.lease() == []
        assert (await desk.backlog())[1:3] == (1, 1)

    async def test_a_settled_message_never_comes_again(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send()
        assert await desk.settle(await desk.one()) == []
        await self.pass_time(self.lease_s * 2)
        assert await desk.lease() == []
        assert (await desk.backlog())[1:] == (0, 0, 0, 0)

    async def test_a_message_whose_lease_ran_out_comes_again_as_the_next_attempt(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send(1, key="k")
        await desk.send(2, key="k")
        first = await desk.one()
        await self.pass_time(self.lease_s * 1.1)
        again = await desk.lease()
        assert numbers(again) == [1]
        assert again[0].attempt == 2
        assert again[0].token != first.token

    async def test_a_lease_lasts_as_long_as_it_says(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send()
        await desk.one()
        await self.pass_time(self.lease_s * 0.8)
        assert await desk.lease() == []

    async def test_an_extended_lease_does_not_run_out(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send()
        delivery = await desk.one()
        for _ in range(4):
            await self.pass_time(self.lease_s * 0.6)
            assert await broker.extend(desk.channel, [delivery], lease_s=self.lease_s) == []
            assert await desk.lease() == []
        assert await desk.settle(delivery) == []

    async def test_a_lost_lease_is_refused_by_every_verb_and_the_new_holder_keeps_the_message(
        self, broker: Broker
    ) -> None:
        # A leases, A stalls, B leases, A goes on: the token refuses A.
        desk = await self.desk(broker)
        await desk.send(1, key="k")
        stale = await desk.one()
        await self.pass_time(self.lease_s * 1.1)
        fresh = await desk.one()
        assert list(await broker.extend(desk.channel, [stale], lease_s=self.lease_s)) == [stale]
        assert await desk.settle(stale) == [stale]
        assert not await broker.retry(desk.channel, stale, delay_s=0.0)
        assert not await broker.bury(desk.channel, stale, error="stale")
        await broker.release(desk.channel, [stale])
        assert await desk.lease() == []
        assert await desk.dead() == []
        assert await desk.settle(fresh) == []

    async def test_settling_twice_is_refused_the_second_time(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send()
        delivery = await desk.one()
        assert await desk.settle(delivery) == []
        assert await desk.settle(delivery) == [delivery]
        assert (await desk.backlog()).depth == 0

    async def test_a_released_message_comes_again_at_once_as_the_same_attempt_and_in_its_place(
        self, broker: Broker
    ) -> None:
        desk = await self.desk(broker)
        await desk.send(1, key="k")
        await desk.send(2, key="k")
        delivery = await desk.one()
        await broker.release(desk.channel, [delivery])
        again = await desk.one()
        assert (numbers([again]), again.attempt) == ([1], 1)
        assert await desk.settle(delivery) == [delivery]

    # failure

    async def test_a_retried_message_comes_again_after_its_delay(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send(1)
        assert await broker.retry(desk.channel, await desk.one(), delay_s=self.lease_s)
        await self.pass_time(self.lease_s * 0.5)
        assert await desk.lease() == []
        await self.pass_time(self.lease_s * 0.6)
        assert (await desk.one()).attempt == 2

    async def test_messages_that_wait_for_another_attempt_are_counted(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        for number in range(3):
            await desk.send(number)
        for delivery in await desk.lease(2):
            await broker.retry(desk.channel, delivery, delay_s=self.lease_s)
        assert (await desk.backlog())[1:] == (3, 0, 2, 0)
        await self.pass_time(self.lease_s * 1.1)
        assert len(await desk.lease()) == 3
        assert (await desk.backlog())[1:] == (3, 3, 0, 0)

    async def test_a_message_that_waits_for_its_retry_blocks_its_key_and_no_other(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        await desk.send(1, key="a")
        assert await broker.retry(desk.channel, await desk.one(), delay_s=self.lease_s)
        await desk.send(2, key="a")
        await desk.send(3, key="b")
        assert await desk.numbers() == [3]
        await self.pass_time(self.lease_s * 1.1)
        assert await desk.numbers() == [1, 2]

    async def test_burying_keeps_the_message_as_a_dead_letter_and_frees_its_key(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        message = await desk.send(1, key="k")
        await desk.send(2, key="k")
        assert await broker.bury(desk.channel, await desk.one(), error="ValueError: no")
        (letter,) = await desk.dead()
        assert (letter.channel, letter.envelope) == (desk.channel, message)
        assert (letter.attempts, letter.error) == (1, "ValueError: no")
        assert letter.buried_at.utcoffset() is not None
        assert await desk.numbers() == [2]
        assert (await desk.backlog())[1:] == (0, 0, 0, 1)

    async def test_a_replayed_dead_letter_goes_to_its_own_group_with_attempts_from_one(self, broker: Broker) -> None:
        desk = await self.desk(broker, group="a")
        other = await self.join(broker, desk.channel.topic, group="b")
        message = await desk.send(1)
        assert await broker.retry(desk.channel, await desk.one(), delay_s=0.0)
        assert await broker.bury(desk.channel, await desk.one(), error="x" * 5000)
        assert await other.numbers() == [1]
        (letter,) = await desk.dead()
        assert letter.attempts == 2
        assert len(letter.error) == 2000
        assert await broker.replay([letter.id]) == 1
        assert await desk.dead() == []
        again = await desk.one()
        assert (again.envelope, again.attempt) == (message, 1)
        assert await other.lease() == []
        assert await broker.replay([letter.id]) == 0

    async def test_dead_letters_are_listed_oldest_first_by_group(self, broker: Broker) -> None:
        desk = await self.desk(broker, group=f"g{world.new_id()}")
        other = await self.join(broker, desk.channel.topic, group=f"h{world.new_id()}")
        for number in range(3):
            await desk.send(number)
            await broker.bury(desk.channel, await desk.one(), error="x")
        await broker.bury(other.channel, await other.one(), error="x")
        mine = await broker.dead(group=desk.channel.group, limit=2)
        assert [int(letter.envelope.payload) for letter in mine] == [0, 1]
        assert len(await broker.dead(group=other.channel.group, limit=10)) == 1

    async def test_a_sweep_drops_old_dead_letters_and_surplus_ones(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        for number in range(4):
            await desk.send(number)
            await broker.bury(desk.channel, await desk.one(), error="x")
            await self.pass_time(self.lease_s)
        assert await broker.sweep(dead_retention_s=self.lease_s * 3.5, dead_limit=_LIMIT) == 1
        assert await broker.sweep(dead_retention_s=self.lease_s * 100, dead_limit=2) == 1
        assert [int(letter.envelope.payload) for letter in await desk.dead()] == [2, 3]

    # registration and waking

    async def test_a_forgotten_group_gets_nothing_and_leaves_nothing(self, broker: Broker) -> None:
        desk = await self.desk(broker, group="gone")
        stays = await self.join(broker, desk.channel.topic, group="stays")
        await desk.send(1)
        await desk.send(2)
        await broker.bury(desk.channel, await desk.one(), error="x")
        assert await broker.forget(desk.channel) == 1
        assert await broker.forget(desk.channel) == 0
        await stays.send(3)
        assert await stays.numbers() == [1, 2, 3]
        await broker.declare(desk.channel, names=None)
        assert await desk.numbers() == []
        assert await desk.dead() == []

    async def test_whoever_listens_is_woken_when_a_message_can_be_leased(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        woken = asyncio.Event()
        broker.listen(desk.channel, woken.set)
        await desk.send(1, key="k")
        await desk.send(2, key="k")
        await self._woken(woken, "a message was sent")
        first = await desk.one()
        woken.clear()
        await desk.settle(first)
        await self._woken(woken, "its key was freed")
        second = await desk.one()
        woken.clear()
        await broker.retry(desk.channel, second, delay_s=self.lease_s)
        await self.pass_time(self.lease_s)
        await self._woken(woken, "its retry was due")
        third = await desk.one()
        woken.clear()
        await broker.release(desk.channel, [third])
        await self._woken(woken, "it was handed back")

    async def _woken(self, woken: asyncio.Event, why: str) -> None:
        try:
            await asyncio.wait_for(woken.wait(), self.lease_s)
        except TimeoutError:
            raise AssertionError(f"nobody was woken although {why}") from None

    # durability

    async def test_what_is_not_settled_comes_again_in_order_after_reopening(self, broker: Broker) -> None:
        if not self.durable:
            return
        desk = await self.desk(broker)
        for number in range(4):
            await desk.send(number, key="k")
        await desk.settle(await desk.one())
        await desk.one()
        await self.reopen(broker)
        assert (await desk.backlog())[1:] == (3, 0, 0, 0)
        assert await desk.numbers() == [1, 2, 3]

    async def test_registrations_and_names_outlive_reopening(self, broker: Broker) -> None:
        if not self.durable:
            return
        desk = await self.desk(broker, names=["x.wanted"])
        await self.reopen(broker)
        await desk.send(1, name="x.other")
        await desk.send(2, name="x.wanted")
        assert await desk.numbers() == [2]

    async def test_a_forgotten_group_stays_forgotten_after_reopening(self, broker: Broker) -> None:
        if not self.durable:
            return
        desk = await self.desk(broker, group="gone")
        stays = await self.join(broker, desk.channel.topic, group="stays")
        await desk.send(1)
        await self.reopen(broker)
        assert (await desk.backlog()).depth == 1
        assert await broker.forget(desk.channel) == 1
        await self.reopen(broker)
        listed = [backlog.channel for backlog in await broker.backlogs() if backlog.channel.topic == desk.channel.topic]
        assert listed == [stays.channel]
        assert await stays.numbers() == [1]

    async def test_a_failed_attempt_and_its_delay_outlive_reopening(self, broker: Broker) -> None:
        if not self.durable:
            return
        desk = await self.desk(broker)
        await desk.send(1, key="k")
        await desk.send(2, key="k")
        await broker.retry(desk.channel, await desk.one(), delay_s=self.lease_s)
        await self.reopen(broker)
        assert await desk.lease() == []
        assert (await desk.backlog()).retrying == 1
        await self.pass_time(self.lease_s * 1.1)
        assert (await desk.one()).attempt == 2

    async def test_dead_letters_outlive_reopening_and_can_be_replayed(self, broker: Broker) -> None:
        if not self.durable:
            return
        desk = await self.desk(broker)
        await desk.send(1)
        await broker.bury(desk.channel, await desk.one(), error="x")
        await self.reopen(broker)
        assert await broker.replay([letter.id for letter in await desk.dead()]) == 1
        assert await desk.numbers() == [1]
