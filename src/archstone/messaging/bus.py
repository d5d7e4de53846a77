"""Messages between the parts of a system: topics, and consumer groups that each get every message.

    async with Bus("sqlite:///bus.db") as bus:
        bus.subscribe("orders", "mailer", send_mail)
        await bus.start()
        await bus.send(envelope)

Promise: what `send` has answered is delivered to every group registered by then, at least once, in the order of its key
(`Envelope.key`), different keys in parallel. A message whose handler raises comes again and blocks only its key, until
it succeeds or is buried as a dead letter, which can be read and replayed. A group stays registered, and collects
messages, whether its consumer runs or not; a message that no group wants is dropped.

Handlers see repeats: after a crash, or when a lease was lost. Drop them with an `Inbox` in the transaction of the
effect. Do not send from inside a transaction that has begun: publish to the outbox, and let a `Relay` send.
"""

import asyncio
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from archstone import context
from archstone.context import NOBODY, Principal
from archstone.data import Envelope
from archstone.messaging.broker import Backlog, Broker, Channel, DeadLetter, UnderWay
from archstone.messaging.consumer import Consumer
from archstone.messaging.errors import BusClosedError, SendInTransactionError, SubscriptionError
from archstone.messaging.registry import find_broker
from archstone.messaging.subscription import DEFAULT_RETRY, Handler, Statistics, Subscription
from archstone.observability import counter, gauge, get_logger
from archstone.resilience import Retry

__all__ = ["Bus", "Group"]

_sent = counter("archstone_bus_sent", "Messages sent, before they are multiplied by groups.").labels()
_backlog = gauge("archstone_bus_backlog", "Messages not settled.", ("topic", "group"))
_retrying = gauge("archstone_bus_retrying", "Messages that failed and wait for another attempt.", ("topic", "group"))
_dead = gauge("archstone_bus_dead_letters", "Messages given up and kept.", ("topic", "group"))

_log = get_logger("archstone.messaging")
_MEASURE_S: Final = 5.0
_DAY_S: Final = 86_400.0
_REPLAY_LIMIT: Final = 10_000


class Group(NamedTuple):
    """A registration that the broker keeps, whoever made it."""

    topic: str
    group: str
    depth: int
    """Messages not settled."""
    subscribed: bool
    """Whether this process has a subscription for it. If not, nobody here will ever handle what waits."""


