"""Who holds a message, and for how long."""

# ruff: noqa: D102 - the name of a test is its sentence

from archstone.messaging.broker import Broker
from archstone.messaging.testing.desk import Suite, numbers

__all__ = ["LeasingConformance"]


class LeasingConformance(Suite):
    """Leases and their tokens."""

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
