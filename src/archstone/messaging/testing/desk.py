"""One channel of a broker with the verbs of a test, and the messages to test with."""

# ruff: noqa: D102 - the verbs are those of `Broker`

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from archstone import world
from archstone.data import Envelope
from archstone.messaging.broker import Backlog, Broker, Channel, DeadLetter, Delivery

__all__ = ["LIMIT", "Desk", "Suite", "envelope", "numbers"]

LIMIT: Final = 100
"""Messages taken at once, more than any test sends."""


def envelope(
    topic: str, number: int = 0, *, key: str | None = None, name: str | None = None, payload: bytes | None = None
) -> Envelope:
    """Return a message to test with. Without `key` it has its id as key: no order."""
    message_id = world.new_id()
    content = payload if payload is not None else str(number).encode()
    return Envelope(
        message_id, topic, name or f"{topic}.happened", 1, key or message_id, content, b"{}", world.now_us()
    )  # fmt: skip


class Desk:
    """One channel of a broker, with the verbs of a test."""

    def __init__(self, broker: Broker, channel: Channel, lease_s: float) -> None:
        self.broker = broker
        self.channel = channel
        self.lease_s = lease_s

    async def send(self, number: int = 0, *, key: str | None = None, name: str | None = None) -> Envelope:
        message = envelope(self.channel.topic, number, key=key, name=name)
        await self.broker.send([message])
        return message

    async def lease(self, limit: int = LIMIT) -> Sequence[Delivery]:
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
        found = await self.broker.dead(group=self.channel.group, limit=LIMIT)
        return [letter for letter in found if letter.channel == self.channel]


def numbers(deliveries: Sequence[Delivery]) -> list[int]:
    """Return the payloads as the numbers that `envelope` put there."""
    return [int(delivery.envelope.payload) for delivery in deliveries]


class Suite:
    """What every part of the suite needs."""

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

    async def desk(self, broker: Broker, *, group: str = "g", names: Sequence[str] | None = None) -> Desk:
        """Declare a channel of a topic that no other test has."""
        return await self.join(broker, f"t{world.new_id()}", group=group, names=names)

    async def join(self, broker: Broker, topic: str, *, group: str, names: Sequence[str] | None = None) -> Desk:
        """Declare a channel of `topic`."""
        await broker.declare(Channel(topic, group), names=names)
        return Desk(broker, Channel(topic, group), self.lease_s)
