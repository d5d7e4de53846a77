"""Spans in a SQLite file of their own, so that a trace can be looked up after the process that made it has died.

    async with SpanStore(folder / "traces.db") as store:      # records every span until the block ends
        ...
        print(waterfall(store.find(order_id)))

Promise: adding costs a list append; writing happens in batches, a few times a second, without fsync: a crash of
the process loses at most the last batch, a power cut perhaps more, and a file it has damaged is put aside at the
next opening. Everything is bounded: the buffer (what comes when it is full is dropped and counted), the rate (above
it traces are sampled out when they begin: of those a span in error is kept, and what ends after it), the spans of one
trace, the rows and their age. No fault of the file reaches the work that is traced. Not for facts that matter: those
go through the outbox.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Self

import orjson

from archstone import world
from archstone.observability.errors import SpanStoreError
from archstone.observability.logline import safe_text
from archstone.observability.logs import get_logger
from archstone.observability.recorders import SpanRecord, add_recorder, remove_recorder
from archstone.observability.registry import counter
from archstone.observability.sampling import Sampler

__all__ = ["SpanStore"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS spans (
    position INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent_id BLOB,
    name TEXT NOT NULL, kind TEXT NOT NULL, start_us INTEGER NOT NULL, duration_us INTEGER NOT NULL,
    status TEXT NOT NULL, ref TEXT, attributes BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS spans_by_trace ON spans (trace_id);
CREATE INDEX IF NOT EXISTS spans_by_ref ON spans (ref) WHERE ref IS NOT NULL;
"""
_COLUMNS: Final = "trace_id, span_id, parent_id, name, kind, start_us, duration_us, status, ref, attributes"
_INSERT: Final = f"INSERT INTO spans ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BY_TRACE: Final = f"SELECT {_COLUMNS} FROM spans WHERE trace_id = ? ORDER BY start_us, position DESC LIMIT ?"
_BY_REF: Final = (
    f"SELECT {_COLUMNS} FROM spans WHERE trace_id IN"
    " (SELECT trace_id FROM spans WHERE ref = ? ORDER BY position DESC LIMIT 1000)"
    " ORDER BY start_us, position DESC LIMIT ?"
)
_TRACES_OF: Final = "SELECT trace_id FROM spans WHERE ref = ? ORDER BY position DESC LIMIT ?"
_ENDS: Final = "SELECT (SELECT min(position) FROM spans), (SELECT max(position) FROM spans)"
_OLDEST: Final = "SELECT trace_id, start_us FROM spans ORDER BY position LIMIT ?"
_DELETE: Final = "DELETE FROM spans WHERE position IN (SELECT position FROM spans WHERE trace_id = ? LIMIT ?)"
_BATCH: Final = 500
"""Rows written or deleted at once: about 2 ms, which is how long the loop stands still for it."""
_OLDEST_BATCH: Final = 100
"""Oldest rows looked at in one sweep; the traces they belong to go whole, in as many sweeps as that takes."""
_SWEEP_EVERY: Final = 100
# Of two spans that began in one microsecond the outer one ended later, so it has the higher position.
_FIND_LIMIT: Final = 10_000
_RESUMED: Final = (
    "SELECT trace_id, count(*) FROM spans WHERE trace_id IN"
    " (SELECT trace_id FROM spans ORDER BY position DESC LIMIT 5000) GROUP BY trace_id"
)

_dropped = counter("archstone_spans_dropped", "Spans not kept, by reason.", ("reason",))
_log = get_logger("archstone.observability")


