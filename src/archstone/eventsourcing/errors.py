"""What can go wrong with stored events, by what the caller can do about it."""

from archstone.errors import BackendError, ConfigError, ConflictError, NotFoundError

__all__ = [
    "EventUnreadableError",
    "HandlerError",
    "NewerEventError",
    "NoStreamError",
    "StreamConflictError",
]


class HandlerError(ConfigError, code="eventsourcing.handler"):
    """An aggregate or a projection is written wrongly, or lacks a handler for an event."""

    def __init__(self, owner: str, reason: str) -> None:
        super().__init__(owner, reason)
        self.owner = owner
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.owner}: {self.reason}"


class StreamConflictError(ConflictError, code="eventsourcing.conflict"):
    """Somebody else has appended to the stream since it was read. Nothing was appended: load again and decide anew."""

    def __init__(self, stream: str, expected: int, found: int) -> None:
        super().__init__(stream, expected, found)
        self.stream = stream
        self.expected = expected
        """Events that the stream was thought to have."""
        self.found = found
        """Events that it has."""

    def __str__(self) -> str:
        return (
            f"stream {self.stream!r} has {self.found} events, {self.expected} were expected: nothing was appended; "
            f"load it again and decide anew"
        )


class NoStreamError(NotFoundError, code="eventsourcing.no-stream"):
    """Nothing was ever recorded under this name."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.stream = stream

    def __str__(self) -> str:
        return f"there is no stream {self.stream!r}; use find() where that is expected"


class EventUnreadableError(BackendError, code="eventsourcing.unreadable"):
    """A stored event does not fit the class that reads it. It stays as it is; the cause says what does not fit."""

    def __init__(self, stream: str, version: int, event: str, reason: str) -> None:
        super().__init__(stream, version, event, reason)
        self.stream = stream
        self.version = version
        """The number of the event in its stream, from 1."""
        self.event = event
        """Name and version of the event as it is stored."""
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"event {self.version} of stream {self.stream!r}, {self.event}, cannot be read: {self.reason}; "
            f"give its class a default or write an @upcast"
        )


class NewerEventError(BackendError, code="eventsourcing.newer-event"):
    """A stored event has a version that this release does not know: a later release wrote it."""

    def __init__(self, event: str, found: int, known: int) -> None:
        super().__init__(event, found, known)
        self.event = event
        self.found = found
        self.known = known
        """The highest version that is known here."""

    def __str__(self) -> str:
        return (
            f"event {self.event} is stored with version {self.found}, this release knows up to {self.known}; "
            f"run the later release"
        )
