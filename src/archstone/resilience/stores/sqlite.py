"""State in a file that all processes of one machine share.

The file is opened with `synchronous=OFF`: it is state, not truth. After a power cut it may be gone or broken; a broken
one is moved away when it is opened. Its clock is that of the machine. A decision is one transaction and some tens of
microseconds, on the loop; a file that others hold is waited for at most `timeout_s`, which holds up the loop as long.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from archstone import world
from archstone.resilience.breaker import Breaker
from archstone.resilience.circuitstate import CircuitState, StateName, Window
from archstone.resilience.limits import take_bucket, take_window
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.store import Begun, StoreLostError, Taken

__all__ = ["SqliteStore"]

T = TypeVar("T")

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS _archstone_circuits (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _archstone_limits (
    limiter TEXT NOT NULL, key TEXT NOT NULL, first REAL NOT NULL, second REAL NOT NULL, third REAL NOT NULL,
    until REAL NOT NULL, PRIMARY KEY (limiter, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _archstone_limits_until ON _archstone_limits (until);
"""
_KNOWN: Final = "SELECT first, second, third FROM _archstone_limits WHERE limiter = ? AND key = ?"
_COUNT: Final = (
    "INSERT INTO _archstone_limits VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (limiter, key) DO UPDATE SET "
    "first = excluded.first, second = excluded.second, third = excluded.third, until = excluded.until"
)
_FORGET_EVERY: Final = 1000
"""Takes after which keys that have rested are forgotten."""


class SqliteStore:
    """A file of circuits and limits."""

    def __init__(self, url: str, timeout_s: float = 0.25) -> None:
        """Open nothing yet.

        Args:
            url: `sqlite:///relative.db` or `sqlite:////absolute.db`.
            timeout_s: Longest wait for a file that another process holds.
        """
        self.path = Path(url.removeprefix("sqlite:///"))
        self.timeout_s = timeout_s
        self._connection: sqlite3.Connection | None = None
        self._takes = 0

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    async def open(self) -> None:
        """Open the file, making it if it is not there."""
        try:
            self._connection = self._opened()
        except sqlite3.OperationalError as error:
            raise StoreLostError(repr(self), str(error)) from error
        except sqlite3.DatabaseError:
            self.path.replace(self.path.with_suffix(".broken"))
            self._connection = self._opened()

    async def close(self) -> None:
        """Close the file; state stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def take(self, limiter: str, policy: RateLimit, key: str, cost: float, max_wait_s: float) -> Taken:
        """Take `cost` for `key`. See `Store`."""
        self._takes += 1

        def take(db: sqlite3.Connection, now_s: float) -> Taken:
            at = (limiter, key)
            row: tuple[float, float, float] | None = db.execute(_KNOWN, at).fetchone()
            if policy.kind == "window":
                known = None if row is None else (int(row[0]), row[1], row[2])
                counted, taken = take_window(policy, known, cost, now_s)
                until_s = (counted[0] + 2) * policy.burst / policy.rate_per_s
            else:
                paid_at_s, taken = take_bucket(policy, row[0] if row else 0.0, cost, now_s, max_wait_s)
                counted, until_s = (paid_at_s, 0.0, 0.0), paid_at_s
            if taken.taken:
                db.execute(_COUNT, (*at, *counted, until_s))
            if self._takes % _FORGET_EVERY == 0:
                db.execute("DELETE FROM _archstone_limits WHERE until < ?", (now_s,))
            return taken

        return self._write(take)

    async def begin(self, circuit: str, policy: Breaker) -> Begun:
        """Let one call through, or say why not. See `Store`."""
        state = self._read(lambda db: _load(db, circuit))
        if state.name == "closed":
            return Begun(state.epoch, None, None)

        def begin(db: sqlite3.Connection, now_s: float) -> Begun:
            state = _load(db, circuit)
            before = state.epoch
            refused = state.admit(policy, now_s)
            if refused is None:
                _save(db, circuit, state)
            return Begun(state.epoch, refused, state.name if state.epoch != before else None)

        return self._write(begin)

    async def end(self, circuit: str, policy: Breaker, epoch: int, outcome: int) -> StateName | None:
        """Count a call. See `Store`."""

        def end(db: sqlite3.Connection, now_s: float) -> StateName | None:
            state = _load(db, circuit)
            before = state.epoch
            state.end(policy, epoch, outcome, now_s)
            _save(db, circuit, state)
            return state.name if state.epoch != before else None

        return self._write(end)

    async def force(self, circuit: str, policy: Breaker, for_s: float | None) -> None:
        """Open or close the circuit. See `Store`."""

        def force(db: sqlite3.Connection, now_s: float) -> None:
            state = _load(db, circuit)
            if for_s is None:
                state.close()
            else:
                state.open(now_s + for_s)
            _save(db, circuit, state)

        self._write(force)

    async def look(self, circuit: str, policy: Breaker) -> tuple[CircuitState, float]:
        """Return where the circuit stands, and the time. See `Store`."""
        return self._read(lambda db: _load(db, circuit)), _now_s()

    def _opened(self) -> sqlite3.Connection:
        # Autocommit: transactions are begun by hand, IMMEDIATE.
        connection = sqlite3.connect(self.path, timeout=self.timeout_s, isolation_level=None, cached_statements=32)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            raise StoreLostError(repr(self), "it is not open")
        try:
            return read(self._connection)
        except sqlite3.Error as error:
            raise StoreLostError(repr(self), str(error)) from error

    def _write(self, decide: Callable[[sqlite3.Connection, float], T]) -> T:
        """Decide within one transaction."""

        def within_transaction(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                # Asked after the lock was had: whoever had it before has an earlier instant.
                decided = decide(db, _now_s())
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return decided

        return self._read(within_transaction)


def _now_s() -> float:
    return world.now_us() / 1_000_000


def _load(db: sqlite3.Connection, circuit: str) -> CircuitState:
    row: tuple[bytes] | None = db.execute("SELECT state FROM _archstone_circuits WHERE name = ?", (circuit,)).fetchone()
    if row is None:
        return CircuitState()
    kept: dict[str, Any] = orjson.loads(row[0])
    kept["until_s"] = float("inf") if kept["until_s"] is None else kept["until_s"]
    kept["window"] = Window(**kept["window"])
    return CircuitState(**kept)


def _save(db: sqlite3.Connection, circuit: str, state: CircuitState) -> None:
    # orjson writes an infinite number as null.
    db.execute("INSERT OR REPLACE INTO _archstone_circuits VALUES (?, ?)", (circuit, orjson.dumps(state)))
