"""The port between the bus and whatever keeps its messages.

A broker keeps, per *channel* (a topic as one group reads it), the messages that the group has not settled, in the order
sent. It hands each out under a *lease* with a token; whoever holds the token may settle, retry, bury or release it,
and nobody else. `archstone.messaging.testing.BrokerConformance` is the whole promise, executable; a broker of your
own passes it and is then found by URL through the entry-point group `archstone.brokers`, or passed as an object.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from archstone.data import Envelope

__all__ = ["Backlog", "Broker", "Channel", "DeadLetter", "DeadLetters", "Deliveries", "Delivery", "UnderWay"]


class Channel(NamedTuple):
    """A topic as one consumer group reads it: the unit of registration, of order and of backlog."""

    topic: str
    group: str


class Delivery(NamedTuple):
    """A message handed out under a lease."""

    envelope: Envelope
    attempt: int
    """Which attempt this is, from 1. Failures and lost leases count; a lease handed back does not."""
    token: int
    """Names this lease and no other: the next lease of the same message has another token."""


class DeadLetter(NamedTuple):
    """A message that its group has given up."""

    id: int
    """Names it for `replay`; never used again."""
    channel: Channel
    envelope: Envelope
    attempts: int
    """Attempts that were made and failed."""
    error: str
    """What the last attempt said, at most 2,000 characters."""
    buried_at: datetime


class UnderWay(NamedTuple):
    """A message that its group has not settled."""

    channel: Channel
    envelope: Envelope
    state: Literal["waiting", "running", "retrying"]
    """`waiting`: ready, or behind another of its key. `running`: leased. `retrying`: it failed and comes again."""
    attempts: int
    """Attempts that have ended; the one that runs is not counted."""


class Backlog(NamedTuple):
    """How far one group is behind."""

    channel: Channel
    depth: int
    """Messages not settled: ready, blocked behind their key, waiting for a retry, or leased."""
    leased: int
    retrying: int
    """Messages that have failed and wait out the delay before another attempt. A broker that holds a part of a large
    backlog in memory may count those of that part only."""
    dead: int


class Deliveries(Protocol):
    """The way of a message from `send` to `settle`. Each verb is atomic."""

    async def declare(self, channel: Channel, *, names: Collection[str] | None) -> None:
        """Register the channel durably: from now on it gets each message of its topic whose name is in `names`.

        Messages sent before are not delivered. Declaring again replaces `names` (None: all) and loses nothing
        that is still wanted.
        """
        ...

    async def send(self, envelopes: Sequence[Envelope]) -> None:
        """Keep one delivery per envelope and channel that wants it, all or none; durable when it returns.

        Raises:
            BacklogFullError: A channel is at its limit. Nothing was sent.
        """
        ...

    async def lease(self, channel: Channel, *, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Hand out up to `limit` messages to this caller alone for `lease_s`, oldest first; () when none is due.

        Two messages of one key are never out at once, and a later one never before an earlier one is settled or
        buried. A message whose lease ran out is handed out again, under a new token.
        """
        ...

    async def extend(self, channel: Channel, deliveries: Sequence[Delivery], *, lease_s: float) -> Sequence[Delivery]:
        """Lease these for `lease_s` from now, and return those whose lease has passed to somebody else."""
        ...

    async def settle(self, channel: Channel, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Forget these for good, durably, and return those refused because their lease is no longer theirs."""
        ...

    async def retry(self, channel: Channel, delivery: Delivery, *, delay_s: float) -> bool:
        """Hand it out again after `delay_s`, its key blocked until then; False if the lease is no longer theirs."""
        ...

    async def bury(self, channel: Channel, delivery: Delivery, *, error: str) -> bool:
        """Move it to the dead letters, freeing its key, in one step; False if the lease is no longer theirs."""
        ...

    async def release(self, channel: Channel, deliveries: Sequence[Delivery]) -> None:
        """Hand these back as if they had never been leased."""
        ...

    def listen(self, channel: Channel, wake: Callable[[], None]) -> None:
        """Call `wake` on the loop whenever `lease` may have something new. It may be called for nothing."""
        ...


class DeadLetters(Protocol):
    """What groups have given up, and how far they are."""

    async def dead(self, *, group: str | None = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first, at most `limit`; of all groups when `group` is None."""
        ...

    async def letters(
        self, *, group: str | None = None, key: str | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, newest first, at most `limit`: for a page, or for one key.

        Args:
            group: Of this group only. None: of all.
            key: Of messages with this key only. None: of all.
            before: Only those with a lower id: the last one of the page before. None: from the newest on.
        """
        ...

    async def drop(self, ids: Collection[int]) -> int:
        """Delete these dead letters for good; return how many there were."""
        ...

    def under_way(self, key: str) -> Sequence[UnderWay]:
        """Return what no group has settled of the messages with this key, of each channel in order, at most 100.

        A broker that holds a part of a large backlog in memory may tell of that part only.
        """
        ...

    async def replay(self, ids: Collection[int]) -> int:
        """Send these dead letters to their channels again, with attempts from 1; return how many there were."""
        ...

    async def backlogs(self) -> Sequence[Backlog]:
        """Return how far each registered channel is behind."""
        ...

    async def forget(self, channel: Channel) -> int:
        """Unregister the channel and drop what waits for it, dead letters too; return how many waited."""
        ...

    async def sweep(self, *, dead_retention_s: float, dead_limit: int) -> int:
        """Drop dead letters older than `dead_retention_s`, and the oldest above `dead_limit`; return how many."""
        ...


class Broker(Deliveries, DeadLetters, Protocol):
    """A whole broker. Nothing connects before `open`; `close` gives back every lease."""

    async def open(self) -> None:
        """Connect, and create what is missing."""
        ...

    async def close(self) -> None:
        """Disconnect. What is not settled is handed out again after the next `open`."""
        ...
