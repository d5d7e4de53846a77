"""What becomes of a message whose handler fails."""

# ruff: noqa: D102 - the name of a test is its sentence

from archstone import world
from archstone.messaging.broker import Broker
from archstone.messaging.testing.desk import LIMIT, Suite

__all__ = ["FailingConformance"]


class FailingConformance(Suite):
    """Retries and dead letters."""

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

    async def test_letters_are_listed_newest_first_page_by_page_by_group_or_key(self, broker: Broker) -> None:
        desk = await self.desk(broker, group=f"g{world.new_id()}")
        group, key = desk.channel.group, world.new_id()
        for number in range(4):
            await desk.send(number, key=key if number % 2 else None)
            await broker.bury(desk.channel, await desk.one(), error="x")
        first = await broker.letters(group=group, limit=3)
        assert [int(letter.envelope.payload) for letter in first] == [3, 2, 1]
        second = await broker.letters(group=group, before=first[-1].id, limit=3)
        assert [int(letter.envelope.payload) for letter in second] == [0]
        assert [int(letter.envelope.payload) for letter in await broker.letters(key=key)] == [3, 1]
        assert await broker.letters(group="somebody else", key=key) == []

    async def test_a_dropped_dead_letter_is_gone_and_the_others_stay(self, broker: Broker) -> None:
        desk = await self.desk(broker, group=f"g{world.new_id()}")
        for number in range(3):
            await desk.send(number)
            await broker.bury(desk.channel, await desk.one(), error="x")
        ids = [letter.id for letter in await desk.dead()]
        assert await broker.drop(ids[:2]) == 2
        assert await broker.drop(ids[:2]) == 0
        assert [letter.id for letter in await desk.dead()] == ids[2:]
        assert await broker.replay(ids[:2]) == 0

    async def test_what_is_under_way_of_a_key_is_told_with_its_state(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        for number in range(3):
            await desk.send(number, key="k")
        await desk.send(3, key="other")

        def told() -> list[tuple[int, str, int]]:
            found = [each for each in broker.under_way("k") if each.channel == desk.channel]
            return [(int(each.envelope.payload), each.state, each.attempts) for each in found]

        assert told() == [(0, "waiting", 0), (1, "waiting", 0), (2, "waiting", 0)]
        first, other = await desk.lease()
        assert told() == [(0, "running", 0), (1, "waiting", 0), (2, "waiting", 0)]
        await broker.retry(desk.channel, first, delay_s=self.lease_s / 2)
        assert told()[0] == (0, "retrying", 1)
        await self.pass_time(self.lease_s * 0.6)
        await desk.settle(await desk.one())
        assert told() == [(1, "waiting", 0), (2, "waiting", 0)]
        await desk.settle(other)
        assert await desk.numbers() == [1, 2]
        assert told() == []

    async def test_a_sweep_drops_old_dead_letters_and_surplus_ones(self, broker: Broker) -> None:
        desk = await self.desk(broker)
        for number in range(4):
            await desk.send(number)
            await broker.bury(desk.channel, await desk.one(), error="x")
            await self.pass_time(self.lease_s)
        assert await broker.sweep(dead_retention_s=self.lease_s * 3.5, dead_limit=LIMIT) == 1
        assert await broker.sweep(dead_retention_s=self.lease_s * 100, dead_limit=2) == 1
        assert [int(letter.envelope.payload) for letter in await desk.dead()] == [2, 3]
