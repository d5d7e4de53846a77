"""LOBSTER's files, a pair for each day of a stock: read into messages and rows of the book, and written from them.

The message file has a line for each change of the best prices, `time,type,id,size,price,direction`: seconds since
midnight with up to nine decimals; 1 a new order, 2 a part of one is cancelled, 3 the rest of one is, 4 a visible one
traded, 5 a hidden one did, 6 an auction, 7 halted (price -1), quoting again (0), trading again (1); the price in
1/10,000; the direction is that of the order, 1 buy, -1 sell, of the one that rested where it traded. Line n of the
orderbook file is the book after message n: `ask price, ask size, bid price, bid size` for each of its levels, the best
first, 9999999999 and -9999999999 with size 0 where nobody is.

Source: LOBSTER, "Data structure", lobsterdata.com/info/DataStructure.php; "Sample Files Readme" of 1 September 2013.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from archstone.errors import ConfigError
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.replaying.messages import DamagedFileError, Happened, Messages, empty
from archstone.systems.exchange.replaying.rebuilt import Rebuilt
from archstone.systems.exchange.replaying.source import PIECE_BYTES, Source

__all__ = ["BOOK", "NOBODY", "LobsterPiece", "LobsterReader", "orderbook_of", "row_of", "write_lobster"]

BOOK: Final = 1
"""The number of the only book."""
NOBODY: Final = 9_999_999_999
"""The price where nobody is; of buys with the sign turned."""

_KINDS: Final = (
    Happened.OTHER, Happened.ADDED, Happened.REDUCED, Happened.DELETED, Happened.EXECUTED, Happened.HIDDEN,
    Happened.CROSSED, Happened.ACTION,
)  # fmt: skip
_STATES: Final = {-1: ord("H"), 0: ord("Q"), 1: ord("T")}
_MESSAGES: Final = re.compile(
    rb"(?:\d{1,5}(?:\.\d{1,9})?,(?:[1-6],\d{1,19},\d{1,10},\d{1,10},(?:1|-1)|7,-?\d{1,19},-?\d{1,10},(?:0|1|-1),-?1)\r?\n)*"
)
_MAX_LINE_BYTES: Final = 65_536

Rows = npt.NDArray[np.int64]
"""Of an orderbook file, shape (n, 4 * levels)."""


class LobsterPiece(NamedTuple):
    """Lines that belong together."""

    messages: Messages
    rows: Rows | None
    """The book after each of them. None: there is no orderbook file."""


def orderbook_of(file: Path) -> Path | None:
    """Return the orderbook file that lies beside a message file. None: there is none."""
    beside = file.with_name(file.name.replace("_message_", "_orderbook_"))
    return beside if beside != file and beside.is_file() else None


class LobsterReader:
    """The messages of one day, with the book after each of them."""

    def __init__(self, file: Path, orderbook: Path | None = None, *, piece_bytes: int = PIECE_BYTES) -> None:
        """Take a message file and, if there is one, its orderbook file; they are opened when they are read.

        Args:
            file: Packed by gzip, or not.
            orderbook: Likewise. None: what was there before the file is not known.
            piece_bytes: How much of a file is read at a time, at least 1.
        """
        self.source = Source(file, piece_bytes=piece_bytes)
        self._orderbook = orderbook and Source(orderbook, piece_bytes=piece_bytes)

    def __iter__(self) -> Iterator[LobsterPiece]:
        """Give all messages in pieces.

        Raises:
            DamagedFileError: A line is none of the format, or one file has more lines than the other.
        """
        books = None if self._orderbook is None else _Rows(self._orderbook)
        line = 0
        for text in _lines(self.source):
            good = _MESSAGES.match(text)
            used = good.end() if good else 0
            if used < len(text):
                _refuse(self.source, line, text, used)
            messages = _decoded(text)
            yield LobsterPiece(messages, books and books.take(len(messages), line))
            line += len(messages)
        if books is not None:
            books.end(line)


class _Rows:
    """The rows of an orderbook file, as many at a time as are asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pieces = self._read()
        self._left: Rows = np.zeros((0, 0), np.int64)

    def _read(self) -> Iterator[Rows]:
        pattern: re.Pattern[bytes] | None = None
        line, columns = 0, 0
        for text in _lines(self._source):
            if pattern is None:
                columns = text.partition(b"\n")[0].count(b",") + 1
                number = rb"-?\d{1,10}"
                pattern = re.compile(rb"(?:%b(?:,%b){%d}\r?\n)*" % (number, number, columns - 1))
                if columns % 4:
                    raise _damaged(self._source, 0, f"{columns} columns are no levels of four")
            good = pattern.match(text)
            used = good.end() if good else 0
            if used < len(text):
                _refuse(self._source, line, text, used)
            rows = np.array(text.replace(b"\r", b"").replace(b"\n", b",").split(b",")[:-1]).astype(np.int64)
            line += len(rows) // columns
            yield rows.reshape(-1, columns)

    def take(self, count: int, line: int) -> Rows:
        """Return the next rows, as many as messages; `line` of those have been before."""
        while len(self._left) < count:
            more = next(self._pieces, None)
            if more is None:
                raise _damaged(self._source, line + len(self._left), "it ends, and the message file goes on")
            self._left = np.concatenate([self._left, more]) if len(self._left) else more
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def end(self, line: int) -> None:
        if len(self._left) or next(self._pieces, None) is not None:
            raise _damaged(self._source, line, "it goes on, and the message file has ended")


