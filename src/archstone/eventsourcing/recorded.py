"""An event as it is stored: what happened, where it stands, and what led to it."""

from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

import orjson

from archstone.data import Event

__all__ = ["Recorded"]

E_co = TypeVar("E_co", bound=Event, covariant=True)


class Recorded(NamedTuple, Generic[E_co]):
    """A stored event."""

    position: int
    """Its place among all events of the store, from 1. Positions grow in the order of commits; some may be left out."""
    stream: str
    """Whose event it is, such as `user/42`."""
    version: int
    """Its number in its stream, from 1 and without gaps. Stream and version together are its id."""
    event: E_co
    """What happened, in the present form of its class."""
    at: int
    """Microseconds since the epoch: when it was recorded."""
    headers: bytes
    """JSON object: traceparent, correlation_id, causation_id, caused_by; absent where unknown."""

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded, UTC."""
        return datetime.fromtimestamp(self.at / 1_000_000, UTC)

    @property
    def caused_by(self) -> str | None:
        """The principal who asked for it. None: nobody who had signed in."""
        return self._header("caused_by")

    @property
    def correlation_id(self) -> str | None:
        """The request, message or saga that it belongs to. None: unknown."""
        return self._header("correlation_id")

    @property
    def causation_id(self) -> str | None:
        """The message that led to it. None: none did."""
        return self._header("causation_id")

    def _header(self, name: str) -> str | None:
        return orjson.loads(self.headers).get(name)
