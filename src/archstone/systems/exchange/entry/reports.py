"""What each account is told, made of the sequencer's batches alone.

A report is known by its position: the number of the command that caused it, and which event of that command it is. That
is the same on every node and after every restart, so whoever has kept the position of the last report it has seen can
ask any of them for what came after it. The other side of a trade stays unnamed.
"""

import asyncio
import struct
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from enum import IntFlag
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archstone.systems.exchange.matching import Commands, Kind, Reason, Side, Told
from archstone.systems.exchange.reading import Listeners, Reader, packed, unpacked
from archstone.systems.exchange.sequencer import Batch, Sequencer
from archstone.systems.exchange.venue.port import MAX_NUMBER
from archstone.systems.exchange.venue.state import State

__all__ = ["NOW", "REPORT", "Flags", "ForgottenError", "Position", "Report", "Reports", "Rows", "reports_of"]

REPORT: Final = np.dtype(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("reason", "u1"),
        ("flags", "u1"),
        ("number", "<u4"),
        ("sequence", "<u8"),
        ("at_ns", "<u8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("left", "<i8"),
        ("order", "<u4"),
        ("book", "<u4"),
        ("part", "<u4"),
        ("tag", "<u2"),
        ("spare", "<u2"),
    ]
)
"""64 bytes; what each kind uses is what the `Event` of that kind uses. `number` is left to who sends it."""

Rows = npt.NDArray[np.void]
"""Of `REPORT`, shape (n,), in the order of their positions."""


class Flags(IntFlag):
    """What else a report says."""

    NONE = 0
    OWN = 1
    """A request of this account caused it: the one with this `tag`."""
    MAKER = 2
    """Of a trade: this order was there first."""
    TAKER = 4
    AUCTION = 8
    """Of a trade: neither was."""
    KEPT = 16
    """A replaced order kept its place."""


class Position(NamedTuple):
    """Where a report stands in the stream."""

    sequence: int
    part: int = 2**32 - 1


NOW: Final = Position(2**64 - 1)
"""After all that has happened so far."""


class Report(NamedTuple):
    """One report; the fields of `REPORT`."""

    kind: int
    side: int
    reason: int
    flags: int
    number: int
    sequence: int
    """Of the command that caused it."""
    at_ns: int
    price: int
    quantity: int
    left: int
    order: int
    """The number that the account gave to the order."""
    book: int
    part: int
    """Which event of the command it is, from 0, twice; and 1 more for the second side of a trade."""
    tag: int
    """What the request that caused it carried in `spare` of its command; 0 if it was somebody else's."""
    spare: int = 0

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.sequence, self.part)

    @property
    def trade(self) -> tuple[int, int]:
        """The name of the trade, as both sides and all others are told it: command and event."""
        return self.sequence, self.part // 2


def reports_of(rows: Rows) -> list[Report]:
    """Return the reports of an array."""
    return [Report(*row) for row in rows.tolist()]


class ForgottenError(LookupError):
    """What came after a position is not kept any more."""


class _Account:
    def __init__(self, floor: Position) -> None:
        self.kept: deque[bytes] = deque()
        """What was told, batch by batch, as it is sent: numpy takes a thousand times as long to join records."""
        self.count = 0
        self.floor = floor
        """Up to here reports are forgotten."""


