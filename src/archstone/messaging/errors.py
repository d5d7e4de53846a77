"""What goes wrong on the bus, told by what the caller can do about it."""

from collections.abc import Sequence

from archstone.errors import ConfigError, RejectedError

__all__ = ["BacklogFullError", "BusClosedError", "SendInTransactionError", "SubscriptionError", "UnknownBrokerError"]


class BacklogFullError(RejectedError, code="messaging.backlog-full"):
    """A group has fallen so far behind that no more is taken for it. Nothing of the call was sent."""

    def __init__(self, topic: str, group: str, depth: int, limit: int) -> None:
        super().__init__(topic, group, depth, limit)
        self.topic = topic
        self.group = group
        self.depth = depth
        self.limit = limit
        self.retry_after_s = 5.0

    def __str__(self) -> str:
        return (
            f"group {self.group!r} of topic {self.topic!r} has {self.depth} messages waiting, limit {self.limit}: "
            f"nothing was sent; start its consumer, or drop the group with "
            f"Bus.forget({self.group!r}, topic={self.topic!r})"
        )


class BusClosedError(ConfigError, code="messaging.closed"):
    """The bus is used before it is open or after it is closed. Nothing was done."""

    def __init__(self, bus: str, what: str) -> None:
        super().__init__(bus, what)
        self.bus = bus
        self.what = what

    def __str__(self) -> str:
        return f"bus {self.bus!r} is not open: {self.what} was refused; use it inside `async with bus:`"


class SendInTransactionError(ConfigError, code="messaging.send-in-transaction"):
    """A message was to be sent while a transaction is open, which could not take it back on rollback."""

    def __init__(self, bus: str, names: Sequence[str]) -> None:
        super().__init__(bus, names)
        self.bus = bus
        self.names = names

    def __str__(self) -> str:
        return (
            f"bus {self.bus!r}: {', '.join(self.names)} not sent, because a transaction is open here and its rollback "
            "could not take the message back; say tx.publish(event) and let the relay send it"
        )


class SubscriptionError(ConfigError, code="messaging.subscription"):
    """A subscription cannot work as written. Raised by `subscribe`, with all its faults."""

    def __init__(self, topic: str, group: str, faults: Sequence[str]) -> None:
        super().__init__(topic, group, faults)
        self.topic = topic
        self.group = group
        self.faults = faults

    def __str__(self) -> str:
        return f"subscription of group {self.group!r} to topic {self.topic!r}: {'; '.join(self.faults)}"


class UnknownBrokerError(ConfigError, code="messaging.unknown-broker"):
    """No broker answers to the scheme of a URL."""

    def __init__(self, scheme: str, known: Sequence[str]) -> None:
        super().__init__(scheme, known)
        self.scheme = scheme
        self.known = known

    def __str__(self) -> str:
        return (
            f"no broker for URL scheme {self.scheme!r}: known are {', '.join(self.known)}; "
            "install the package that brings it, or pass a Broker object"
        )
