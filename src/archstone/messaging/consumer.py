"""Runs the handler of one subscription: leases, handles, and keeps the leases alive meanwhile (`outcomes` settles).

Promise: a message is settled only after its handler has returned. One whose handler raised comes again after a delay,
and after the last attempt, or an error that its `Retry` does not name, is buried. A lease lives as long as its handler,
so a long handler is not given twice; if it is lost all the same (this process was stopped for longer than the
lease), the handler is cancelled, and what it settles is refused by the token.
"""

import asyncio
from typing import Final

from archstone import context, world
from archstone.context import Call
from archstone.data import Envelope
from archstone.messaging.broker import Broker, Delivery
from archstone.messaging.headers import trace_of
from archstone.messaging.outcomes import Outcomes
from archstone.messaging.subscription import Subscription
from archstone.observability import get_logger, span
from archstone.resilience import Exponential, within

__all__ = ["BEFORE_HANDLER", "Consumer"]

BEFORE_HANDLER: Final = world.declare_point(
    "messaging.before_handler", "the message is leased, in memory; its handler has not begun"
)

_log = get_logger("archstone.messaging")
_BACKOFF: Final = Exponential(0.05, cap_s=5.0)


class Consumer:
    """The running side of a subscription, in this process. Made on the loop on which it runs."""

    def __init__(self, broker: Broker, subscription: Subscription) -> None:
        self._broker = broker
        self._loop = asyncio.get_running_loop()  # kept: to ask for it costs a system call each time
        self._subscription = subscription
        self._channel = subscription.channel
        self._running: dict[int, tuple[Delivery, asyncio.Task[None]]] = {}
        self._lost: set[int] = set()
        self._handed_back: list[Delivery] = []
        self._wake = asyncio.Event()
        self._full = False
        self._extended_s = world.monotonic()
        self._pump: asyncio.Task[None] | None = None
        self._heart: asyncio.Task[None] | None = None
        self._outcomes = Outcomes(broker, subscription, after_batch=self._make_room)
        self._span = f"handle {self._channel.group}"

    def start(self) -> None:
        """Take messages from now on."""
        self._broker.listen(self._channel, self._wake.set)
        self._wake.set()
        self._pump = asyncio.create_task(self._lease_for_ever(), name=f"bus {self._channel.group}: pump")
        self._heart = asyncio.create_task(self._extend_for_ever(), name=f"bus {self._channel.group}: heart")

    async def drain(self, *, grace_s: float) -> None:
        """Take nothing new, let handlers finish for `grace_s`, cancel the rest, and hand their messages back."""
        await _end(self._pump)
        if tasks := [task for _, task in self._running.values()]:
            await asyncio.wait(tasks, timeout=grace_s)
        if tasks := [task for _, task in self._running.values()]:
            for task in tasks:
                task.cancel("the bus is drained")
            await asyncio.wait(tasks, timeout=grace_s)
        await self._outcomes.settled()
        await _end(self._heart)
        if self._handed_back:
            handed_back, self._handed_back = self._handed_back, []
            await self._broker.release(self._channel, handed_back)

    async def _lease_for_ever(self) -> None:
        context.set_current(Call())  # handlers start from an empty call, not from that of whoever started the bus
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._lease()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, the group must go on when it is over
                failures += 1
                _log.error("lease failed", topic=self._channel.topic, group=self._channel.group, exc_info=error)
                self._wake.set()
                await asyncio.sleep(_BACKOFF.longest_s(failures))

    async def _lease(self) -> None:
        subscription = self._subscription
        if world.monotonic() - self._extended_s > subscription.lease_s * 0.6:
            # The loop was held up. Extend first, or the next lease takes messages away from handlers that still run.
            await self._extend()
        while True:
            free = subscription.concurrency - len(self._running)
            self._full = free <= 0 or self._outcomes.crowded
            if self._full:
                return
            create_task = self._loop.create_task
            leased = await self._broker.lease(self._channel, limit=free, lease_s=subscription.lease_s)
            for delivery in leased:
                self._running[delivery.token] = (delivery, create_task(self._handle(delivery)))
            subscription.running = len(self._running)
            if len(leased) < free:
                return

    async def _handle(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        subscription = self._subscription
        context.set_current(_call_of(envelope, subscription))
        try:
            if delivery.attempt > subscription.retry.attempts:
                await self._outcomes.bury(delivery, f"its lease was lost {delivery.attempt - 1} times")
                return
            world.point(BEFORE_HANDLER)
            with span(
                self._span, kind="consumer", ref=envelope.key, message=envelope.name, attempt=delivery.attempt,
                message_id=envelope.id, published_us=envelope.at,
            ):  # fmt: skip
                if subscription.retry.per_attempt_s is None:
                    await subscription.handler(envelope)
                else:
                    async with within(subscription.retry.per_attempt_s, name=envelope.name):
                        await subscription.handler(envelope)
        except asyncio.CancelledError as error:
            await self._cancelled(delivery, error)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            await self._outcomes.failed(delivery, error)
        else:
            self._outcomes.handled(delivery)
        finally:
            del self._running[delivery.token]
            subscription.running = len(self._running)
            self._make_room()

    def _make_room(self) -> None:
        if self._full:
            self._wake.set()

    async def _cancelled(self, delivery: Delivery, error: asyncio.CancelledError) -> None:
        task = asyncio.current_task()
        if task is not None and task.cancelling() == 0:
            # Nobody cancelled this task: the handler awaited something that was. That is a failure like another.
            await self._outcomes.failed(delivery, error)
        elif delivery.token in self._lost:
            self._lost.discard(delivery.token)
            self._outcomes.lost(1)
        else:
            self._handed_back.append(delivery)

    async def _extend_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._subscription.lease_s / 3)
            try:
                await self._extend()
            except Exception as error:  # noqa: BLE001 - the next beat may work, and the token decides in the end
                _log.error("extend failed", topic=self._channel.topic, group=self._channel.group, exc_info=error)
            self._wake.set()  # a net under the wake-ups of the broker

    async def _extend(self) -> None:
        self._extended_s = world.monotonic()
        # Handled ones that are not settled yet as well: theirs can run out just before.
        deliveries = [delivery for delivery, _ in self._running.values()] + self._outcomes.unsettled()
        if not deliveries:
            return
        for lost in await self._broker.extend(self._channel, deliveries, lease_s=self._subscription.lease_s):
            if (running := self._running.get(lost.token)) is not None:
                self._lost.add(lost.token)
                running[1].cancel("its lease was lost")


def _call_of(envelope: Envelope, subscription: Subscription) -> Call:
    """Return the call in which a message is handled: its trace and correlation, and itself as the cause."""
    trace, correlation_id = trace_of(envelope.headers)
    return Call(
        subscription.principal,
        None,
        trace,
        f"{subscription.channel.group}/{envelope.id}",  # commands called by the handler derive theirs: once in effect
        correlation_id or envelope.id,
        envelope.id,
    )


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
