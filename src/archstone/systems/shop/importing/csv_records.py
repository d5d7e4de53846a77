"""CSV as it comes: any of four delimiters, quoted newlines, a mark at the beginning, rows too long or too short."""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import chain
from typing import Final, Protocol

from archstone.systems.shop.importing.records import MAX_RECORD_CHARACTERS, FileUnreadableError, Record

__all__ = ["csv_records", "delimiter_of"]


class _Reader(Protocol):
    """What `csv.reader` gives; its own type is not for annotations before Python 3.13."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> "Iterator[list[str]]": ...

    def __next__(self) -> list[str]: ...


DELIMITERS: Final = ",;|"
MAX_COLUMNS: Final = 1_000


def delimiter_of(header: str) -> str:
    """Return the delimiter that stands most often in a header line, outside quotes; a tab before any, else a comma."""
    bare = "".join(part for number, part in enumerate(header.split('"')) if number % 2 == 0)
    return "\t" if "\t" in bare else max(DELIMITERS, key=bare.count)


def csv_records(name: str, text: TextIOWrapper) -> Iterator[Record]:
    """Yield the records of a CSV file whose first line that is not blank holds the names of its columns.

    Raises:
        FileUnreadableError: a line or a field is endless, as after a quote that nobody closes.
    """
    lines = _bounded(name, text)
    header, skipped = _first(lines)
    delimiter = delimiter_of(header)
    if header[:4].lower() == "sep=" and len(header.strip()) == 5:  # what Excel writes to say so itself
        delimiter, header, skipped = header[4], next(lines, ""), skipped + 1
    # The header may go on in the next line, inside quotes: so it is given to the reader, and the rest after it.
    csv.field_size_limit(MAX_RECORD_CHARACTERS)  # of the whole process, whose own limit is an eighth of this
    source = _Watched(chain([header], lines))
    rows = _rows(name, csv.reader(iter(source), delimiter=delimiter), skipped, source=source)
    line, header_row = next(rows, (1, [""]))
    columns = [cell.strip() for cell in header_row]
    if not any(columns):
        raise FileUnreadableError(name, line, "names no columns: its first row must")
    if len(columns) > MAX_COLUMNS:
        raise FileUnreadableError(name, line, f"names {len(columns)} columns, at most {MAX_COLUMNS}")
    for line, row in rows:
        yield _record(columns, row, line=line)


def _first(lines: Iterator[str]) -> tuple[str, int]:
    """Return the first line that is not blank, without a mark, and how many lines stand before it."""
    for number, line in enumerate(lines):
        if line.strip("\ufeff \t\r\n"):
            return line.removeprefix("\ufeff"), number
    return "", 0


class _Watched:
    """Lines, and whether their end has been met."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.over = False

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        self.over = True


def _rows(name: str, reader: _Reader, skipped: int, *, source: _Watched) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line it begins on."""
    while True:
        line = skipped + reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise FileUnreadableError(name, line, f"is not CSV ({error}): is a quote left open?") from error
        if row is None:
            return
        if source.over:
            # Only inside quotes does a row ask for more than there is: all that follows would be text of one cell.
            raise FileUnreadableError(name, line, "opens a quote that nobody closes: the rest of the file is inside it")
        if any(cell.strip() for cell in row):
            yield line, row


def _bounded(name: str, text: TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_RECORD_CHARACTERS):
        number += 1
        if len(line) == MAX_RECORD_CHARACTERS:
            what = f"is longer than {MAX_RECORD_CHARACTERS} characters: is it a file of text at all?"
            raise FileUnreadableError(name, number, what)
        yield line


def _record(columns: list[str], row: list[str], *, line: int) -> Record:
    if len(row) > len(columns):
        surplus = [cell for cell in row[len(columns) :] if cell.strip()]
        if surplus:
            what = f"it has {len(row)} cells, the header has {len(columns)}: a delimiter outside quotes?"
            return Record(line, None, what)
    # Of two columns of one name the first counts. A short row leaves its last columns out.
    fields: dict[str, str] = {}
    for column, cell in zip(columns, row, strict=False):
        fields.setdefault(column, cell)
    return Record(line, fields)
