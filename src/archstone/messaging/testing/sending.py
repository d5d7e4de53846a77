"""What is sent, to whom it goes, and in which order."""

# ruff: noqa: D102 - the name of a test is its sentence

from archstone import world
from archstone.data import Envelope
from archstone.messaging.broker import Broker
from archstone.messaging.testing.desk import Suite, envelope, numbers

__all__ = ["SendingConformance"]


class SendingConformance(Suite):
    """From `send` to the groups that want a message."""

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
