"""An aggregate: decisions as methods, and its state as what the events that they recorded made of it.

    class User(Aggregate, name="user"):
        email: str = ""

        @classmethod
        def create(cls, id: str, *, email: str) -> "User":
            user = cls(id)
            user.record(UserCreated(user_id=id, email=email))
            return user

        def change_email(self, email: str) -> None:                 # a decision: checks, then records
            if email != self.email:
                self.record(EmailChanged(user_id=self.id, email=email))

        @apply
        def email_is(self, event: UserCreated | EmailChanged) -> None:     # the only place where state changes
            self.email = event.email

It knows no database: a test makes one, calls a decision and looks at `pending`. `EventStore` loads and saves it. Do not
use it where only the present state matters: a row in a table is simpler.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Self, TypeVar

from archstone.data import Event
from archstone.eventsourcing.errors import HandlerError
from archstone.eventsourcing.handlers import handlers_of, mark

__all__ = ["Aggregate", "apply"]

A = TypeVar("A", bound="Aggregate")
E = TypeVar("E", bound=Event)

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Apply = Callable[[Any, Any], None]


def apply(handler: Callable[[A, E], None]) -> Callable[[A, E], None]:
    """Mark the method that changes the state for the events that its parameter's annotation names.

    It must do nothing else, and take what the event says as given: it runs again whenever the aggregate is loaded.
    """
    mark(handler, "apply")
    return handler


class Aggregate:
    """Subclass it with `name` as a class argument; `__init__` takes the id alone and sets the state before any event.

    A subclass without a name is a base for others and cannot be stored.
    """

    aggregate_name: ClassVar[str] = ""
    """What its streams are called: never change it once something is stored."""
    snapshot_every: ClassVar[int | None] = None
    """Events after which a snapshot is stored with a save. None: only by hand."""
    snapshot_form: ClassVar[int] = 1
    """Raise it when the state means something else: older snapshots are then ignored."""
    appliers: ClassVar[Mapping[type[Event], Apply]] = {}
    """The handler of each event."""

    def __init_subclass__(
        cls, *, name: str = "", snapshot_every: int | None = None, snapshot_form: int = 1, **more: Any
    ) -> None:
        super().__init_subclass__(**more)
        cls.aggregate_name, cls.snapshot_every, cls.snapshot_form = name, snapshot_every, snapshot_form
        cls.appliers = handlers_of(cls, inherited=cls.appliers, at=1)
        if faults := _faults(cls):
            raise HandlerError(cls.__qualname__, "; ".join(faults))

    def __init__(self, id: str) -> None:
        self.id: Final = id
        self.version = 0
        """Events that made it what it is, those not saved yet included."""
        self.pending: list[Event] = []
        """Events recorded and not saved yet, oldest first."""
        self.persons: set[str] = set()
        """Whose personal fields the stored events hold, as far as they have been seen."""

    @classmethod
    def stream_of(cls, id: str) -> str:
        """Return the name of the stream that holds the events of `id`."""
        return f"{cls.aggregate_name}/{id}"

    @property
    def stream(self) -> str:
        """The name of its stream."""
        return f"{self.aggregate_name}/{self.id}"

    @property
    def stored_version(self) -> int:
        """Events of its stream when it was loaded or last saved."""
        return self.version - len(self.pending)

    def record(self, event: Event) -> None:
        """Say that `event` has happened: its handler runs now, and it is stored with the next save.

        Raises:
            HandlerError: No `@apply` method handles it. Nothing was recorded.
        """
        handler = self.appliers.get(type(event))
        if handler is None:
            raise self._unhandled(event)
        handler(self, event)
        self.version += 1
        self.pending.append(event)

    def replay(self, events: Iterable[Event]) -> Self:
        """Apply events that are stored, oldest first, and return itself."""
        appliers, count = self.appliers, 0
        for event in events:
            handler = appliers.get(type(event))
            if handler is None:
                raise self._unhandled(event)
            handler(self, event)
            count += 1
        self.version += count
        return self

    def _unhandled(self, event: Event) -> HandlerError:
        kind = type(event)
        return HandlerError(
            type(self).__qualname__,
            f"has no handler for {kind.__qualname__} ({kind.event_name} version {kind.event_version}): "
            f"write an @apply method whose parameter is annotated with it",
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} at {self.version}, {len(self.pending)} pending>"


def _faults(cls: type[Aggregate]) -> list[str]:
    faults: list[str] = []
    if "/" in cls.aggregate_name:
        faults.append(f"name={cls.aggregate_name!r} must be without a slash, which ends it in the name of a stream")
    if cls.snapshot_every is not None and not cls.snapshot_every >= 1:
        faults.append(f"snapshot_every={cls.snapshot_every} must be at least 1, or None")
    parameters = list(inspect.signature(cls.__init__).parameters.values())[2:]
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    if needed:
        faults.append(f"__init__ also needs {', '.join(needed)}: it is made from its id alone, let an event say more")
    return faults
