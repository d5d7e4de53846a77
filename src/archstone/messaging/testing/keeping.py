"""What a broker remembers, of groups and over a restart, and whom it wakes."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio

from archstone.messaging.broker import Broker
from archstone.messaging.testing.desk import Suite

__all__ = ["KeepingConformance"]


class KeepingConformance(Suite):
    """Registration, waking and durability."""

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
