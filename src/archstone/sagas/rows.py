"""What the rows of sagas are in memory, and what reads and writes them."""

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, Protocol, TypeVar

from archstone.data import Transaction

__all__ = ["Age", "Also", "End", "Execute", "First", "Nap", "NewRow", "SagaRow", "SameRow"]

T = TypeVar("T")

Execute = Callable[..., Awaitable[int]]
"""`execute` of a database or of a transaction."""


class Nap(NamedTuple):
    """What a step waits for: an instant, something that happens, or whichever comes first."""

    until_us: int | None = None
    """None: no limit."""
    signal: str | None = None
    """Name of the signal."""
    child: str | None = None
    """Id of the saga whose end it is."""


Also = Callable[[Transaction], Awaitable[object]]
"""Writes something in the transaction of a row of the journal."""


class First(Protocol):
    """`first` of a database or of a transaction."""

    async def __call__(self, row: type[T], sql: str, /, **params: object) -> T | None:
        """Return the first row as `row`, None where there is none."""
        ...


class SagaRow(NamedTuple):
    """A row of `_archstone_sagas`."""

    number: int
    id: str
    method: str
    version: int
    status: str
    arguments: bytes
    headers: bytes
    started_us: int
    finished_us: int | None
    answer: bytes | None
    head: bytes | None
    tail: bytes | None
    attempts: int
    why: str | None
    parent: str | None
    forked_from: str | None
    wake_us: int | None
    queue: str | None
    queue_key: str
    priority: int
    worker: int
    asked: str | None


class NewRow(NamedTuple):
    """What is written of a saga when it comes into being."""

    id: str
    method: str
    version: int
    arguments: bytes
    headers: bytes
    started_us: int
    worker: int
    """Who has it. 0: nobody, or the one process that owns the database."""
    parent: str | None = None


class End(NamedTuple):
    """What is written of a saga when it ends."""

    id: str
    worker: int
    """Who has it."""
    status: Literal["done", "failed"]
    answer: bytes
    tail: bytes
    at: int
    """Microseconds."""


class SameRow(NamedTuple):
    """What says whether two sagas of one id are the same."""

    engine: str
    method: str
    arguments: bytes


class Age(NamedTuple):
    """What the sweeper asks of a saga."""

    number: int
    started_us: int
    ended_us: int | None
    """When it ended; None if it has not, or is still needed."""
