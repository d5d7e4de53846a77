"""Writes the stream to Parquet files, each row once, whatever happens.

    archive = Archive(folder)
    async with Following(sequencer, archive, name="history"):
        ...

    FOLDER/trades/date=2026-03-01/symbol=ACME/part-00000000000000000001-00000000000000004711.parquet
    FOLDER/events/date=2026-03-01/symbol=ACME/part-....parquet
    FOLDER/progress.json                      how far it is: {"format": 1, "last": 4711}

The two numbers of a part are those of the first and last command that it may hold rows of. Rows are gathered in memory
and written together. First all parts are written, each whole or not at all; then `progress.json` says so. What a crash
leaves beyond that is removed at the next start and written again: so each row is in one file, and only files up to
`last` are final.
"""

import asyncio
import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from archstone import disk, world
from archstone.errors import ConfigError, LostError
from archstone.resilience import check
from archstone.systems.exchange.history.columns import KINDS, Column, Rows, rows_of
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.tape import Symbols
from archstone.systems.exchange.venue.state import State

__all__ = ["AFTER_PART", "AFTER_PARTS", "AFTER_PROGRESS", "PARTS", "Archive"]

AFTER_PART: Final = world.declare_point(
    "exchange.history_after_part", "one file of several is written, and nothing says that it is final"
)
AFTER_PARTS: Final = world.declare_point(
    "exchange.history_after_parts", "all files are written, and nothing says that they are final"
)
AFTER_PROGRESS: Final = world.declare_point(
    "exchange.history_after_progress", "the files are final, on disk; nobody has been told"
)

T = TypeVar("T")

PARTS: Final = re.compile(r"part-(\d{20})-(\d{20})\.parquet")
_FORMAT: Final = 1
_ROW_GROUP: Final = 100_000


