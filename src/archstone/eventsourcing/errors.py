"""What can go wrong with stored events, by what the caller can do about it."""

from archstone.errors import (
    BackendError,
    ConfigError,
    ConflictError,
    DeadlineError,
    InvalidError,
    NotFoundError,
    RemoteError,
)

__all__ = [
    "ErasedPersonError",
    "EventUnreadableError",
    "HandlerError",
    "NewerEventError",
    "NoStreamError",
    "ProjectionBehindError",
    "ProjectionFailedError",
    "ProjectionMovedError",
    "StreamConflictError",
    "TargetError",
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


class ErasedPersonError(InvalidError, code="eventsourcing.erased-person", status=410):
    """Personal data of somebody whose key was destroyed cannot be stored any more. Nothing was stored."""

    def __init__(self, person: str) -> None:
        super().__init__(person)
        self.person = person

    def __str__(self) -> str:
        return (
            f"person {self.person!r} was erased: nothing personal can be stored about them, and nothing was; "
            f"one who comes back gets a new id"
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


class ProjectionBehindError(DeadlineError, code="eventsourcing.projection-behind"):
    """A projection has not come as far as was waited for. What it has so far can be read; it goes on."""

    def __init__(self, projection: str, reached: int, wanted: int, timeout_s: float, error: str | None) -> None:
        super().__init__(projection, reached, wanted, timeout_s, error)
        self.projection = projection
        self.reached = reached
        self.wanted = wanted
        self.timeout_s = timeout_s
        self.error = error
        """What the projection last failed with. None: it did not."""

    def __str__(self) -> str:
        why = f"it fails with {self.error}" if self.error else "it is behind, or does not run"
        return (
            f"projection {self.projection} is at position {self.reached}, {self.wanted} was not reached in "
            f"{self.timeout_s:g} s: {why}; read what it has, or ask again"
        )


class ProjectionFailedError(RemoteError, code="eventsourcing.projection-failed"):
    """A handler of a projection raised. Nothing of its batch stays. It is tried again with backoff, never skipped."""

    def __init__(self, projection: str, position: int, event: str, reason: str) -> None:
        super().__init__(projection, position, event, reason)
        self.projection = projection
        self.position = position
        self.event = event
        """Name of the event, with its stream and number."""
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"projection {self.projection} failed at position {self.position}, {self.event}: {self.reason}; it tries "
            f"again until its handler is mended"
        )


class ProjectionMovedError(ConflictError, code="eventsourcing.projection-moved"):
    """The checkpoint of a projection is not where its runner left it. Nothing of the batch was kept: look again."""

    def __init__(self, projection: str, position: int) -> None:
        super().__init__(projection, position)
        self.projection = projection
        self.position = position

    def __str__(self) -> str:
        return (
            f"projection {self.projection} is not at position {self.position} any more: it was rewound, or another "
            f"runs it; nothing of the batch was kept"
        )


class TargetError(BackendError, code="eventsourcing.target"):
    """Documents of a projection could not be written outside the database. They are written again, with backoff."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason

    def __str__(self) -> str:
        return f"target {self.target!r}: {self.reason}; its projection tries again until it takes them"
