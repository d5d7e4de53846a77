"""What waits to be sent to one client of the stream: bounded, however slow it reads.

What tells of a state (depth, quotes, candles, the account) is conflated: only the newest is sent, at most ten times a
second. Trades are dropped, oldest first, and the client is told how many. Reports and replies are never dropped: when
too many wait, the connection is closed, and the client comes back and asks for what came after the last one that it
has.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic_core import to_json

from archstone import world
from archstone.systems.exchange.desk import showing
from archstone.systems.exchange.desk.entry import Entry
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.desk.words import said
from archstone.systems.exchange.entry import ForgottenError, Position, Report, Rows, reports_of
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

_HISTORY_S: Final = 1.0
"""How long the kept candles of a channel are good for all who subscribe: what came since is told as it changes."""

Message = Mapping[str, Any]


class _Known(NamedTuple):
    """What a client has been told of a channel."""

    version: int = -1
    since_s: int = 0
    """Of candles: when the newest began. That one can still change."""


class _History(NamedTuple):
    text: str
    known: _Known
    made_s: float


class _Missed(NamedTuple):
    """Reports that are to be told again."""

    after: int
    last: int


class Shown:
    """What all may see, put into words once for all connections that look at it before it has changed."""

    def __init__(self, floor: Floor) -> None:
        self.floor, self._entry = floor, Entry(floor)
        self._texts: dict[str, tuple[_Known, _Known, str]] = {}
        self._histories: dict[str, _History] = {}
        self._versions: dict[str, int] = {}
        self._sequence = -1
        """Of the command up to which versions are known."""

    def version(self, channel: str) -> int:
        """Return a number that rises with what is shown on a channel that all may see."""
        if self._sequence != self.floor.feed.sequence:
            self._sequence = self.floor.feed.sequence
            self._versions.clear()
        if channel not in self._versions:
            self._versions[channel] = self._version(channel)
        return self._versions[channel]

    def _version(self, channel: str) -> int:
        name, _, rest = channel.partition(":")
        if name == "quotes":
            return sum(self.floor.feed.changes(each.book)[0] for each in self.floor.instruments.all)
        changes, trades = self.floor.feed.changes(self._book(rest))
        return changes if name == "depth" else trades

    def told(self, channel: str, known: _Known) -> tuple[str, _Known]:
        """Return how things are on a channel for who knows as much of it, and what they know then.

        Of `quotes` and `depth:ACME` all, of `trades:ACME` those since, of `candles:ACME:60` the newest that they know
        and those since.
        """
        before, after, text = self._texts.get(channel, (_Known(), _Known(), ""))
        if after.version != self.version(channel) or (before != known and channel.startswith(("trades", "candles"))):
            after, message = self._told(channel, known)
            text = to_json(message).decode()
            self._texts[channel] = known, after, text
        return text, after

    def history(self, channel: str) -> tuple[str, _Known]:
        """Return the candles that are kept, as they were a second ago or since, and what is known by them."""
        made, now_s = self._histories.get(channel), world.monotonic()
        if made is None or now_s - made.made_s >= _HISTORY_S:
            known, message = self._candles(channel, 0)
            made = self._histories[channel] = _History(to_json({**message, "type": "candles"}).decode(), known, now_s)
        return made.text, made.known

    def _told(self, channel: str, known: _Known) -> tuple[_Known, Message]:
        name, _, rest = channel.partition(":")
        version = _Known(self.version(channel))
        match name:
            case "quotes":
                quotes = [showing.instrument(each, self.floor) for each in self.floor.instruments.all]
                return version, {"type": "quotes", "sequence": self.floor.board.sequence, "items": quotes}
            case "candles":
                return self._candles(channel, known.since_s)
            case "trades":
                trades, missed, _ = self.floor.feed.trades_after(self._book(rest), known.version, most=MOST_TRADES)
                items = [*map(showing.trade, trades)]
                return version, {"type": "trades", "symbol": rest, "missed": missed, "items": items}
            case _:
                number = self._book(rest)
                book, depth = self.floor.board.books[number], self.floor.feed.depth(number, levels=DEPTH)
                shown = showing.depth(rest, depth).model_dump()
                phase = showing.phase(depth)
                return version, {"type": "depth", **shown, "phase": phase, "last": book.last, "first": book.first}

    def _candles(self, channel: str, since_s: int) -> tuple[_Known, Message]:
        _, symbol, step = channel.split(":")
        kept = self.floor.feed.candles(self._book(symbol), int(step))
        items = [showing.candle(each) for each in kept if each.opened_at_s >= since_s]
        known = _Known(self.version(channel), items[-1].begins_s if items else 0)
        return known, {"type": "candle", "symbol": symbol, "step_s": int(step), "items": items}

    def _book(self, rest: str) -> int:
        return self._entry.instrument(rest.partition(":")[0]).book


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
        self.channels: dict[str, _Known] = {}
        self.overrun = False
        """Whether something had to be dropped that must not be."""
        self._prompt: deque[tuple[Message | str | Rows | _Missed, int]] = deque()
        """What is sent next, and how many messages that are."""
        self._waiting = 0
        self._heard = 0
        """How often there were reports."""

    def push(self, message: Message | str | Rows | _Missed, *, messages: int = 1) -> None:
        """Send a message soon, after those before it."""
        if self._waiting + messages > MOST_REPORTS:
            self.overrun = True
        else:
            self._prompt.append((message, messages))
            self._waiting += messages
        self._wake()

    def subscribe(self, channel: str) -> None:
        """Send how things are on a channel, and then what changes."""
        self.channels[channel] = _Known()
        name, _, rest = channel.partition(":")
        if name == "trades":
            self._first_trades(channel, rest)
        elif name == "candles":
            text, self.channels[channel] = self._shown.history(channel)
            self.push(text)

    def unsubscribe(self, channel: str) -> None:
        """Send no more of a channel."""
        self.channels.pop(channel, None)

    def hear_reports(self, rows: Rows) -> None:
        """Take note of what the account is told."""
        self._heard += 1
        if "reports" in self.channels:
            self.push(rows, messages=len({*rows["sequence"].tolist()}))

    def tell_again(self, after: int) -> None:
        """Send the reports after a sequence, up to now."""
        self.push(_Missed(after, self._floor.reports.sequence))

    def prompt(self) -> Iterator[str]:
        """Give what does not wait, and forget it. What comes meanwhile is for the next time."""
        for _ in range(len(self._prompt)):
            message, messages = self._prompt.popleft()
            yield from self._texts(message)
            self._waiting -= messages

    def conflated(self) -> list[str]:
        """Return what has changed since it was last told, the newest of it only."""
        return [text for channel in [*self.channels] if (text := self._changed(channel))]

    def _changed(self, channel: str) -> str:
        known = self.channels[channel]
        if channel == "reports":
            return ""
        version = self._version() if channel == "account" else self._shown.version(channel)
        if version == known.version:
            return ""
        if channel == "account":
            self.channels[channel] = _Known(version)
            return to_json(self._portfolio()).decode()
        text, self.channels[channel] = self._shown.told(channel, known)
        return text

    def _version(self) -> int:
        """Return a number that rises with what the account has, and with what that is worth."""
        held = self._entry.account(self._account or 0).positions
        return self._heard + sum(self._floor.feed.changes(book)[1] for book in held)

    def _first_trades(self, channel: str, symbol: str) -> None:
        book = self._entry.instrument(symbol).book
        newest, _, count = self._floor.feed.trades_after(book, 0, most=_FIRST_TRADES)
        self.channels[channel] = _Known(count)
        self.push({"type": "trades", "symbol": symbol, "missed": 0, "items": [*map(showing.trade, newest)]})

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

    def _texts(self, message: Message | str | Rows | _Missed) -> Iterator[str]:
        match message:
            case str():
                yield message
            case _Missed():
                yield from self._missed(message)
            case np.ndarray():
                yield from map(_text, self._reports(message))
            case _:
                yield _text(message)

    def _missed(self, missed: _Missed) -> Iterator[str]:
        try:
            rows = self._floor.reports.after(self._account or 0, Position(missed.after))
        except ForgottenError:  # meanwhile: who comes back is told so
            self.overrun = True
            return
        yield from map(_text, self._reports(rows[rows["sequence"] <= missed.last]))

    def _reports(self, rows: Rows) -> Iterator[Message]:
        """Give what is told of orders, all of one command together."""
        for sequence, reports in groupby(reports_of(rows), attrgetter("sequence")):
            together = [each for each in reports if each.kind in _OF_ORDERS and each.order]
            if together:
                told = [self._report(each) for each in together]
                yield {"type": "reports", "sequence": sequence, "at_ns": together[0].at_ns, "reports": told}

    def _report(self, report: Report) -> Message:
        return {
            "kind": said(Told, report.kind), "number": report.order, "symbol": self._entry.symbol(report.book),
            "side": said(Side, report.side) if report.side else None, "price": report.price,
            "quantity": report.quantity, "left": report.quantity if report.kind == Told.REPLACED else report.left,
            "reason": said(Reason, report.reason) if report.reason else "",
        }  # fmt: skip


def _text(message: Message) -> str:
    return to_json(message).decode()