class Archive:
    """A folder of files. A `Reader` of the stream. One process at a time writes to it."""

    def __init__(
        self, folder: Path, *, symbols: Symbols | None = None, most: int = 200_000, gather_s: float = 600.0
    ) -> None:
        """Describe it. Nothing is touched before `last`.

        Args:
            folder: Where the files are; it is made.
            symbols: How books are called. None: by their numbers.
            most: Events that are gathered in memory before they are written, some more at most. At least 1.
            gather_s: Seconds after which they are written all the same, by the time of the commands. At least 0.

        Raises:
            ConfigError: pyarrow is not installed, or a setting is out of its range.
        """
        self.most = most
        self.gather_s = gather_s
        check(self, most=(most >= 1, "at least 1"), gather_s=(0 <= gather_s < float("inf"), "at least 0 and finite"))
        self.folder = folder
        self._symbols = symbols or Symbols()
        self._arrow: Any = _imported("pyarrow")
        self._parquet: Any = _imported("pyarrow.parquet")
        self._gathered: list[Batch] = []
        self._events = 0
        self._lock = asyncio.Lock()
        self._sound = True
        """False: files may be there that are not final. `last` removes them."""

    async def last(self) -> int:
        """Remove what is not final, and return the last command that is in the files."""
        async with self._lock:
            self._gathered, self._events = [], 0
            found = await _in_thread(self._recover)
            self._sound = True
            return found

    async def take(self, batches: Sequence[Batch]) -> None:
        """Gather batches, and write them when there are enough, or when they are of another day.

        Raises:
            LostError: Writing has failed before: begin again with `last`.
        """
        async with self._lock:
            if not self._sound:
                raise LostError("history: what was gathered could not be written: it is read again")
            for batch in batches:
                if self._gathered and self._is_due(batch.at_ns):
                    await self._flush()
                self._gathered.append(batch)
                self._events += len(batch.events)
            if self._events >= self.most:
                await self._flush()

    async def begin(self, venue: State, sequence: int) -> int:
        """Go on after command number `sequence`: no file has rows of what came between."""
        del venue
        async with self._lock:
            self._gathered, self._events = [], 0
            had = await _in_thread(self.final)
            await _in_thread(partial(self._note, sequence))
            return had

    async def flush(self, *, now_ns: int | None = None) -> None:
        """Write what is gathered; given a moment, only if it is due by then."""
        async with self._lock:
            if self._sound and self._gathered and (now_ns is None or self._is_due(now_ns)):
                await self._flush()

    async def _flush(self) -> None:
        self._sound = False
        await _in_thread(partial(self._write, self._gathered))
        self._sound = True
        self._gathered, self._events = [], 0

    def final(self) -> int:
        """Return the last command that is in the files for good. 0: none is."""
        progress = self.folder / "progress.json"
        return _last_in(progress) if progress.exists() else 0

    def _is_due(self, at_ns: int) -> bool:
        first_ns = self._gathered[0].at_ns
        return at_ns - first_ns >= self.gather_s * 1e9 or _day(at_ns) != _day(first_ns)

    def _recover(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        disk.remove_unfinished(self.folder)
        last = self.final()
        for part in self.folder.rglob("part-*.parquet"):
            named = PARTS.fullmatch(part.name)
            if named is not None and int(named[2]) > last:
                part.unlink()
        return last

    def _write(self, batches: Sequence[Batch]) -> None:
        first, last = batches[0].first, batches[-1].last
        name = f"part-{first:020}-{last:020}.parquet"
        for kind, columns in KINDS.items():
            for folder, rows in self._by_file(kind, rows_of(kind, batches)):
                table = self._table(columns, rows)
                disk.make_folder(folder)
                disk.put_by(folder / name, lambda path, table=table: self._put(table, path))
                world.point(AFTER_PART)
        world.point(AFTER_PARTS)
        self._note(last)
        world.point(AFTER_PROGRESS)

    def _note(self, last: int) -> None:
        disk.put(self.folder / "progress.json", json.dumps({"format": _FORMAT, "last": last}).encode())

    def _by_file(self, kind: str, rows: Rows) -> Iterator[tuple[Path, Rows]]:
        """Give the rows of each day and book, with the folder of their file."""
        days, books = rows["day"], rows["book"]
        for day, book in sorted({*zip(days.tolist(), books.tolist(), strict=True)}):
            date, mask = np.datetime64(day, "D"), (days == day) & (books == book)
            folder = self.folder / kind / f"date={date}" / f"symbol={self._symbols.symbol(book)}"
            yield folder, {name: column[mask] for name, column in rows.items()}

    def _table(self, columns: Sequence[Column], rows: Rows) -> Any:
        arrays = {column.name: self._array(column, rows[column.name]) for column in columns}
        return self._arrow.table(arrays)

    def _array(self, column: Column, values: Any) -> Any:
        arrow = self._arrow
        if column.type == "dictionary":
            return arrow.array(values, arrow.string()).dictionary_encode()
        return arrow.array(values.astype(np.int64)).cast(
            arrow.timestamp("ns", tz="UTC") if column.type == "timestamp" else arrow.int64()
        )

    def _put(self, table: Any, path: Path) -> None:
        self._parquet.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP)


async def _in_thread(work: Callable[[], T]) -> T:
    """Run work beside the loop. Cancelled, it returns when the work has ended: two must not write at once."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError("history: it needs pyarrow: pip install 'archstone[history]'") from error


def _day(at_ns: int) -> int:
    return at_ns // 86_400_000_000_000


def _last_in(progress: Path) -> int:
    """Return how far a folder's progress says that it is.

    Raises:
        ConfigError: It cannot be read, or is of a later release.
    """
    try:
        found = json.loads(progress.read_text(encoding="utf-8"))
        form, last = found["format"], found["last"]
    except (ValueError, KeyError, TypeError) as error:
        what = f"history: {progress} cannot be read: {error}: restore it, or begin with another folder"
        raise ConfigError(what) from error
    if form != _FORMAT or not isinstance(last, int):
        raise ConfigError(f"history: {progress} has format {form!r}, this release knows {_FORMAT}")
    return last