class Reports(Reader):
    """The newest reports of each account, and whoever listens to them."""

    def __init__(self, sequencer: Sequencer | None = None, *, keep: int = 4_096) -> None:
        """Begin before the first command.

        Args:
            sequencer: What it reads alone. None: others have it read.
            keep: Reports of one account that can be asked for again, at least so many; the oldest make room.
        """
        super().__init__(sequencer)
        self.books: set[int] = set()
        """Those that were opened: what is refused can name any."""
        self._keep = keep
        self._floor = Position(0, 0)
        self._accounts: dict[int, _Account] = {}
        self._highest: dict[int, int] = {}
        self._live: dict[int, int] = {}
        self._listeners: dict[int, Listeners[Rows]] = {}

    def begin(self, state: State, *, sequence: int) -> None:
        """Begin with a venue; what accounts were told before is forgotten."""
        self.sequence, self._floor = sequence, Position(sequence)
        self.books = {*state.markets}
        self._live = {order: book for book, market in state.markets.items() for order in market.orders}
        self._highest = {number: account.last_number for number, account in state.accounts.items()}

    def take(self, batch: Batch) -> None:
        """Take in a batch, and tell who listens. Commands that are in it already are skipped."""
        if batch.last <= self.sequence:
            return
        events: list[_Fields] = batch.events.tolist()
        self.books |= {int(batch.commands["book"][each[_AT]]) for each in events if each[0] == _OPENED}
        self._count(batch.commands, {each[_AT] for each in events if each[0] == _REJECTED and each[2] == _NUMBER})
        for account, told in self._told(batch, events).items():
            mine = b"".join(told)
            self._add(self._of(account), mine)
            if (listeners := self._listeners.get(account)) is not None:
                listeners.tell(np.frombuffer(mine, REPORT))
        self.sequence = max(self.sequence, batch.last)

    def _count(self, commands: Commands, misnamed: set[int]) -> None:
        """Note which numbers of orders are used up: all but those that were refused for what they are."""
        named = zip(*(_ints(commands, name) for name in ("kind", "account", "id")), strict=True)
        for at, (kind, account, order) in enumerate(named):
            if kind == _NEW and at not in misnamed:
                self._highest[account] = max(self._highest.get(account, 0), order & MAX_NUMBER)

    def _told(self, batch: Batch, events: Sequence["_Fields"]) -> dict[int, list[bytes]]:
        """Return the reports of a batch, each as the bytes of a `REPORT`, by account and in their order.

        One event after another: most batches have a few, for which columns of numpy would take thirty times as long.
        """
        told = defaultdict[int, list[bytes]](list)
        causes = [*zip(*(_ints(batch.commands, name) for name in ("account", "spare", "book")), strict=True)]
        before, part = -1, 0
        for event in events:
            at = event[_AT]
            part = part + 2 if at == before else 0
            before = at
            *cause, named = causes[at]
            book = self._place(event, named)
            if (sequence := batch.first + at) > self.sequence:
                for account, row in _rows_of(event, cause, (sequence, batch.at_ns, book, part)):
                    told[account].append(row)
        return told

    def _place(self, event: tuple[int, ...], named: int) -> int:
        """Return the book of an event: that of its order, since a command such as KILL names none."""
        kind, *_, order, other, _, _, left, other_left, _, _ = event
        if kind == _ACCEPTED:
            self._live[order] = named
        book = self._live.get(order, named)
        if kind == _CANCELED or (kind == _TRADED and not left):
            self._live.pop(order, None)
        if kind == _TRADED and not other_left:
            self._live.pop(other, None)
        return book

    def _of(self, account: int) -> _Account:
        return self._accounts.setdefault(account, _Account(self._floor))

    def _add(self, account: _Account, rows: bytes) -> None:
        account.kept.append(rows)
        account.count += len(rows) // _ROW.size
        while account.count - len(account.kept[0]) // _ROW.size >= self._keep:
            gone = account.kept.popleft()
            account.count -= len(gone) // _ROW.size
            newest = np.frombuffer(gone[-_ROW.size :], REPORT)[0]
            account.floor = Position(int(newest["sequence"]), int(newest["part"]))

    # Kept as bytes

    async def dump(self) -> bytes:
        """Return all that is kept, as it is now; see `Reader.dump`. What takes long is done in a thread."""
        kept = [(account, each) for account, each in self._accounts.items() if each.kept]
        floors = [(account, *each.floor) for account, each in kept]
        counts, told = [each.count for _, each in kept], [*chain.from_iterable(each.kept for _, each in kept)]
        began, books = [_VERSION, self.sequence, *self._floor], [*self.books]
        live, highest = self._live.copy(), self._highest.copy()

        def work() -> bytes:
            arrays: dict[str, Any] = {
                "began": np.array(began, np.uint64),
                "books": np.array(books, np.uint64),
                "live": _rows_of_pairs(live),
                "highest": _rows_of_pairs(highest),
                "floors": np.array(floors, np.uint64).reshape(-1, 3),
                "counts": np.array(counts, np.uint64),
                "rows": np.frombuffer(b"".join(told), REPORT),
            }
            return packed(arrays)

        return await asyncio.to_thread(work)

    def load(self, kept: bytes) -> None:
        """Take up what `dump` has made; see `Reader.load`."""
        found = unpacked(kept, _ARRAYS, what="reports")
        version, sequence, *floor = (int(each) for each in found["began"])
        if version != _VERSION:
            raise ValueError(f"reports of version {version}: this reads version {_VERSION}")
        self.sequence, self._floor = sequence, Position(*floor)
        self.books = {int(book) for book in found["books"]}
        self._live, self._highest = _pairs(found["live"]), _pairs(found["highest"])
        ends = np.cumsum(found["counts"]).astype(np.int64)
        for (account, *gone), rows in zip(found["floors"].tolist(), np.split(found["rows"], ends[:-1]), strict=False):
            self._accounts[account] = _Account(Position(*gone))
            self._add(self._accounts[account], rows.tobytes())

    # For those that are told

    def highest(self, account: int) -> int:
        """Return the highest number that an account has used for an order, done or refused. 0: none is known."""
        return self._highest.get(account, 0)

    def after(self, account: int, position: Position) -> Rows:
        """Return what an account was told after a position.

        ForgottenError: not all of that is kept; the text says from where on it is.
        """
        if position >= NOW:
            return np.zeros(0, REPORT)
        found = self._accounts.get(account)
        floor = self._floor if found is None else found.floor
        if position < floor:
            raise ForgottenError(f"reports of account {account} after {tuple(position)}: kept after {tuple(floor)}")
        rows = self.kept(account)
        late = rows["sequence"] > position.sequence
        return rows[late | ((rows["sequence"] == position.sequence) & (rows["part"] > position.part))]

    def kept(self, account: int) -> Rows:
        """Return all that is kept of what an account was told."""
        found = self._accounts.get(account)
        return np.frombuffer(b"".join(found.kept) if found is not None else b"", REPORT)

    def listen(self, account: int, listener: Callable[[Rows], None]) -> Callable[[], None]:
        """Have a function called with what an account is told from now on. Return what ends that."""
        listeners = self._listeners.setdefault(account, Listeners())
        remove = listeners.add(listener)

        def end() -> None:
            remove()
            if not listeners:
                self._listeners.pop(account, None)

        return end


