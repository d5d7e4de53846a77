"""What becomes of a message when its handler has come to its end: settled, tried again, or buried.

What is handled is settled in batches: all of one turn of the loop with one write. A settle, a retry or a burial that
fails is logged and left: the lease runs out, the message comes again, and the inbox knows it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from archstone import world
from archstone.errors import RejectedError
from archstone.messaging.broker import Broker, Delivery
from archstone.messaging.subscription import Subscription
from archstone.observability import counter, get_logger

__all__ = ["AFTER_EFFECT", "AFTER_RETRY", "AFTER_SETTLE", "Outcomes"]

AFTER_EFFECT: Final = world.declare_point(
    "messaging.after_effect_before_settle", "the handler has returned, its effect is kept; the message is still there"
)
AFTER_SETTLE: Final = world.declare_point("messaging.after_settle", "the message is handled and durably forgotten")
AFTER_RETRY: Final = world.declare_point(
    "messaging.after_failure", "the handler failed; the next attempt, or the dead letter, is durable"
)

_handled = counter("archstone_bus_handled", "Messages handled and settled.", ("topic", "group"))
_retried = counter("archstone_bus_retried", "Failed attempts that will be repeated.", ("topic", "group"))
_buried = counter("archstone_bus_buried", "Messages given up.", ("topic", "group"))
_lost = counter("archstone_bus_lost_leases", "Leases that ran out before their handler did.", ("topic", "group"))

_log = get_logger("archstone.messaging")
_UNSETTLED_LIMIT: Final = 1_000
"""Handled messages that may wait to be settled. Above it nothing new is leased."""


class Outcomes:
    """The endings of one subscription's deliveries, and their counts. Made on the loop on which it runs."""

    def __init__(self, broker: Broker, subscription: Subscription, *, after_batch: Callable[[], None]) -> None:
        """Report to `broker`; call `after_batch` after each batch settled."""
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._subscription = subscription
        self._channel = subscription.channel
        self._labels = (self._channel.topic, self._channel.group)
        self._after_batch = after_batch
        self._finished: list[Delivery] = []
        self._settling: list[Delivery] = []
        self._settler: asyncio.Task[None] | None = None
        self._count_handled = _handled.labels(*self._labels).inc

    @property
    def crowded(self) -> bool:
        """Whether so many wait to be settled that nothing new is to be leased."""
        return len(self._finished) >= _UNSETTLED_LIMIT

    def unsettled(self) -> list[Delivery]:
        """Return what is handled and not settled yet: its leases can still run out."""
        return self._finished + self._settling

    def handled(self, delivery: Delivery) -> None:
        """Settle it soon, with others."""
        world.point(AFTER_EFFECT)
        self._finished.append(delivery)
        if self._settler is None:
            self._settler = self._loop.create_task(self._settle())

    async def settled(self) -> None:
        """Return when nothing is left to settle."""
        if self._settler is not None:
            await asyncio.wait([self._settler])

    async def _settle(self) -> None:
        """Settle what is handled, all of one turn together, until nothing is left."""
        subscription = self._subscription
        try:
            while self._finished:
                batch, self._finished = self._finished, []
                self._settling = batch
                try:
                    refused = await self._broker.settle(self._channel, batch)
                except Exception as error:  # noqa: BLE001 - it comes again, and the inbox knows it
                    _log.error("settle failed", topic=self._labels[0], group=self._labels[1], exc_info=error)
                    continue
                settled = len(batch) - len(refused)
                subscription.handled += settled
                self._count_handled(settled)
                if refused:
                    self.lost(len(refused))
                world.point(AFTER_SETTLE)
                self._after_batch()
        finally:
            self._settler, self._settling = None, []

    async def failed(self, delivery: Delivery, error: BaseException) -> None:
        """Have it come again after a delay, or bury it after its last attempt or for an error not worth another."""
        retry = self._subscription.retry
        worth_it = isinstance(error, (*retry.on, asyncio.CancelledError))
        try:
            if delivery.attempt >= retry.attempts or not worth_it:
                await self.bury(delivery, f"{type(error).__name__}: {error}", error)
                return
            delay_s = retry.delay_s(delivery.attempt)
            if isinstance(error, RejectedError):
                delay_s += min(max(0.0, error.retry_after_s), retry.patience_s)
            _log.warning(
                "handler failed", **self._names(delivery), attempt=delivery.attempt, retry_in_s=delay_s, exc_info=error
            )
            if await self._broker.retry(self._channel, delivery, delay_s=delay_s):
                self._subscription.retried += 1
                _retried.labels(*self._labels).inc()
            else:
                self.lost(1)
            world.point(AFTER_RETRY)
        except Exception as broken:  # noqa: BLE001 - the lease runs out, or the next open hands it out again
            _log.error("failure not recorded", **self._names(delivery), exc_info=broken)

    async def bury(self, delivery: Delivery, text: str, error: BaseException | None = None) -> None:
        """Give it up: it becomes a dead letter."""
        _log.error("message buried", **self._names(delivery), attempts=delivery.attempt, why=text, exc_info=error)
        if await self._broker.bury(self._channel, delivery, error=text):
            self._subscription.buried += 1
            _buried.labels(*self._labels).inc()
        else:
            self.lost(1)
        world.point(AFTER_RETRY)

    def lost(self, count: int) -> None:
        """Count leases that had passed to somebody else."""
        self._subscription.lost += count
        _lost.labels(*self._labels).inc(count)
        _log.warning("lease lost", topic=self._labels[0], group=self._labels[1], count=count)

    def _names(self, delivery: Delivery) -> dict[str, str]:
        envelope = delivery.envelope
        return {"topic": self._labels[0], "group": self._labels[1], "message": envelope.name, "id": envelope.id}
