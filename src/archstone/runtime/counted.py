"""Counts the events of a system by name, on their way from its outboxes to the bus."""

from typing import Final

from archstone.data import Envelope
from archstone.messaging import Bus
from archstone.observability import counter

__all__ = ["EVENTS", "CountedBus"]

EVENTS: Final = counter("archstone_events_sent", "Events sent to the bus, by name.", ("event",))


class CountedBus:
    """Sends to a bus and counts what was sent. An event that is sent again after a crash is counted again."""

    __slots__ = ("_bus",)

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def send(self, *envelopes: Envelope) -> None:
        """Send all or none; durable when it returns."""
        await self._bus.send(*envelopes)
        for envelope in envelopes:
            EVENTS.labels(envelope.name).inc()