def _lines(source: Source) -> Iterator[bytes]:
    """Give whole lines, many at a time; the last one may lack its end."""
    rest = b""
    for piece in source.pieces():
        text = rest + piece
        used = text.rfind(b"\n") + 1
        rest = text[used:]
        if used:
            yield text[:used]
        if len(rest) > _MAX_LINE_BYTES:
            raise DamagedFileError(source.file.name, "in a line", f"it has over {_MAX_LINE_BYTES:,} bytes")
    if rest:
        yield rest + b"\n"


def _damaged(source: Source, line: int, fault: str) -> DamagedFileError:
    return DamagedFileError(source.file.name, f"line {line + 1:,}", fault)


def _refuse(source: Source, line: int, text: bytes, used: int) -> None:
    """Refuse the line of a text at which its good ones end."""
    begins = text.rfind(b"\n", 0, used) + 1
    bad = text[begins : text.find(b"\n", begins)].decode("latin-1")
    raise _damaged(source, line + text.count(b"\n", 0, begins), f"no line of this format: {bad[:80]!r}")


def _decoded(text: bytes) -> Messages:
    columns = np.array(text.replace(b"\r", b"").replace(b"\n", b",").split(b",")[:-1]).reshape(-1, 6).T
    messages = empty(columns.shape[1])
    # Five digits and nine decimals are fewer than a double keeps.
    messages["at_ns"] = np.rint(columns[0].astype(np.float64) * 1e9)
    messages["kind"] = np.array(_KINDS, np.uint8)[columns[1].astype(np.uint8)]
    messages["book"] = BOOK
    halts = messages["kind"] == Happened.ACTION
    price = columns[4].astype(np.int64)
    messages["state"] = np.where(halts, np.array([*_STATES.values()], np.uint8)[np.clip(price, -1, 1) + 1], 0)
    messages["id"][~halts] = columns[2][~halts].astype(np.uint64)
    messages["quantity"][~halts] = columns[3][~halts].astype(np.int64)
    messages["price"][~halts] = price[~halts]
    side = np.where(columns[5] == b"1", Side.BUY, Side.SELL).astype(np.uint8)
    messages["side"] = np.where(halts | (messages["kind"] == Happened.CROSSED), 0, side)
    return messages


def row_of(book: Rebuilt, levels: int) -> list[int]:
    """Return the row that an orderbook file has for a book."""
    row: list[int] = []
    asks, bids = (book.depth(side, levels) for side in (Side.SELL, Side.BUY))
    for level in range(levels):
        row += asks[level] if level < len(asks) else (NOBODY, 0)
        row += bids[level] if level < len(bids) else (-NOBODY, 0)
    return row


def write_lobster(
    messages_file: TextIO, orderbook_file: TextIO, messages: Messages, rows: Sequence[Sequence[int]]
) -> None:
    """Append messages and the row after each of them to a pair of files.

    REPLACED and PRICED are not in this format, and LISTED and OTHER are left out with their rows.

    Raises:
        ConfigError: A message is of a kind that the format has not.
    """
    for message, row in zip(messages, rows, strict=True):
        kind = Happened(int(message["kind"]))
        if kind in {Happened.LISTED, Happened.OTHER}:
            continue
        if kind not in _KINDS:
            raise ConfigError(f"LOBSTER has no {kind.name}: write DELETED and ADDED for a REPLACED")
        at_ns = int(message["at_ns"])
        time = f"{at_ns // 10**9}.{at_ns % 10**9:09d}"
        if kind == Happened.ACTION:
            price = {state: price for price, state in _STATES.items()}.get(int(message["state"]), -1)
            messages_file.write(f"{time},7,0,0,{price},-1\n")
        else:
            direction = 1 if message["side"] == Side.BUY else -1
            fields = (message["id"], message["quantity"], message["price"], direction)
            messages_file.write(f"{time},{_KINDS.index(kind)},{','.join(str(int(each)) for each in fields)}\n")
        orderbook_file.write(",".join(map(str, row)) + "\n")
