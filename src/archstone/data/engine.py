"""The port behind Database: what an engine (SQLite, PostgreSQL) must offer. One file, or package, per engine.

The core compiles SQL text, binds parameters, makes typed rows and stages events; an engine runs bound statements. It is
found by the scheme of the URL, among those registered here and in the entry-point group `archstone.databases`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from archstone.data.errors import UnknownEngineError
from archstone.data.rows import Description
from archstone.data.sql import Statement
from archstone.plugins import Implementations

__all__ = [
    "Engine",
    "EngineFactory",
    "EngineOptions",
    "Member",
    "Pin",
    "Result",
    "Statistics",
    "View",
    "find_engine",
    "register_engine",
]

ENTRY_POINTS: Final = "archstone.databases"

Values = tuple[Any, ...]
Result = tuple[int, Description, list[Values]]
"""Rows changed (0 where that means nothing), description of the columns, rows. A plain tuple: this is hot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What a Database hands to its engine."""

    name: str
    """How the owner is named to a process that finds the file in use."""
    hold_limit_s: float
    """Seconds a transaction may stay open between its first statement and its end. Above 0."""
    snapshot_limit_s: float
    """Seconds a snapshot may stay open. Above 0."""
    commit_in_thread: bool | None
    """Whether COMMIT runs in a thread. None: if a sync measured at opening takes more than 1 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counters of an engine since it was opened."""

    commits: int = 0
    """Groups committed."""
    members: int = 0
    """Transactions in them, rolled back ones not counted."""
    largest_group: int = 0
    """Most members that one commit had."""
    lost_groups: int = 0
    """Groups rolled back as a whole."""
    held_too_long: int = 0
    """Transactions rolled back because they stayed open too long."""
    slow_reads: int = 0
    """Reads that were repeated in a thread because they cost too much on the loop."""
    expired_snapshots: int = 0
    """Snapshots ended because of their age or the size of the log."""
    waiting: int = 0
    """Transactions that wait for their turn now."""
    wal_bytes: int = 0
    """Size of the write-ahead log file."""
    sync_s: float = 0.0
    """Seconds one sync took when measured at opening; 0 if it was not measured."""


class Member(Protocol):
    """One transaction on an engine. It begins with its first statement, by itself."""

    async def run(self, statement: Statement, values: Values) -> Result:
        """Run `statement` and return everything it gives."""
        ...

    async def run_many(self, statement: Statement, rows: Sequence[Values]) -> int:
        """Run `statement` once per row, in order; return the rows changed in all. If one fails, none of it stays."""
        ...

    async def save(self) -> str:
        """Set a savepoint and return its name."""
        ...

    async def keep(self, name: str) -> None:
        """Give a savepoint up and keep what was done since."""
        ...

    async def undo(self, name: str) -> None:
        """Roll back to a savepoint and give it up. The transaction can go on, also where a statement failed since."""
        ...

    async def finish(self, callbacks: list[Callable[[], None]]) -> None:
        """Commit. Returns when it is durable, or at once if the member was made with `wait=False`."""
        ...

    async def prepare(self, name: str) -> None:
        """Prepare to commit under a name, for `Engine.settle`; MisuseError if the engine cannot."""
        ...

    async def abandon(self, error: BaseException) -> None:
        """Roll back because of `error`, which the caller raises afterwards."""
        ...

    async def durable(self) -> None:
        """Return when what was finished is durable; raise TransactionLostError if it never will be."""
        ...


class View(Protocol):
    """One instant of the database, read several times."""

    async def read(self, statement: Statement, values: Values) -> Result:
        """Run a reading statement and return everything it gives."""
        ...

    async def close(self) -> None:
        """Give the instant up."""
        ...


class Pin(Protocol):
    """One instant of the database, held to be copied."""

    async def copy_to(self, path: Path) -> None:
        """Write a copy of the database as of the instant to `path`, synced; the file appears whole or not at all."""
        ...

    async def release(self) -> None:
        """Give the instant up. Releasing twice is harmless."""
        ...


class Engine(Protocol):
    """Runs bound statements on one database."""

    dialect: str
    """`sqlite` or `postgresql`: which variants of migrations apply."""
    shared: bool
    """Whether several processes may have it open at once."""
    serializable: bool
    """Whether transactions are as if one ran after another."""
    heard: Callable[[str | None], None]
    """Called with each word that another process signals; with None where some may have been missed."""
    label: str
    """How errors name the database: its file, or its URL without password."""

    async def open(self) -> None:
        """Connect and take the writer's lock; nothing is left behind on failure."""
        ...

    async def close(self) -> None:
        """Wait for transactions in flight, commit, disconnect."""
        ...

    def signal(self, word: str) -> None:
        """Tell the other processes that have it open, soon; a word may be lost."""
        ...

    def listen(self) -> None:
        """Call `heard` from now on."""
        ...

    def member(self, *, wait: bool) -> Member:
        """Return a new transaction that has not begun."""
        ...

    async def execute(self, statement: Statement, values: Values) -> Result:
        """Run one statement as a transaction of its own; returns when it is durable."""
        ...

    async def read(self, statement: Statement, values: Values) -> Result:
        """Run one reading statement on what is committed, never waiting for the writer."""
        ...

    async def view(self) -> View:
        """Return the present instant."""
        ...

    async def prepared(self) -> list[str]:
        """Return the names of prepared transactions. MisuseError if it cannot prepare."""
        ...

    async def settle(self, name: str, *, commit: bool) -> bool:
        """Commit or roll back a prepared transaction; False if there is none of the name."""
        ...

    async def pause(self) -> None:
        """Wait for the writer and hold it, with everything answered so far committed."""
        ...

    def resume(self) -> None:
        """End `pause`."""
        ...

    async def pin(self) -> Pin:
        """Hold the present instant for a copy."""
        ...

    def statistics(self) -> Statistics:
        """Return the counters."""
        ...


EngineFactory = Callable[[str, EngineOptions], Engine]
"""Makes the engine of a URL; connects to nothing yet."""

_registered: dict[str, EngineFactory] = {}
_ENGINES: Final = Implementations[EngineFactory](
    ENTRY_POINTS,
    {
        "postgres": "archstone.data.engines.postgresql:engine_of",
        "postgresql": "archstone.data.engines.postgresql:engine_of",
        "sqlite": "archstone.data.engines.sqlite:engine_of",
    },
)
_EXTRAS: Final = {"asyncpg": "postgresql"}
"""What an engine imports that is not there: the extra that brings it."""


def register_engine(scheme: str, factory: EngineFactory) -> None:
    """Make `factory` answer for URLs of `scheme`."""
    _registered[scheme] = factory


def find_engine(url: str, options: EngineOptions) -> Engine:
    """Return the engine of `url`, not yet open.

    Raises:
        UnknownEngineError: There is none for the scheme, or the URL is malformed.
    """
    scheme, separator, _ = url.partition(":")
    if not separator:
        raise UnknownEngineError(url, "has no scheme; a file is sqlite:///name.db or sqlite:////absolute/name.db")
    try:
        factory = _registered.get(scheme) or _ENGINES.find(scheme)
    except ModuleNotFoundError as error:
        if (extra := _EXTRAS.get(error.name or "")) is None:
            raise
        reason = f"needs {error.name}: pip install 'archstone[{extra}]'"
        raise UnknownEngineError(scheme + ":", reason) from error
    if factory is None:
        known = sorted({*_registered, *_ENGINES.names()})
        raise UnknownEngineError(scheme + ":", f"no engine for this scheme; known: {', '.join(known)}")
    return factory(url, options)
