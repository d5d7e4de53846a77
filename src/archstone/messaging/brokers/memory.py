"""A broker in memory: for tests, and for work that may be lost with the process.

It keeps every promise of `Broker` except durability: what is not handled when the process ends is gone.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from itertools import count

from archstone import world
from archstone.data import Envelope
from archstone.messaging.broker import Backlog, Channel, DeadLetter, Delivery, UnderWay
from archstone.messaging.errors import BacklogFullError
from archstone.messaging.lane import UNDER_WAY_LIMIT, Lane, Row

__all__ = ["MemoryBroker"]


class _Queue:
    """A channel: its lane, and how many messages are not settled."""

    __slots__ = ("depth", "lane")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.depth = 0


class MemoryBroker:
    """Keeps messages in memory, at most `backlog_limit` unsettled ones per channel."""

    def __init__(self, url: str = "memory:", *, backlog_limit: int = 100_000) -> None:
        self._url = url
        self._backlog_limit = backlog_limit
        self._queues: dict[Channel, _Queue] = {}
        self._by_topic: dict[str, list[_Queue]] = {}
        self._dead: dict[int, DeadLetter] = {}
        self._position = count(1)
        self._dead_id = count(1)

    def __repr__(self) -> str:
        return "MemoryBroker()"

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Hand back every lease. What is waiting stays for the next `open` of this object."""
        for queue in self._queues.values():
            queue.lane.release([Delivery(row.envelope, 0, token) for token, row in queue.lane.leased.items()])

    async def declare(self, channel: Channel, *, names: Collection[str] | None) -> None:
        """Register the channel, or change the names that it wants."""
        wanted = None if names is None else frozenset(names)
        if (known := self._queues.get(channel)) is not None:
            known.lane.names = wanted
            return
        queue = self._queues[channel] = _Queue(Lane(channel, wanted))
        self._by_topic.setdefault(channel.topic, []).append(queue)

    async def send(self, envelopes: Sequence[Envelope]) -> None:
        """Keep one delivery per envelope and channel that wants it, all or none."""
        wanted = [
            (queue, envelope)
            for envelope in envelopes
            for queue in self._by_topic.get(envelope.topic, ())
            if queue.lane.wants(envelope.name)
        ]
        for queue, _ in wanted:
            if queue.depth + len(envelopes) > self._backlog_limit:
                raise BacklogFullError(*queue.lane.channel, queue.depth, self._backlog_limit)
        trace = getattr(world.current(), "trace", None)
        for queue, envelope in wanted:
            if trace is not None:
                trace.message(envelope.topic, envelope.id, envelope.payload)  # a simulated run sums up what happens
            queue.depth += 1
            queue.lane.arrive(Row(envelope, next(self._position)))
        for queue in {id(queue): queue for queue, _ in wanted}.values():
            queue.lane.wake()

    async def lease(self, channel: Channel, *, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Hand out up to `limit` messages that may go out now."""
        return self._queues[channel].lane.take(limit, lease_s=lease_s)

    async def extend(self, channel: Channel, deliveries: Sequence[Delivery], *, lease_s: float) -> Sequence[Delivery]:
        """Lease these for `lease_s` from now; return the lost ones."""
        return self._queues[channel].lane.extend(deliveries, lease_s=lease_s)

    async def settle(self, channel: Channel, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Forget these for good; return the refused ones."""
        queue = self._queues[channel]
        refused = [delivery for delivery in deliveries if queue.lane.remove(delivery.token) is None]
        queue.depth -= len(deliveries) - len(refused)
        queue.lane.wake()
        return refused

    async def retry(self, channel: Channel, delivery: Delivery, *, delay_s: float) -> bool:
        """Hand it out again after `delay_s`."""
        lane = self._queues[channel].lane
        if lane.postpone(delivery.token, delay_s=delay_s) is None:
            return False
        asyncio.get_running_loop().call_later(delay_s, lane.wake)
        return True

    async def bury(self, channel: Channel, delivery: Delivery, *, error: str) -> bool:
        """Move it to the dead letters."""
        queue = self._queues[channel]
        if queue.lane.remove(delivery.token) is None:
            return False
        queue.depth -= 1
        letter = DeadLetter(
            next(self._dead_id), channel, delivery.envelope, delivery.attempt, error[:2000], world.now()
        )
        self._dead[letter.id] = letter
        queue.lane.wake()
        return True

    async def release(self, channel: Channel, deliveries: Sequence[Delivery]) -> None:
        """Hand these back as if never leased."""
        lane = self._queues[channel].lane
        lane.release(deliveries)
        lane.wake()

    def listen(self, channel: Channel, wake: Callable[[], None]) -> None:
        """Call `wake` when there may be something to lease."""
        self._queues[channel].lane.wake = wake

    async def dead(self, *, group: str | None = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first."""
        letters = [letter for letter in self._dead.values() if group is None or letter.channel.group == group]
        return letters[:limit]

    async def letters(
        self, *, group: str | None = None, key: str | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, newest first."""
        letters = [
            letter
            for letter in reversed(self._dead.values())
            if (group is None or letter.channel.group == group)
            and (key is None or letter.envelope.key == key)
            and (before is None or letter.id < before)
        ]
        return letters[:limit]

    async def drop(self, ids: Collection[int]) -> int:
        """Delete these for good."""
        return sum(self._dead.pop(id_, None) is not None for id_ in set(ids))

    def under_way(self, key: str) -> Sequence[UnderWay]:
        """Return what is not settled of a key."""
        return [each for queue in self._queues.values() for each in queue.lane.under_way(key)][:UNDER_WAY_LIMIT]

    async def replay(self, ids: Collection[int]) -> int:
        """Send these to their channels again."""
        letters = [self._dead.pop(id_) for id_ in sorted(ids) if id_ in self._dead]
        for letter in letters:
            queue = self._queues[letter.channel]
            queue.depth += 1
            queue.lane.arrive(Row(letter.envelope, next(self._position)))
            queue.lane.wake()
        return len(letters)

    async def backlogs(self) -> Sequence[Backlog]:
        """Return how far each channel is behind."""
        letters = [letter.channel for letter in self._dead.values()]
        return [
            Backlog(channel, queue.depth, len(queue.lane.leased), queue.lane.retrying, letters.count(channel))
            for channel, queue in self._queues.items()
        ]

    async def forget(self, channel: Channel) -> int:
        """Unregister the channel and drop what waits for it."""
        queue = self._queues.pop(channel, None)
        if queue is None:
            return 0
        self._by_topic[channel.topic].remove(queue)
        self._dead = {id_: letter for id_, letter in self._dead.items() if letter.channel != channel}
        return queue.depth

    async def sweep(self, *, dead_retention_s: float, dead_limit: int) -> int:
        """Drop dead letters that are too old or too many."""
        oldest = world.now() - timedelta(seconds=dead_retention_s)
        ids = list(self._dead)
        surplus = set(ids[: max(0, len(ids) - dead_limit)])
        drop = [id_ for id_, letter in self._dead.items() if letter.buried_at < oldest or id_ in surplus]
        for id_ in drop:
            del self._dead[id_]
        return len(drop)
