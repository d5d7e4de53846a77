"""NASDAQ TotalView-ITCH 5.0, as NASDAQ's files of whole days have it: read into messages, and written from them.

A file is a row of messages, each after two bytes with its length, big-endian; a length of 0 ends it (NASDAQ calls that
BinaryFILE). Integers are big-endian, names are padded with spaces on the right, prices have four decimals, times are
nanoseconds since midnight in six bytes.

Source: Nasdaq, "Nasdaq TotalView-ITCH 5.0", section 4 with the 23 types of its revision of April 2023. Types that are
not in it are counted and passed over by their length, since NASDAQ adds some now and then; a known one of another
length is damage.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.replaying.layouts import LAYOUTS
from archstone.systems.exchange.replaying.messages import DamagedFileError, Happened, Messages, empty
from archstone.systems.exchange.replaying.source import PIECE_BYTES, Source

__all__ = ["ItchReader", "write_itch"]

_KINDS: Final[Mapping[bytes, Happened]] = {
    b"A": Happened.ADDED,
    b"F": Happened.ADDED,
    b"X": Happened.REDUCED,
    b"D": Happened.DELETED,
    b"E": Happened.EXECUTED,
    b"C": Happened.PRICED,
    b"U": Happened.REPLACED,
    b"P": Happened.HIDDEN,
    b"Q": Happened.CROSSED,
    b"H": Happened.ACTION,
    b"R": Happened.LISTED,
}
_SIZES: Final = {letter[0]: layout.itemsize for letter, layout in LAYOUTS.items()}

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


class ItchReader:
    """The messages of one file."""

    def __init__(self, file: Path, *, symbols: frozenset[str] = frozenset(), piece_bytes: int = PIECE_BYTES) -> None:
        """Take a file; it is opened when it is read.

        Args:
            file: Packed by gzip, or not.
            symbols: Only the books of these stocks; empty: all.
            piece_bytes: How much of it is read at a time, at least 1.
        """
        self.source = Source(file, piece_bytes=piece_bytes)
        self.symbols: dict[int, str] = {}
        """Name of each book, as far as the file has been read."""
        self.ended = False
        """Whether the file says that it is whole."""
        self._wanted = symbols
        self._count = self._place = 0

    def __iter__(self) -> Iterator[Messages]:
        """Give all messages in pieces.

        Raises:
            DamagedFileError: A message is cut, has a wrong length, or something follows the end.
        """
        rest = b""
        for piece in self.source.pieces():
            data = rest + piece
            found, used = self._framed(data)
            if len(found):
                yield self._only_wanted(self._decoded(data, found))
            self._count += len(found)
            self._place += used
            rest = data[used:]
        if rest:
            raise self._damaged(self._count, self._place, f"the file ends {len(rest)} bytes after its beginning")

    def _framed(self, data: bytes) -> tuple[Places, int]:
        """Return where the whole messages of `data` begin, after their lengths, and how many bytes they take."""
        if self.ended:
            raise self._damaged(self._count, self._place, "something follows the end")
        found: list[int] = []
        at, last = 0, len(data)
        while at + 2 <= last and not self.ended:
            length = data[at] << 8 | data[at + 1]
            end = at + 2 + length
            if end > last:
                break
            if not length:
                self.ended = True
            elif _SIZES.get(data[at + 2], length) != length:
                fault = f"a message {chr(data[at + 2])} has {length} bytes instead of {_SIZES[data[at + 2]]}"
                raise self._damaged(self._count + len(found), self._place + at, fault)
            else:
                found.append(at + 2)
            at = end
        if self.ended and at < last:
            raise self._damaged(self._count + len(found), self._place + at, "something follows the end")
        return np.array(found, np.int64), at

    def _damaged(self, count: int, place: int, fault: str) -> DamagedFileError:
        return DamagedFileError(self.source.file.name, f"message {count + 1:,} at byte {place:,}", fault)

    def _decoded(self, data: bytes, places: Places) -> Messages:
        raw = np.frombuffer(data, np.uint8)
        messages = empty(len(places))
        letters = raw[places]
        for letter in np.unique(letters).tolist():
            where = np.flatnonzero(letters == letter)
            layout = LAYOUTS.get(bytes([letter]))
            if layout is None:
                messages["kind"][where], messages["state"][where] = Happened.OTHER, letter
            else:
                rows = raw[places[where][:, None] + np.arange(layout.itemsize)].view(layout)[:, 0]
                self._fill(messages, where, bytes([letter]), rows)
        return messages

    def _fill(self, messages: Messages, where: Places, letter: bytes, rows: Messages) -> None:
        """Put messages of one type where they belong."""
        messages["kind"][where] = _KINDS.get(letter, Happened.OTHER)
        messages["book"][where] = rows["locate"]
        messages["at_ns"][where] = rows["time_high"].astype(np.int64) << 32 | rows["time_low"]
        for name, ours in (("ref", "id"), ("new", "other"), ("shares", "quantity"), ("price", "price")):
            if name in (rows.dtype.names or ()):
                messages[ours][where] = rows[name]
        if "side" in (rows.dtype.names or ()):
            messages["side"][where] = np.where(rows["side"] == b"B", Side.BUY, Side.SELL)
        if letter == b"H":
            messages["state"][where] = rows["state"].view(np.uint8)
        elif letter == b"R":
            names = cast("list[bytes]", rows["stock"].tolist())
            self.symbols.update(zip(rows["locate"].tolist(), (_text(name) for name in names), strict=True))
        elif letter not in _KINDS:
            messages["state"][where] = letter[0]

    def _only_wanted(self, messages: Messages) -> Messages:
        if not self._wanted:
            return messages
        books = [book for book, name in self.symbols.items() if name in self._wanted]
        return messages[np.isin(messages["book"], books)]


def _text(name: bytes) -> str:
    return name.decode("latin-1").rstrip(" \0")


def write_itch(file: BinaryIO, messages: Messages, symbols: Mapping[int, str]) -> None:
    """Append messages to a file, OTHER apart; two bytes of 0 after the last ones end it.

    Fields that messages do not have are blank or 0. What is not told of an order in ITCH (price and side of what
    follows it) is left out.

    Args:
        file: Opened for writing bytes.
        messages: Of books below 2**16.
        symbols: Names of the books, at most 8 characters.
    """
    letters = _LETTERS[messages["kind"]]
    kept, letters = messages[letters != 0], letters[letters != 0]
    lengths = _LENGTHS[letters]
    places = np.cumsum(lengths + 2) - lengths
    data = np.zeros(int((lengths + 2).sum()), np.uint8)
    data[places - 2], data[places - 1] = lengths >> 8, lengths & 0xFF
    for letter in np.unique(letters).tolist():
        where = np.flatnonzero(letters == letter)
        rows = _rows(bytes([letter]), kept[where], symbols)
        data[places[where][:, None] + np.arange(rows.itemsize)] = rows.view(np.uint8).reshape(len(rows), -1)
    file.write(data.tobytes())


_LETTERS: Final = np.zeros(256, np.uint8)
_LETTERS[[*_KINDS.values()]] = [letter[0] for letter in _KINDS]
_LETTERS[Happened.ADDED] = ord("A")
_LENGTHS: Final = np.zeros(256, np.int64)
_LENGTHS[[*_SIZES]] = [*_SIZES.values()]


def _rows(letter: bytes, messages: Messages, symbols: Mapping[int, str]) -> Messages:
    """Return messages of one type as ITCH has them."""
    rows = np.zeros(len(messages), LAYOUTS[letter])
    given = {
        "type": letter,
        "locate": messages["book"],
        "time_high": messages["at_ns"] >> 32,
        "time_low": messages["at_ns"] & 0xFFFFFFFF,
        "ref": messages["id"],
        "new": messages["other"],
        "shares": messages["quantity"],
        "price": messages["price"],
        "stock": [symbols.get(book, "").encode("latin-1").ljust(8) for book in messages["book"].tolist()],
        "side": np.where(messages["side"] == Side.BUY, b"B", b"S"),
        "state": messages["state"].view("S1"),
        "printable": b"Y",
        "cross": b"O",
        "reason": b"    ",
    }
    for name in rows.dtype.names or ():
        if name in given:
            rows[name] = given[name]
    return rows
