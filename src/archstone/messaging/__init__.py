"""Messages: a Bus with topics and consumer groups, a Relay from the outbox to it, an Inbox at the other end.

    tx.publish(event)  ->  outbox  ->  Relay  ->  Bus  ->  handler  ->  Inbox, in the transaction of the effect

Delivery is at least once, in order per key; with an inbox the effect is exactly once. Start with `Bus`. Brokers are
chosen by URL (`sqlite:///bus.db`, `memory:`), and a broker of your own is held to the same promise by
`archstone.messaging.testing.BrokerConformance`.
"""

from archstone.messaging.broker import Backlog, Broker, Channel, DeadLetter, DeadLetters, Deliveries, Delivery, UnderWay
from archstone.messaging.bus import Bus, Group
from archstone.messaging.errors import (
    BacklogFullError,
    BusClosedError,
    SendInTransactionError,
    SubscriptionError,
    UnknownBrokerError,
)
from archstone.messaging.inbox import INBOX, Inbox, TransactionHandler
from archstone.messaging.relay import Relay, RelayStatistics, Sender
from archstone.messaging.subscription import DEFAULT_RETRY, Handler, Statistics, Subscription

__all__ = [
    "DEFAULT_RETRY",
    "INBOX",
    "Backlog",
    "BacklogFullError",
    "Broker",
    "Bus",
    "BusClosedError",
    "Channel",
    "DeadLetter",
    "DeadLetters",
    "Deliveries",
    "Delivery",
    "Group",
    "Handler",
    "Inbox",
    "Relay",
    "RelayStatistics",
    "SendInTransactionError",
    "Sender",
    "Statistics",
    "Subscription",
    "SubscriptionError",
    "TransactionHandler",
    "UnderWay",
    "UnknownBrokerError",
]
