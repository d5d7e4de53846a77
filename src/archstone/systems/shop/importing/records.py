"""A file of others as records: JSON (an array, or an object that holds one), JSON lines, CSV.

    with open_records(Path("products.csv")) as records:
        for record in records: ...

A record is a mapping as the file has it, with the line it begins on. A file is read once and never held whole: at most
one record and one chunk are in memory. What makes the rest of a file unreadable (broken JSON, an open quote, another
encoding) raises `FileUnreadableError`; what spoils one record only is told in the record.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any, Final, NamedTuple

from archstone.errors import InvalidError

__all__ = ["MAX_RECORD_CHARACTERS", "FileUnreadableError", "Record", "Records", "open_records"]

MAX_FILE_BYTES: Final = 1 << 30
MAX_RECORD_CHARACTERS: Final = 1 << 20
_BEGINNING_BYTES: Final = 64 * 1024
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


class FileUnreadableError(InvalidError, code="shop.file-unreadable"):
    """The file cannot be read to its end, so nothing of it is taken."""

    def __init__(self, file: str, line: int | None, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file = file
        self.line = line
        """Where it fails. None: as a whole."""
        self.reason = reason

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.reason}; nothing was imported"


class Record(NamedTuple):
    """One record of a file."""

    line: int
    """The line it begins on, from 1."""
    fields: Mapping[str, Any] | None
    """Its fields as the file has them. None: it is no record, and `fault` says why."""
    fault: str = ""


class Records:
    """The records of an open file, in order; to be iterated once."""

    def __init__(self, name: str, file: BufferedReader, records: Iterator[Record], *, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._file = file
        self._records = records

    @property
    def read_bytes(self) -> int:
        """How much of the file has been read, for a progress bar."""
        return self._file.tell()

    def __iter__(self) -> Iterator[Record]:
        return translated(self.name, self._records)


def translated(name: str, records: Iterator[Record]) -> Iterator[Record]:
    """Yield `records`; a byte that is not of the encoding ends them with `FileUnreadableError`."""
    line = 0
    try:
        for record in records:
            line = record.line
            yield record
    except UnicodeError as error:
        what = f"after it comes something that is not {getattr(error, 'encoding', 'text')}"
        raise FileUnreadableError(name, line, f"{what}: name the file's encoding, as with --encoding cp1252") from error


@contextmanager
def open_records(path: Path, *, encoding: str | None = None, rows_at: str | None = None) -> Generator[Records]:
    """Open a file for the block.

    Args:
        path: Any file; what is in it is found out by looking, its suffix only decides in doubt.
        encoding: None: by the mark at its beginning, else UTF-8.
        rows_at: Dotted path of the array in a JSON object. None: the only array of objects in it.

    Raises:
        FileUnreadableError: it is not there, empty, above 1 GiB, or of another kind.
    """
    name = path.name
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileUnreadableError(str(path), None, f"cannot be opened ({error.strerror or error})") from error
    with file:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_FILE_BYTES:
            raise FileUnreadableError(name, None, f"has {size_bytes} bytes, at most {MAX_FILE_BYTES}: split it")
        beginning = file.peek(_BEGINNING_BYTES)
        chosen = encoding or next((known for mark, known in _MARKS if beginning.startswith(mark)), "utf-8")
        try:
            text = TextIOWrapper(file, encoding=chosen, newline="")
        except LookupError as error:
            raise FileUnreadableError(name, None, f"there is no encoding {chosen!r}: try --encoding cp1252") from error
        records = _by_kind(name, text, suffix=path.suffix.lower(), rows_at=rows_at)
        yield Records(name, file, records, size_bytes=size_bytes)


def _by_kind(name: str, text: TextIOWrapper, *, suffix: str, rows_at: str | None) -> Iterator[Record]:
    from archstone.systems.shop.importing.csv_records import csv_records  # noqa: PLC0415 - they build on this module
    from archstone.systems.shop.importing.json_records import json_records  # noqa: PLC0415 - it imports this module

    try:
        first = text.read(1)
        while first and (first.isspace() or first == "\ufeff"):
            first = text.read(1)
        text.seek(0)
        if not first:
            raise FileUnreadableError(name, None, "is empty")
        if first in "[{" and suffix not in {".csv", ".tsv"}:
            return json_records(name, text, rows_at=rows_at, lines=suffix in {".jsonl", ".ndjson"})
        return csv_records(name, text)
    except UnicodeError as error:
        what = f"is not {getattr(error, 'encoding', 'text')}: name its encoding, as with --encoding cp1252"
        raise FileUnreadableError(name, 1, what) from error
