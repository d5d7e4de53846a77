"""Both embedded brokers keep the promise of the suite, and broken ones are caught by it."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import pytest

from archstone import simulation
from archstone.data import Envelope
from archstone.messaging import Backlog, Broker, Channel, Delivery, UnderWay
from archstone.messaging.brokers.memory import MemoryBroker
from archstone.messaging.brokers.sqlite import SqliteBroker
from archstone.messaging.lane import Row
from archstone.messaging.testing import BrokerConformance


class TestMemoryBroker(BrokerConformance):
    @pytest.fixture
    async def broker(self) -> AsyncIterator[Broker]:
        broker = MemoryBroker()
        await broker.open()
        yield broker
        await broker.close()


class TestSqliteBroker(BrokerConformance):
    durable = True

    @pytest.fixture
    async def broker(self, tmp_path: Path) -> AsyncIterator[Broker]:
        broker = SqliteBroker(f"sqlite:///{tmp_path}/bus.db")
        await broker.open()
        yield broker
        await broker.close()


class AtMostOnce(MemoryBroker):
    """Forgets a message when it hands it out, as huey does."""

    async def lease(self, channel: Channel, *, limit: int, lease_s: float) -> Sequence[Delivery]:
        leased = await super().lease(channel, limit=limit, lease_s=lease_s)
        await super().settle(channel, leased)
        return leased


class Unordered(MemoryBroker):
    """Gives every message a key of its own."""

    async def send(self, envelopes: Sequence[Envelope]) -> None:
        await super().send([envelope._replace(key=envelope.id) for envelope in envelopes])


class NeverExpires(MemoryBroker):
    """Keeps a message with a consumer that has died."""

    async def lease(self, channel: Channel, *, limit: int, lease_s: float) -> Sequence[Delivery]:
        return await super().lease(channel, limit=limit, lease_s=1e9)


class IgnoresTheToken(MemoryBroker):
    """Lets a consumer settle what has passed to another."""

    async def settle(self, channel: Channel, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        leased = self._queues[channel].lane.leased
        named = {row.envelope.id: token for token, row in leased.items()}
        tokens = [named.get(delivery.envelope.id, delivery.token) for delivery in deliveries]
        await super().settle(
            channel, [Delivery(d.envelope, d.attempt, t) for d, t in zip(deliveries, tokens, strict=True)]
        )
        return []


class RetriesAtOnce(MemoryBroker):
    """Forgets the delay, and with it the key that it should block."""

    async def retry(self, channel: Channel, delivery: Delivery, *, delay_s: float) -> bool:
        return await super().retry(channel, delivery, delay_s=0.0)


class RetriesBehindTheOthers(MemoryBroker):
    """Puts a failed message at the end, and lets the later ones of its key go first."""

    async def retry(self, channel: Channel, delivery: Delivery, *, delay_s: float) -> bool:
        if not await super().settle(channel, [delivery]):
            asyncio.get_running_loop().call_later(delay_s, self._again, channel, delivery)
            return True
        return False

    def _again(self, channel: Channel, delivery: Delivery) -> None:
        self._queues[channel].lane.arrive(Row(delivery.envelope, 0))
        self._queues[channel].depth += 1


class LosesTheDead(MemoryBroker):
    """Acknowledges what has failed for good and keeps nothing of it."""

    async def bury(self, channel: Channel, delivery: Delivery, *, error: str) -> bool:
        return not await super().settle(channel, [delivery])


class ReplaysToEverybody(MemoryBroker):
    """Sends a dead letter to the whole topic."""

    async def replay(self, ids: Collection[int]) -> int:
        letters = [self._dead.pop(id_) for id_ in ids if id_ in self._dead]
        await self.send([letter.envelope for letter in letters])
        return len(letters)


class CountsReleases(MemoryBroker):
    """Takes a drain for a failure."""

    async def release(self, channel: Channel, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            await super().retry(channel, delivery, delay_s=0.0)
        await asyncio.sleep(0)


class NeverWakes(MemoryBroker):
    """Leaves its consumers to their polling."""

    def listen(self, channel: Channel, wake: object) -> None:
        pass


class ForgetsNothing(MemoryBroker):
    """Says that it has forgotten a group."""

    async def forget(self, channel: Channel) -> int:
        return 0


class DropsNothing(MemoryBroker):
    async def drop(self, ids: Collection[int]) -> int:
        return len(ids)


class TellsOfNothingUnderWay(MemoryBroker):
    def under_way(self, key: str) -> Sequence[UnderWay]:
        return []


class HidesFailures(MemoryBroker):
    """Counts a message that waits for another attempt as one that merely waits."""

    async def backlogs(self) -> Sequence[Backlog]:
        return [backlog._replace(retrying=0) for backlog in await super().backlogs()]


BROKEN = (
    AtMostOnce,
    Unordered,
    NeverExpires,
    IgnoresTheToken,
    RetriesAtOnce,
    RetriesBehindTheOthers,
    LosesTheDead,
    ReplaysToEverybody,
    CountsReleases,
    NeverWakes,
    ForgetsNothing,
    HidesFailures,
    DropsNothing,
    TellsOfNothingUnderWay,
)


def faults(make: type[MemoryBroker]) -> list[str]:
    """Return the tests of the suite that a broker fails."""
    failed: list[str] = []
    for name, test in inspect.getmembers(BrokerConformance, inspect.iscoroutinefunction):
        if not name.startswith("test_"):
            continue

        async def run(test: object = test) -> None:
            await test(BrokerConformance(), make())  # type: ignore[operator]

        try:
            simulation.run(run)
        except (AssertionError, IndexError, ValueError):
            failed.append(name)
    return failed


def test_a_sound_broker_fails_nothing():
    assert faults(MemoryBroker) == []


@pytest.mark.parametrize("broken", BROKEN)
def test_the_suite_catches(broken: type[MemoryBroker]):
    assert faults(broken) != []