class SpanStore:
    """The spans of a system, findable by trace and by business id.

    Args:
        path: The file; its folder exists. Mode 0600: attributes may name people.
        spans_per_s: Spans kept a second; above it traces are sampled, whole ones, never those with an error.
        max_buffer: Spans held in memory between two writes.
        max_rows: Rows kept; beyond it the oldest traces go.
        max_trace_spans: Spans kept of one trace, errors too: its id may come from a client that uses one for ever.
        max_age_s: How long a trace is kept after its first span.
        flush_s: Time between two writes.
    """

    def __init__(
        self,
        path: Path,
        *,
        spans_per_s: float = 1_000,
        max_buffer: int = 10_000,
        max_rows: int = 300_000,
        max_trace_spans: int = 10_000,
        max_age_s: float = 7 * 86_400,
        flush_s: float = 0.25,
    ) -> None:
        self.path = path
        self._max_buffer = max_buffer
        self._max_rows = max_rows
        self._max_age_us = int(max_age_s * 1_000_000)
        self._flush_s = flush_s
        self._buffer: list[SpanRecord] = []
        self._sampler = Sampler(spans_per_s, max_trace_spans=max_trace_spans)
        self._doomed: list[bytes] = []
        self._file: sqlite3.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self.dropped = 0
        """Spans lost because the buffer or their trace was full, or the file refused them; not those sampled out."""

    @property
    def sampled_out(self) -> int:
        """Traces not kept because there were more spans than `spans_per_s`."""
        return self._sampler.sampled_out

    async def __aenter__(self) -> Self:
        self.open()
        add_recorder(self.add, wants=self._sampler.wants)
        self._task = asyncio.create_task(self._flush_and_sweep(), name="archstone span store")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        remove_recorder(self.add)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        self.close()

    def open(self) -> None:
        """Open the file, made if absent. One that SQLite cannot read is renamed to `.broken` and a new one begun.

        Raises:
            SpanStoreError: The file cannot be opened or made: no permission, no folder, no space.
        """
        try:
            self._file = self._connect()
        except (
            sqlite3.OperationalError,
            OSError,
        ) as error:  # no permission, locked, disk full: the file is not to blame
            raise SpanStoreError(str(self.path), str(error)) from error
        except sqlite3.DatabaseError as error:
            _log.warning("traces put aside", path=str(self.path), why=str(error))
            self._put_aside()
            self._file = self._connect()
        for trace_id, spans in self._file.execute(_RESUMED):
            self._sampler.keep(int.from_bytes(trace_id), spans=spans)  # a saga that goes on after a crash: one trace

    def close(self) -> None:
        """Write what is in the buffer and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, record: SpanRecord) -> None:
        """Take a span, to be written soon. This is a recorder: it never waits and never raises."""
        kept = self._sampler.take(record)
        if self._sampler.overlong:
            self._drop("trace_full", self._sampler.overlong)
            self._sampler.overlong = 0
        if kept is None:
            return
        if len(self._buffer) + len(kept) > self._max_buffer:
            self._drop("buffer_full", len(kept))
            return
        self._buffer += kept

    def flush(self) -> int:
        """Write everything in the buffer and return the number of spans written. Never raises for the file's sake."""
        written = 0
        while self._buffer:
            batch, self._buffer = self._buffer[:_BATCH], self._buffer[_BATCH:]
            written += self._write(batch)
        self._sampler.adapt()
        return written

    def find(self, ref: str) -> list[SpanRecord]:
        """Return all spans of all traces in which a span has this `ref`, by start; at most 10,000."""
        return self._read(_BY_REF, ref)

    def trace(self, trace_id: int) -> list[SpanRecord]:
        """Return all spans of one trace, by start; at most 10,000."""
        return self._read(_BY_TRACE, trace_id.to_bytes(16))

    def about(
        self, ref: str, *, also: Collection[int] = (), max_traces: int = 20, limit: int = 2_000
    ) -> list[SpanRecord]:
        """Return the spans of the newest traces in which a span has this `ref`, by start; what is in the buffer too.

        It writes nothing, so it may be asked often: it costs about 0.1 ms a trace, and 0.5 ms with a full buffer.

        Args:
            ref: The business id.
            also: Traces that are wanted too, whoever they are about.
            max_traces: Newest traces of `ref` looked at.
            limit: Spans returned at most, and of each trace.
        """
        try:
            file = self._opened()
            found = [int.from_bytes(trace_id) for (trace_id,) in file.execute(_TRACES_OF, (ref, limit))]
            found = [record.trace_id for record in reversed(self._buffer) if record.ref == ref] + found
            traces = dict.fromkeys([*list(dict.fromkeys(found))[:max_traces], *also])
            spans = [
                _record(row) for trace_id in traces for row in file.execute(_BY_TRACE, (trace_id.to_bytes(16), limit))
            ]
        except sqlite3.Error as error:
            raise SpanStoreError(str(self.path), str(error)) from error
        spans += [record for record in self._buffer if record.trace_id in traces]
        return sorted(spans, key=_by_start)[:limit]

    def sweep(self) -> int:
        """Delete some of what is beyond age and rows, oldest traces first; return how many rows, at most 500.

        0: nothing is left to do. A trace goes whole, a large one in several calls.
        """
        file = self._opened()
        swept = 0
        with file:
            if not self._doomed:
                self._doomed = self._beyond(file)
            while self._doomed and swept < _BATCH:
                swept += file.execute(_DELETE, (self._doomed[-1], _BATCH - swept)).rowcount
                if swept < _BATCH:
                    self._doomed.pop()
        return swept

    def _beyond(self, file: sqlite3.Connection) -> list[bytes]:
        oldest_us = world.now_us() - self._max_age_us
        first, last = file.execute(_ENDS).fetchone()
        excess = 0 if last is None else last - first + 1 - self._max_rows
        oldest = enumerate(file.execute(_OLDEST, (_OLDEST_BATCH,)))
        traces = [trace_id for number, (trace_id, start_us) in oldest if number < excess or start_us < oldest_us]
        return list(dict.fromkeys(traces))[::-1]

    async def _flush_and_sweep(self) -> None:
        turns = 0
        while True:
            await asyncio.sleep(self._flush_s)
            while self._buffer:
                batch, self._buffer = self._buffer[:_BATCH], self._buffer[_BATCH:]
                self._write(batch)
                await asyncio.sleep(0)  # others run between two batches
            self._sampler.adapt()
            turns += 1
            if turns % _SWEEP_EVERY == 0:
                await self._sweep_all()

    async def _sweep_all(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # the next flush fails too and says so
            swept = True
            while swept:
                swept = self.sweep() > 0
                await asyncio.sleep(0)  # others run between two batches

    def _write(self, batch: list[SpanRecord]) -> int:
        try:
            file = self._opened()
            with file:
                file.executemany(_INSERT, map(_row, batch))
        except sqlite3.Error as error:
            self._drop("file", len(batch))
            if not self._failing:
                _log.error("spans cannot be written", path=str(self.path), exc_info=error)
            self._failing = True
            return 0
        self._failing = False
        return len(batch)

    def _read(self, sql: str, what: object) -> list[SpanRecord]:
        self.flush()
        try:
            return [_record(row) for row in self._opened().execute(sql, (what, _FIND_LIMIT))]
        except sqlite3.Error as error:
            raise SpanStoreError(str(self.path), str(error)) from error

    def _drop(self, reason: str, count: int) -> None:
        self.dropped += count
        _dropped.labels(reason).inc(count)

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            raise sqlite3.ProgrammingError("not open: use `async with`, or open()")
        return self._file

    def _connect(self) -> sqlite3.Connection:
        self.path.touch(mode=0o600, exist_ok=True)
        file = sqlite3.connect(self.path, timeout=1.0, isolation_level="IMMEDIATE", check_same_thread=False)
        try:
            file.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-4000; {_SCHEMA}")
        except sqlite3.Error:
            file.close()
            raise
        return file

    def _put_aside(self) -> None:
        self.path.replace(self.path.with_name(self.path.name + ".broken"))
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def _by_start(record: SpanRecord) -> int:
    return record.start_us


def _row(record: SpanRecord) -> tuple[object, ...]:
    trace_id, span_id, parent_id, name, kind, start_us, duration_us, status, ref, attributes = record
    return (
        trace_id.to_bytes(16), span_id.to_bytes(8), None if parent_id is None else parent_id.to_bytes(8),
        name, kind, start_us, duration_us, status, ref, orjson.dumps(attributes, default=safe_text),
    )  # fmt: skip


def _record(row: tuple[Any, ...]) -> SpanRecord:
    trace_id, span_id, parent_id, name, kind, start_us, duration_us, status, ref, attributes = row
    return SpanRecord(
        int.from_bytes(trace_id),
        int.from_bytes(span_id),
        None if parent_id is None else int.from_bytes(parent_id),
        name,
        kind,
        start_us,
        duration_us,
        status,
        ref,
        orjson.loads(attributes),
    )
