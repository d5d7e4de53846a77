"""asyncpg, as far as it is used here, with types: its own say nothing."""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, Final, Protocol, cast

__all__ = [
    "VALUE_FAULTS",
    "Connection",
    "InterfaceError",
    "OutdatedError",
    "PostgresError",
    "Prepared",
    "connect",
]


class Column(Protocol):
    """A column of a result."""

    name: str


class Prepared(Protocol):
    """A statement prepared on one connection."""

    async def fetch(self, *values: object) -> list[Iterable[Any]]:
        """Run it and return its rows."""
        ...

    async def fetchmany(self, rows: Sequence[Sequence[object]]) -> list[Sequence[Any]]:
        """Run it once per row of parameters, all or none, and return what all of them gave."""
        ...

    def get_attributes(self) -> Sequence[Column]:
        """Return its columns."""
        ...

    def get_statusmsg(self) -> str | None:
        """Return what the server said of the last run, such as `UPDATE 2`."""
        ...


class Connection(Protocol):
    """A connection to a server."""

    async def execute(self, text: str) -> str:
        """Run statements without parameters."""
        ...

    async def prepare(self, text: str, *, name: str) -> Prepared:
        """Prepare a statement under a name, which the server keeps until it is given up."""
        ...

    async def set_type_codec(
        self, name: str, *, schema: str, encoder: Callable[[Any], str], decoder: Callable[[str], Any], format: str
    ) -> None:
        """Say how values of a type are written and read."""
        ...

    async def add_listener(self, channel: str, callback: Callable[["Connection", int, str, str], None]) -> None:
        """LISTEN, and call back with each NOTIFY: connection, process of the server, channel, payload."""
        ...

    def add_termination_listener(self, callback: Callable[["Connection"], None]) -> None:
        """Call back when the connection has ended."""
        ...

    def is_closed(self) -> bool:
        """Whether it is closed, by whomever."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open on it, sound or failed, as of its last answer."""
        ...

    def terminate(self) -> None:
        """Close at once."""
        ...


class Connect(Protocol):
    """How connections are made."""

    async def __call__(
        self, dsn: str, *, timeout: float, server_settings: dict[str, str], statement_cache_size: int
    ) -> Connection:
        """Return a new connection."""
        ...


_asyncpg: Final = import_module("asyncpg")

connect: Final = cast("Connect", _asyncpg.connect)
PostgresError: type[Exception] = _asyncpg.PostgresError
InterfaceError: type[Exception] = _asyncpg.InterfaceError
VALUE_FAULTS: Final[tuple[type[Exception], ...]] = (_asyncpg.DataError, _asyncpg.UnsupportedClientFeatureError)
"""A value that cannot be written or read: the fault of the statement; the connection is sound."""
OutdatedError: type[Exception] = _asyncpg.InternalClientError
"""A table has changed since a statement was prepared, so that its rows cannot be read."""
