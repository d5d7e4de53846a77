"""What waits to be sent to one client of the stream: bounded, however slow it reads.

What tells of a state (depth, quotes, candles, the account) is conflated: only the newest is sent, at most ten times a
second. Trades are dropped, oldest first, and the client is told how many. Reports and replies are never dropped: when
too many wait, the connection is closed, and the client comes back and asks for what came after the last one that it
has.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic_core import to_json

from archstone.systems.exchange.desk import showing
from archstone.systems.exchange.desk.entry import Entry
from archstone.systems.exchange.desk.floor import CANDLES_S, Floor
from archstone.systems.exchange.desk.words import said
from archstone.systems.exchange.entry import Report, Rows, reports_of
from archstone.systems.exchange.feed import Changes
from archstone.systems.exchange.matching import Reason, Side, Told

__all__ = ["DEPTH", "MOST_REPORTS", "MOST_TRADES", "Outbox", "Shown"]

DEPTH: Final = 20
"""Prices of a side that `depth` tells."""
MOST_TRADES: Final = 500
"""Trades of a book that may wait."""
MOST_REPORTS: Final = 5_000
"""Reports and replies that may wait."""
MOST_SHOWN: Final = 200
"""Orders that `account` tells, newest first."""
_FIRST_TRADES: Final = 60

_OF_ORDERS: Final = frozenset(
    {Told.ACCEPTED, Told.REJECTED, Told.TRADED, Told.RESTED, Told.REFRESHED, Told.CANCELED, Told.REPLACED,
     Told.TRIGGERED}
)  # fmt: skip
"""What `reports` tell of."""

Message = Mapping[str, Any]


class Shown:
    """What all may see, put into words once for all connections that look at it before it has changed."""

    def __init__(self, floor: Floor) -> None:
        self.floor, self._entry = floor, Entry(floor)
        self._states: dict[str, tuple[int, str]] = {}
        self._trades: dict[str, tuple[tuple[int, ...], str]] = {}

    def state(self, channel: str) -> str:
        """Return how things are on a channel: `quotes`, `depth:ACME`, `candles:ACME:60` (the growing one)."""
        sequence, text = self._states.get(channel, (-1, ""))
        if sequence != self.floor.board.sequence:
            sequence, text = self.floor.board.sequence, to_json(self._state(channel)).decode()
            self._states[channel] = sequence, text
        return text

    def _state(self, channel: str) -> Message:
        name, _, rest = channel.partition(":")
        if name == "quotes":
            quotes = [showing.instrument(each, self.floor) for each in self.floor.instruments.all]
            return {"type": "quotes", "sequence": self.floor.board.sequence, "items": quotes}
        if name == "candles":
            return {**self.candles(rest, newest=1), "type": "candle"}
        about = self._entry.instrument(rest)
        book, depth = self.floor.board.books[about.book], self.floor.feed.depth(about.book, levels=DEPTH)
        shown = showing.depth(rest, depth).model_dump()
        return {"type": "depth", **shown, "phase": showing.phase(depth), "last": book.last, "first": book.first}

    def candles(self, rest: str, *, newest: int = 0) -> Message:
        """Return candles of `ACME:60`, oldest first; of so many, or all that are kept."""
        symbol, _, step = rest.partition(":")
        kept = self.floor.feed.candles(self._entry.instrument(symbol).book, int(step))
        return {
            "type": "candles", "symbol": symbol, "step_s": int(step), "items": [*map(showing.candle, kept[-newest:])]
        }  # fmt: skip

    def trades(self, symbol: str, after: int) -> tuple[str, int]:
        """Return the trades of an instrument after so many that there have been, and how many there are by now."""
        book = self._entry.instrument(symbol).book
        trades, missed, count = self.floor.feed.trades_after(book, after, most=MOST_TRADES)
        known, text = self._trades.get(symbol, ((), ""))
        if known != (after, count):
            items = [*map(showing.trade, trades)]
            text = to_json({"type": "trades", "symbol": symbol, "missed": missed, "items": items}).decode()
            self._trades[symbol] = (after, count), text
        return text, count


class Outbox:
    """Of one connection."""

    def __init__(self, shown: Shown, account: int | None, wake: Callable[[], None]) -> None:
        """Begin empty.

        Args:
            shown: What all may see, in words.
            account: Whose connection it is. None: of somebody who has not signed in.
            wake: Called when there is something to send that does not wait.
        """
        self._shown = shown
        self._floor, self._entry = shown.floor, Entry(shown.floor)
        self._account = account
        self._wake = wake
        self.channels: dict[str, None] = {}
        self.overrun = False
        """Whether something had to be dropped that must not be."""
        self._prompt: deque[Message] = deque()
        self._changed: dict[str, None] = {}
        self._seen: dict[str, int] = {}
        """Trades that were sent or passed over, by symbol."""

    def push(self, message: Message) -> None:
        """Send a message soon, after those before it."""
        if len(self._prompt) >= MOST_REPORTS:
            self.overrun = True
        else:
            self._prompt.append(message)
        self._wake()

    def subscribe(self, channel: str) -> None:
        """Send how things are on a channel, and then what changes."""
        self.channels[channel] = None
        self._changed.pop(channel, None)
        name, _, rest = channel.partition(":")
        if name == "trades":
            self._first_trades(rest)
        elif name == "candles":
            self.push(self._shown.candles(rest))
        elif name != "reports":
            self._changed[channel] = None

    def unsubscribe(self, channel: str) -> None:
        """Send no more of a channel."""
        self.channels.pop(channel, None)
        self._changed.pop(channel, None)

    def hear(self, changes: Changes) -> None:
        """Take note of what a batch has changed for all to see."""
        for book in {each.book for each in (*changes.levels, *changes.trades, *changes.phases)}:
            self._mark(f"depth:{self._entry.symbol(book)}", "quotes")
        for book in {each.book for each in changes.trades}:
            symbol = self._entry.symbol(book)
            self._mark(f"trades:{symbol}", *(f"candles:{symbol}:{step_s}" for step_s in CANDLES_S))
            if self._account is not None and book in self._entry.account(self._account).positions:
                self._mark("account")  # what is held is worth more, or less

    def hear_reports(self, rows: Rows) -> None:
        """Take note of what the account is told."""
        self._mark("account")
        if "reports" in self.channels:
            self.tell(rows)

    def tell(self, rows: Rows) -> None:
        """Send what is told of orders, all of one command together."""
        by_command: dict[int, list[Report]] = {}
        for each in reports_of(rows):
            if each.kind in _OF_ORDERS and each.order:
                by_command.setdefault(each.sequence, []).append(each)
        for sequence, together in by_command.items():
            told = [self._report(each) for each in together]
            self.push({"type": "reports", "sequence": sequence, "at_ns": together[0].at_ns, "reports": told})

    def prompt(self) -> Iterator[str]:
        """Give what does not wait, and forget it."""
        while self._prompt:
            yield to_json(self._prompt.popleft()).decode()

    def conflated(self) -> Iterator[str]:
        """Give what has changed since it was last given, the newest of it only."""
        changed, self._changed = self._changed, {}
        for channel in changed:
            name, _, symbol = channel.partition(":")
            if name == "trades":
                text, self._seen[symbol] = self._shown.trades(symbol, self._seen[symbol])
                yield text
            else:
                yield to_json(self._portfolio()).decode() if name == "account" else self._shown.state(channel)

    def _mark(self, *channels: str) -> None:
        for channel in channels:
            if channel in self.channels:
                self._changed[channel] = None

    def _first_trades(self, symbol: str) -> None:
        book = self._entry.instrument(symbol).book
        newest, _, self._seen[symbol] = self._floor.feed.trades_after(book, 0, most=_FIRST_TRADES)
        items = [*map(showing.trade, newest)]
        self.push({"type": "trades", "symbol": symbol, "missed": 0, "items": items})

    def _portfolio(self) -> Message:
        owner = self._entry.account(self._account or 0)
        newest = [*reversed(owner.live.values())][:MOST_SHOWN]
        return {
            "type": "account",
            "sequence": self._floor.board.sequence,
            "portfolio": showing.portfolio(owner, self._floor),
            "orders": [showing.order(each, self._entry.symbol(each.book)) for each in newest],
            "working": len(owner.live),
        }

    def _report(self, report: Report) -> Message:
        return {
            "kind": said(Told, report.kind), "number": report.order, "symbol": self._entry.symbol(report.book),
            "side": said(Side, report.side) if report.side else None, "price": report.price,
            "quantity": report.quantity, "left": report.quantity if report.kind == Told.REPLACED else report.left,
            "reason": said(Reason, report.reason) if report.reason else "",
        }  # fmt: skip