class Bus:
    """A broker with the subscriptions of this process."""

    def __init__(
        self,
        broker: str | Broker = "memory:",
        *,
        grace_s: float = 10.0,
        dead_retention_s: float = 30 * _DAY_S,
        dead_limit: int = 100_000,
        sweep_every_s: float = 3600.0,
    ) -> None:
        """Describe a bus; nothing connects.

        Args:
            broker: `sqlite:///bus.db`, `memory:`, the URL of a plugged-in broker, or a Broker object.
            grace_s: Seconds that handlers get to finish when the bus is drained.
            dead_retention_s: Seconds that dead letters are kept.
            dead_limit: Dead letters kept; above it the oldest go.
            sweep_every_s: Seconds between two sweeps of dead letters by a started bus.

        Raises:
            UnknownBrokerError: No broker answers to the URL.
        """
        self.broker: Broker = find_broker(broker) if isinstance(broker, str) else broker
        """What keeps the messages."""
        self._grace_s = grace_s
        self._dead_retention_s = dead_retention_s
        self._dead_limit = dead_limit
        self._sweep_every_s = sweep_every_s
        self._open = False
        self._subscriptions: dict[Channel, Subscription] = {}
        self._consumers: dict[Channel, Consumer] = {}
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Bus({self.broker!r})"

    async def __aenter__(self) -> Self:
        """Open the broker and register the subscriptions made so far. Handlers run from `start` on."""
        await self.broker.open()
        self._open = True
        try:
            await self._declare()
        except BaseException:
            await self._shut()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain and close."""
        try:
            await self.drain()
        finally:
            await self._shut()

    async def _shut(self) -> None:
        self._open = False
        await self.broker.close()

    async def send(self, *envelopes: Envelope) -> None:
        """Hand messages to the broker, all or none; durable when it returns, if the broker is.

        Cancelled, they may have been sent.

        Raises:
            SendInTransactionError: A transaction is open here and has been used: by a statement, or to publish.
            BacklogFullError: A group that wants one of them is too far behind. Nothing was sent.
        """
        if not self._open:
            raise BusClosedError(repr(self.broker), "send")
        if (tx := context.current().tx) is not None and tx.holds():
            raise SendInTransactionError(repr(self.broker), [envelope.name for envelope in envelopes])
        await self.broker.send(envelopes)
        _sent.inc(len(envelopes))

    def subscribe(
        self,
        topic: str,
        group: str,
        handler: Handler,
        *,
        names: Collection[str] | None = None,
        concurrency: int = 32,
        retry: Retry = DEFAULT_RETRY,
        lease_s: float = 30.0,
        principal: Principal = NOBODY,
    ) -> Subscription:
        """Have `handler` handle the messages of `topic` as `group`. It is registered when the bus opens or starts.

        Args:
            topic: Which messages; see `Envelope.topic`.
            group: Each group gets every message once; equal (topic, group) in several processes share them.
            handler: A coroutine function. It runs in a call of its own with the trace and correlation of the message.
            names: Only messages of these names. None: all of the topic.
            concurrency: Messages handled at once, each of another key. At least 1.
            retry: How often, how late and for which errors a failed message comes again; `per_attempt_s` bounds an
                attempt. An error not named in `on` buries it at once.
            lease_s: Seconds after which a message comes again if this process stops answering for it. Above 0.
            principal: Who acts in the handler's call: `service:mailer`, say. Never whoever sent the message.

        Raises:
            SubscriptionError: The settings are wrong, or this process has such a subscription already.
        """
        channel = Channel(topic, group)
        if channel in self._subscriptions:
            fault = "this process has one already; give the second handler a group of its own, or dispatch by name"
            raise SubscriptionError(topic, group, [fault])
        subscription = Subscription(
            channel, handler, names=names, concurrency=concurrency, retry=retry, lease_s=lease_s, principal=principal
        )
        self._subscriptions[channel] = subscription
        return subscription

    async def start(self) -> None:
        """Take in: run the handlers of every subscription. Calling it again starts those made since."""
        if not self._open:
            raise BusClosedError(repr(self.broker), "start")
        await self._declare()
        for channel, subscription in self._subscriptions.items():
            if channel not in self._consumers:
                consumer = self._consumers[channel] = Consumer(self.broker, subscription)
                consumer.start()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_house(), name="bus: housekeeping")

    async def drain(self) -> None:
        """Stop taking in, let handlers finish for `grace_s`, and hand back the messages of those that did not.

        The bus still sends. `start` takes in again.
        """
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        consumers, self._consumers = self._consumers, {}
        await asyncio.gather(*(consumer.drain(grace_s=self._grace_s) for consumer in consumers.values()))

    async def dead(self, group: str | None = None, *, limit: int = 100) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first, at most `limit`; of all groups when `group` is None."""
        return await self.broker.dead(group=group, limit=limit)

    async def letters(
        self, *, group: str | None = None, key: str | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, newest first, at most `limit`.

        Args:
            group: Of this group only. None: of all.
            key: Of messages with this key only. None: of all.
            before: Only those with a lower id: the last one of the page before. None: from the newest on.
            limit: At least 1.
        """
        return await self.broker.letters(group=group, key=key, before=before, limit=limit)

    async def drop(self, *ids: int) -> int:
        """Delete dead letters for good; return how many there were."""
        return await self.broker.drop(ids)

    def under_way(self, key: str) -> Sequence[UnderWay]:
        """Return what groups have not settled of the messages with this key, at most 100; see `Broker.under_way`."""
        return self.broker.under_way(key)

    def behind(self) -> frozenset[str]:
        """Return the groups of whose backlog `under_way` tells only a part; none if the broker does not say."""
        tell = getattr(self.broker, "behind", None)
        return frozenset() if tell is None else tell()

    def wanting(self, topic: str, name: str) -> list[str]:
        """Return the groups of this process that get messages of this name, sorted."""
        return sorted(
            channel.group
            for channel, subscription in self._subscriptions.items()
            if channel.topic == topic and (subscription.names is None or name in subscription.names)
        )

    async def replay(self, *ids: int, group: str | None = None) -> int:
        """Send dead letters to their groups again: these ids, and all of `group` (at most 10,000 a call).

        Each goes to its own group only, behind what waits there, with all its attempts before it.

        Returns:
            How many there were.
        """
        wanted = set(ids)
        if group is not None:
            wanted.update(letter.id for letter in await self.broker.dead(group=group, limit=_REPLAY_LIMIT))
        return await self.broker.replay(wanted)

    async def depth(self, group: str) -> int:
        """Return how many messages `group` has not settled, over all its topics."""
        return sum(backlog.depth for backlog in await self.broker.backlogs() if backlog.channel.group == group)

    async def retrying(self) -> dict[str, int]:
        """Return how many messages of each group have failed and wait for another attempt; groups without are left out.

        Of a group with a large backlog only the messages in memory are counted. Each message is told by the
        `handler failed` line of the log.
        """
        found: dict[str, int] = {}
        for backlog in await self.broker.backlogs():
            if backlog.retrying:
                group = backlog.channel.group
                found[group] = found.get(group, 0) + backlog.retrying
        return found

    async def backlogs(self) -> Sequence[Backlog]:
        """Return how far each registered group is behind, whether its consumer runs here or not."""
        return await self.broker.backlogs()

    def statistics(self) -> dict[Channel, Statistics]:
        """Return the counts of each subscription of this process."""
        return {channel: subscription.statistics() for channel, subscription in self._subscriptions.items()}

    async def groups(self) -> list[Group]:
        """Return every registered group, by topic and name; also those that nobody has subscribed for long."""
        found = [
            Group(*backlog.channel, backlog.depth, backlog.channel in self._subscriptions)
            for backlog in await self.broker.backlogs()
        ]
        return sorted(found)

    async def forget(self, group: str, *, topic: str | None = None) -> int:
        """Unregister a group that is gone for good, with all that waits for it; return how many messages waited.

        Its dead letters go too, uncounted. Of a large backlog the messages go in parts and the registration last:
        cancelled, or cut short by a crash, it is done by calling it again. Nothing else of the bus waits for it.

        Args:
            group: Which group; 0 is the answer for one that is not registered.
            topic: Its registration for this topic only. None: for all of its topics.

        Raises:
            SubscriptionError: It has a subscription in this process, and is kept.
        """
        if not self._open:
            raise BusClosedError(repr(self.broker), "forget")
        channels = [
            backlog.channel
            for backlog in await self.broker.backlogs()
            if backlog.channel.group == group and topic in (None, backlog.channel.topic)
        ]
        self._refuse_subscribed(channels)
        waited = 0
        for channel in channels:
            self._refuse_subscribed([channel])  # it may have been subscribed while another was dropped
            waited += await self.broker.forget(channel)
        return waited

    def _refuse_subscribed(self, channels: Sequence[Channel]) -> None:
        for channel in channels:
            if channel in self._subscriptions:
                raise SubscriptionError(*channel, ["it is subscribed here, so it is not gone: it cannot be forgotten"])

    async def sweep(self) -> int:
        """Drop dead letters past their retention; return how many. A started bus does it every `sweep_every_s`."""
        return await self.broker.sweep(dead_retention_s=self._dead_retention_s, dead_limit=self._dead_limit)

    async def _declare(self) -> None:
        for channel, subscription in self._subscriptions.items():
            if channel not in self._consumers:
                await self.broker.declare(channel, names=subscription.names)

    async def _keep_house(self) -> None:
        turns = max(1, round(self._sweep_every_s / _MEASURE_S))
        turn = 0
        while True:
            try:
                for backlog in await self.broker.backlogs():
                    _backlog.labels(*backlog.channel).set(backlog.depth)
                    _retrying.labels(*backlog.channel).set(backlog.retrying)
                    _dead.labels(*backlog.channel).set(backlog.dead)
                if turn % turns == 0:
                    await self.sweep()
            except Exception as error:  # noqa: BLE001 - numbers and sweeping can wait, messages cannot
                _log.error("housekeeping failed", bus=repr(self.broker), exc_info=error)
            turn += 1
            await asyncio.sleep(_MEASURE_S)