_VERSION: Final = 1
_ARRAYS: Final = ("began", "books", "live", "highest", "floors", "counts", "rows")


def _rows_of_pairs(pairs: dict[int, int]) -> npt.NDArray[np.uint64]:
    """Return pairs as an array, shape (n, 2): column by column, since rows would keep others from running for long."""
    rows = np.empty((len(pairs), 2), np.uint64)
    for column, values in enumerate((pairs.keys(), pairs.values())):
        rows[:, column] = np.fromiter(values, np.uint64, len(pairs))
    return rows


def _pairs(rows: npt.NDArray[np.uint64]) -> dict[int, int]:
    return {int(key): int(value) for key, value in rows}


def _ints(rows: Rows, name: str) -> list[int]:
    return rows[name].tolist()


_Fields = tuple[int, ...]
"""Of an `EVENT`, in their order."""
_AT: Final = 4
_ROW: Final = struct.Struct("<4BI2Q3q3I2H")
"""A `REPORT`."""
# As plain numbers: each look at the member of an enum costs as much as three of these.
_ACCEPTED, _TRADED, _CANCELED, _REPLACED = map(int, (Told.ACCEPTED, Told.TRADED, Told.CANCELED, Told.REPLACED))
_REJECTED, _OPENED, _NUMBER, _NEW = map(int, (Told.REJECTED, Told.OPENED, Reason.NUMBER, Kind.NEW))
_OWN, _MAKER, _TAKER, _AUCTION, _KEPT = map(int, (Flags.OWN, Flags.MAKER, Flags.TAKER, Flags.AUCTION, Flags.KEPT))
_BUY, _BOTH = int(Side.BUY), int(Side.BUY + Side.SELL)


def _rows_of(event: _Fields, cause: Sequence[int], where: _Fields) -> Iterator[tuple[int, bytes]]:
    """Give what comes of an event: whom it is told, and the report; of a trade to both sides.

    Args:
        event: Of which.
        cause: Account and tag of its command.
        where: Sequence, time, book and part.
    """
    kind, side, reason, _, _, order, other, price, quantity, left, other_left, account, second = event
    (caused, tag), (sequence, at_ns, book, part) = cause, where
    trades = kind == _TRADED
    flags = (_TAKER if side else _AUCTION) if trades else _KEPT if kind == _REPLACED and other == 1 else 0
    side = side or (_BUY if trades else 0)
    if account:
        flags, mine = (flags | _OWN, tag) if account == caused else (flags, 0)
        yield (
            account,
            _ROW.pack(
                kind,
                side,
                reason,
                flags,
                0,
                sequence,
                at_ns,
                price,
                quantity,
                left,
                order & MAX_NUMBER,
                book,
                part,
                mine,
                0,
            ),
        )
    if trades and second:
        flags = _AUCTION if flags & _AUCTION else _MAKER
        flags, mine = (flags | _OWN, tag) if second == caused else (flags, 0)
        yield second, _ROW.pack(
            kind, _BOTH - side, reason, flags, 0, sequence, at_ns, price, quantity, other_left, other & MAX_NUMBER,
            book, part + 1, mine, 0,
        )  # fmt: skip
