"""A projection: what readers want to see, made from events. The read side of CQRS.

    class UserList(Projection, name="user-list", version=1):
        async def create(self, tx: Transaction) -> None:
            await tx.execute(f"CREATE TABLE {self.table('names')} (id TEXT PRIMARY KEY, name TEXT NOT NULL)")

        @when
        async def created(self, tx: Transaction, event: UserCreated) -> None:
            insert = f"INSERT INTO {self.table('names')} (id, name) VALUES (:id, :name)"
            await tx.execute(insert, id=event.user_id, name=event.name)

A `Projector` runs it. Handlers see each event of all streams once, in one order; what they write and how far the
projection has come are one transaction. Raise the version when tables or handlers change: the new version is made
beside the old one and takes its place when it has caught up. A handler must not await anything but its transaction.

What lies outside the database (a cache, a search server) is written by `write_outside`, before the checkpoint and
therefore at least once: write whole documents, each with the position as its version.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, overload

from archstone.data import Event, Transaction
from archstone.eventsourcing.errors import HandlerError
from archstone.eventsourcing.handlers import handlers_of, mark
from archstone.eventsourcing.recorded import Recorded

__all__ = ["Projection", "when"]

P = TypeVar("P", bound="Projection")
E = TypeVar("E", bound=Event)

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")

Short = Callable[[P, Transaction, E], Awaitable[None]]
Long = Callable[[P, Transaction, E, Recorded[Event]], Awaitable[None]]


@overload
def when(handler: Short[P, E]) -> Short[P, E]: ...
@overload
def when(handler: Long[P, E]) -> Long[P, E]: ...
def when(handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Mark the coroutine method that writes what the events mean which its parameter's annotation names.

    Its parameters are the transaction, the event and, where it wants to know more, the `Recorded` around it.

    Raises:
        HandlerError: It is no coroutine function.
    """
    if not inspect.iscoroutinefunction(handler):
        raise HandlerError(f"@when {getattr(handler, '__qualname__', handler)}", "must be a coroutine: write async def")
    mark(handler, "when")
    return handler


class Handler(NamedTuple):
    """A method marked with `@when`."""

    call: Callable[..., Awaitable[None]]
    wants_recorded: bool
    """Whether it has a third parameter."""


class Projection:
    """Subclass it with `name` and `version` as class arguments."""

    projection_name: ClassVar[str] = ""
    """What it is called in tables, metrics and logs: lower case words joined by hyphens."""
    projection_version: ClassVar[int] = 1
    """At least 1. Raise it when what it writes means something else or has another form."""
    handlers: ClassVar[Mapping[type[Event], Handler]] = {}
    """The handler of each event."""
    together: ClassVar[frozenset[type[Event]]] = frozenset()
    """The events that `write_together` is given."""
    outside: ClassVar[frozenset[type[Event]]] = frozenset()
    """The events that `write_outside` is given."""
    event_names: ClassVar[frozenset[str]] = frozenset()
    """Names of all events that it wants to see."""

    def __init_subclass__(
        cls,
        *,
        name: str = "",
        version: int = 1,
        together: tuple[type[Event], ...] = (),
        outside: tuple[type[Event], ...] = (),
        **more: Any,
    ) -> None:
        """Read the handlers.

        Args:
            name: Stable name. None: a base for others.
            version: Of what it writes.
            together: Events that `write_together` is given; they need no handler.
            outside: Events that `write_outside` is given; they need no handler.
            more: For other bases.
        """
        super().__init_subclass__(**more)
        cls.projection_name, cls.projection_version = name, version
        cls.together = cls.together | frozenset(together)
        cls.outside = cls.outside | frozenset(outside)
        inherited: dict[type[Event], Any] = {kind: handler.call for kind, handler in cls.handlers.items()}
        found = handlers_of(cls, inherited=inherited, at=2)
        cls.handlers = {kind: Handler(call, _parameters(call) > 3) for kind, call in found.items()}
        cls.event_names = frozenset(kind.event_name for kind in {*found, *cls.together, *cls.outside})
        if name and not _NAME.fullmatch(name):
            raise HandlerError(cls.__qualname__, f"name={name!r} must be lower case words joined by hyphens")
        if version < 1:
            raise HandlerError(cls.__qualname__, f"version={version} must be at least 1")

    @property
    def label(self) -> str:
        """Name and version, as errors and logs have them: `user-list v1`."""
        return f"{self.projection_name} v{self.projection_version}"

    def table(self, name: str, *, version: int | None = None) -> str:
        """Return what table `name` is called in SQL: each version has its own, such as `user_list_v1_users`.

        Args:
            name: A word of letters, digits and underscores.
            version: None: that of this class. Readers give the live one.
        """
        return f"{self.projection_name.replace('-', '_')}_v{version or self.projection_version}_{name}"

    async def create(self, tx: Transaction) -> None:
        """Make the tables of this version. Called once, in the transaction that registers it."""

    async def drop(self, tx: Transaction) -> None:
        """Drop the tables of this version. Called when it is retired or rebuilt, in the transaction that says so."""

    async def write_together(self, tx: Transaction, events: Sequence[Recorded[Event]]) -> None:
        """Write what all `events` of a batch (those of `together`, in order, at least one) mean.

        For what is cheaper for many than for each: `tx.many`. It is called after the handlers of the batch, in the same
        transaction. Where a batch has failed it is given one event at a time.
        """

    async def write_outside(self, events: Sequence[Recorded[Event]]) -> None:
        """Write what `events` (those of `outside`, in order) mean to where no transaction reaches.

        It is called before the checkpoint moves, so after a crash, a failure or a take-over it is given the same events
        again, and one that was stalled may come late: let the target drop what has a lower position than it has.
        """


def _parameters(method: Callable[..., object]) -> int:
    return len(inspect.signature(method).parameters)
