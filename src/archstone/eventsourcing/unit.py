"""What the event store needs of a transaction: that of `archstone.data`, or the `self.tx` of a service."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from archstone.data import Event

__all__ = ["Reads", "Unit"]

T = TypeVar("T")


class Reads(Protocol):
    """A database, a transaction or a snapshot: whatever rows can be read from."""

    def first(self, row: type[T], sql: str, /, **params: object) -> Awaitable[T | None]:
        """Return the first row, or None where there is none."""
        ...

    def all(self, row: type[T], sql: str, /, **params: object) -> Awaitable[list[T]]:
        """Return all rows, in the order of the statement."""
        ...


class Unit(Reads, Protocol):
    """An open transaction."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...

    def many(self, sql: str, rows: Iterable[Mapping[str, object]], /) -> Awaitable[int]:
        """Run a statement once per mapping of parameters."""
        ...

    def publish(self, event: Event, /) -> None:
        """Stage an event in the outbox."""
        ...

    def after_commit(self, callback: Callable[[], None], /) -> None:
        """Call `callback` once this is durable."""
        ...
