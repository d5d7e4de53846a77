"""What a board has come to, in one file, so that a start need not read the stream from its beginning.

Promise: a file is whole or is not there; one that is damaged, or of another version, is passed over with a line in the
log, and the stream is read from its beginning. Reports to accounts are left out: who asks for older ones after a start
is told that not all of them are kept.
"""

import os
import zlib
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from archstone.observability import get_logger
from archstone.systems.exchange.desk.board import KEEP_TRADES, Board, Book
from archstone.systems.exchange.desk.candles import KEEP
from archstone.systems.exchange.desk.ledger import KEEP_ENDED, KEEP_FILLS, KEEP_REPORTS, Account

__all__ = ["load", "save"]

_VERSION: Final = 1
_MARK: Final = b"exchange board %d %08x\n"
_log = get_logger("archstone.exchange")


@dataclass(frozen=True, slots=True)
class _Kept:
    sequence: int
    at_ns: int
    killed: bool
    books: dict[int, Book]
    accounts: dict[int, Account]


_KEPT: Final = TypeAdapter(_Kept)


def save(path: Path, board: Board) -> None:
    """Write what the board has come to; what was there before stays until the new file is whole."""
    accounts = {number: replace(each, reports=type(each.reports)()) for number, each in board.accounts.items()}
    kept = _KEPT.dump_json(_Kept(board.sequence, board.at_ns, board.killed, board.books, accounts))
    aside = path.with_suffix(".aside")
    with aside.open("wb") as file:
        file.write(_MARK % (_VERSION, zlib.crc32(kept)) + kept)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def load(path: Path) -> Board | None:
    """Return the board that was written. None: there is none that can be read."""
    try:
        found = _read(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.warning("a checkpoint is passed over: the stream is read from its beginning", why=str(error))
        return None
    board = Board()
    board.sequence, board.at_ns, board.killed = found.sequence, found.at_ns, found.killed
    board.books, board.accounts = found.books, found.accounts
    _bind(board)
    for account in board.accounts.values():
        account.lost_reports = board.sequence
        board.orders |= {order.id: order for order in account.live.values()}
    return board


def _bind(board: Board) -> None:
    """Bound again what is bounded: a file does not say how much of it is kept."""
    for book in board.books.values():
        book.trades = deque(book.trades, KEEP_TRADES)
        book.candles.kept = {step_s: deque(each, KEEP) for step_s, each in book.candles.kept.items()}
    for account in board.accounts.values():
        account.ended, account.fills = deque(account.ended, KEEP_ENDED), deque(account.fills, KEEP_FILLS)
        account.reports = deque(account.reports, KEEP_REPORTS)


def _read(path: Path) -> _Kept:
    mark, _, kept = path.read_bytes().partition(b"\n")
    if mark + b"\n" != _MARK % (_VERSION, zlib.crc32(kept)):
        raise ValueError(f"{path.name} is damaged, or of another version")
    return _KEPT.validate_json(kept)
