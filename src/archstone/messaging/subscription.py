"""What a group wants of a topic, and how its messages are handled."""

import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from archstone.context import Principal
from archstone.data import Envelope
from archstone.messaging.broker import Channel
from archstone.messaging.errors import SubscriptionError
from archstone.resilience import Exponential, Retry

__all__ = ["DEFAULT_RETRY", "Handler", "Statistics", "Subscription"]

Handler: TypeAlias = Callable[[Envelope], Awaitable[None]]
"""Handles one message. To return is success; to raise is failure, and the message comes again."""

DEFAULT_RETRY: Final = Retry(8, backoff=Exponential(0.1, factor=4.0, cap_s=60.0), on=(Exception,))
"""Eight attempts over at most two and a half minutes, whatever the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts of one subscription since it was started, in this process."""

    handled: int = 0
    """Handlers that returned and whose message was settled."""
    retried: int = 0
    """Failures after which the message waits for another attempt."""
    buried: int = 0
    """Messages given up."""
    lost: int = 0
    """Leases that ran out before their handler did; it was cancelled, or its settling refused."""
    running: int = 0
    """Handlers at work now."""


class Subscription:
    """A group's registration for a topic with its handler. `Bus.subscribe` makes it."""

    __slots__ = (
        "buried",
        "channel",
        "concurrency",
        "handled",
        "handler",
        "lease_s",
        "lost",
        "names",
        "principal",
        "retried",
        "retry",
        "running",
    )  # fmt: skip

    def __init__(
        self,
        channel: Channel,
        handler: Handler,
        *,
        names: Collection[str] | None,
        concurrency: int,
        retry: Retry,
        lease_s: float,
        principal: Principal,
    ) -> None:
        """Describe a subscription; `Bus.subscribe` says what the settings mean and what they are by default.

        Raises:
            SubscriptionError: The settings are wrong; all faults at once.
        """
        self.channel = channel
        self.handler = handler
        self.names = None if names is None else frozenset(names)
        self.concurrency = concurrency
        self.retry = retry
        self.lease_s = lease_s
        self.principal = principal
        self.handled = self.retried = self.buried = self.lost = self.running = 0
        if faults := self._faults():
            raise SubscriptionError(channel.topic, channel.group, faults)

    def __repr__(self) -> str:
        return f"Subscription(topic={self.channel.topic!r}, group={self.channel.group!r})"

    def statistics(self) -> Statistics:
        """Return the counts so far."""
        return Statistics(
            handled=self.handled, retried=self.retried, buried=self.buried, lost=self.lost, running=self.running
        )

    def _faults(self) -> list[str]:
        rules = (
            (bool(self.channel.topic), "topic must not be empty"),
            (bool(self.channel.group), "group must not be empty"),
            (_is_coroutine_function(self.handler), "handler must be a coroutine function (async def)"),
            (self.names is None or len(self.names) > 0, "names must not be empty; None means all"),
            (self.concurrency >= 1, f"concurrency={self.concurrency} must be at least 1"),
            (0 < self.lease_s < float("inf"), f"lease_s={self.lease_s} must be above 0 and finite"),
            (
                self.retry.total_s is None,
                f"retry.total_s={self.retry.total_s} must be None: attempts outlive calls and processes",
            ),
        )
        return [text for holds, text in rules if not holds]


def _is_coroutine_function(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
