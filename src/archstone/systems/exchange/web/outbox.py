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
from archstone.systems.exchange.desk.board import News, Trade
from archstone.systems.exchange.desk.entry import Entry
from archstone.systems.exchange.desk.ledger import Report
from archstone.systems.exchange.desk.words import said
from archstone.systems.exchange.matching import Reason, Side

__all__ = ["DEPTH", "MOST_REPORTS", "MOST_TRADES", "Outbox"]

DEPTH: Final = 20
"""Prices of a side that `depth` tells."""
MOST_TRADES: Final = 500
"""Trades of a book that may wait."""
MOST_REPORTS: Final = 5_000
"""Reports and replies that may wait."""
MOST_SHOWN: Final = 200
"""Orders that `account` tells, newest first."""
_FIRST_TRADES: Final = 60

Message = Mapping[str, Any]


class Outbox:
    """Of one connection."""

    def __init__(self, entry: Entry, account: int | None, wake: Callable[[], None]) -> None:
        """Begin empty.

        Args:
            entry: Where everything is seen.
            account: Whose connection it is. None: of somebody who has not signed in.
            wake: Called when there is something to send that does not wait.
        """
        self._entry = entry
        self._board = entry.floor.board
        self._account = account
        self._wake = wake
        self.channels: dict[str, None] = {}
        self.overrun = False
        """Whether something had to be dropped that must not be."""
        self._prompt: deque[Message] = deque()
        self._changed: dict[str, None] = {}
        self._trades: dict[int, deque[Trade]] = {}
        self._missed: dict[int, int] = {}

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
        name, _, rest = channel.partition(":")
        if name == "trades":
            self._first_trades(rest)
        elif name == "candles":
            self.push(self._candles(rest))
        elif name != "reports":
            self._changed[channel] = None

    def unsubscribe(self, channel: str) -> None:
        """Send no more of a channel."""
        self.channels.pop(channel, None)
        self._changed.pop(channel, None)

    def hear(self, news: News) -> None:
        """Take note of what a batch has changed."""
        for book in news.books:
            symbol = self._entry.symbol(book)
            self._mark(f"depth:{symbol}", "quotes")
        for book, trades in news.trades.items():
            self._hear_trades(book, trades)
        mine = [] if self._account is None else news.reports.get(self._account, [])
        if mine:
            self._mark("account")
            if "reports" in self.channels:
                self.tell(mine)

    def tell(self, reports: list[Report]) -> None:
        """Send reports, those of one command together."""
        by_command: dict[int, list[Report]] = {}
        for each in reports:
            by_command.setdefault(each.sequence, []).append(each)
        for sequence, together in by_command.items():
            told = [self._report(each) for each in together]
            self.push({"type": "reports", "sequence": sequence, "at_ns": together[0].at_ns, "reports": told})

    def prompt(self) -> Iterator[bytes]:
        """Give what does not wait, and forget it."""
        while self._prompt:
            yield to_json(self._prompt.popleft())

    def conflated(self) -> Iterator[bytes]:
        """Give what has changed since it was last given, the newest of it only."""
        changed, self._changed = self._changed, {}
        for channel in changed:
            yield to_json(self._state(channel))
        trades, self._trades = self._trades, {}
        for book, waiting in trades.items():
            symbol = self._entry.symbol(book)
            items = [showing.trade(each) for each in waiting]
            missed = self._missed.pop(book, 0)
            yield to_json({"type": "trades", "symbol": symbol, "missed": missed, "items": items})

    def _mark(self, *channels: str) -> None:
        for channel in channels:
            if channel in self.channels:
                self._changed[channel] = None

    def _hear_trades(self, book: int, trades: list[Trade]) -> None:
        symbol = self._entry.symbol(book)
        if f"trades:{symbol}" in self.channels:
            waiting = self._trades.setdefault(book, deque(maxlen=MOST_TRADES))
            dropped = max(0, len(waiting) + len(trades) - MOST_TRADES)
            self._missed[book] = self._missed.get(book, 0) + dropped
            waiting.extend(trades)
        self._mark(*(channel for channel in self.channels if channel.startswith(f"candles:{symbol}:")))
        if self._account is not None and book in self._entry.account(self._account).positions:
            self._mark("account")  # what is held is worth more, or less

    def _first_trades(self, symbol: str) -> None:
        book = self._entry.instrument(symbol).book
        newest = [*self._board.books[book].trades][-_FIRST_TRADES:]
        self.push({"type": "trades", "symbol": symbol, "missed": 0, "items": [showing.trade(each) for each in newest]})

    def _candles(self, rest: str) -> Message:
        symbol, _, step = rest.partition(":")
        kept = self._board.books[self._entry.instrument(symbol).book].candles.of(int(step))
        items = [each._asdict() for each in kept]
        return {"type": "candles", "symbol": symbol, "step_s": int(step), "items": items}

    def _state(self, channel: str) -> Message:
        name, _, rest = channel.partition(":")
        if name == "quotes":
            about, books = self._entry.floor.instruments, self._board.books
            quotes = [showing.instrument(each, books[each.book]) for each in about.all]
            return {"type": "quotes", "sequence": self._board.sequence, "items": quotes}
        if name == "account":
            return self._portfolio()
        if name == "candles":
            symbol, _, step = rest.partition(":")
            last = self._board.books[self._entry.instrument(symbol).book].candles.last(int(step))
            items = [] if last is None else [last._asdict()]
            return {"type": "candle", "symbol": symbol, "step_s": int(step), "items": items}
        book = self._board.books[self._entry.instrument(rest).book]
        shown = showing.depth(rest, book, sequence=self._board.sequence, levels=DEPTH)
        phase = showing.instrument(self._entry.instrument(rest), book).phase
        return {"type": "depth", **shown.model_dump(), "phase": phase, "last": book.last, "first": book.first}

    def _portfolio(self) -> Message:
        owner = self._entry.account(self._account or 0)
        newest = [*reversed(owner.live.values())][:MOST_SHOWN]
        return {
            "type": "account",
            "sequence": self._board.sequence,
            "portfolio": showing.portfolio(owner, self._board, self._entry.floor.instruments),
            "orders": [showing.order(each, self._entry.symbol(each.book)) for each in newest],
            "working": len(owner.live),
        }

    def _report(self, report: Report) -> Message:
        return {
            "kind": report.kind, "number": report.number, "symbol": self._entry.symbol(report.book),
            "side": said(Side, report.side) if report.side else None, "price": report.price,
            "quantity": report.quantity, "left": report.left,
            "reason": said(Reason, report.reason) if report.reason else "",
        }  # fmt: skip
