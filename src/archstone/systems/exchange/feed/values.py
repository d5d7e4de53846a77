"""What the market data says: depth, trades, phases, candles."""

from typing import NamedTuple

__all__ = ["Candle", "Changes", "Depth", "Level", "Phased", "Trade", "Update"]


class Level(NamedTuple):
    """What waits at one price of one side, all of it: a later one of the same price replaces an earlier one."""

    book: int
    side: int
    price: int
    """Ticks."""
    quantity: int
    """Lots shown. 0: nothing waits there any more."""
    orders: int


class Trade(NamedTuple):
    """One trade."""

    sequence: int
    """Of the command that caused it."""
    part: int
    """Which event of that command it was, from 0; with the sequence it names the trade."""
    at_ns: int
    book: int
    price: int
    quantity: int
    side: int
    """Of the order that came second. 0: in an auction."""


class Phased(NamedTuple):
    """A book has entered a phase."""

    book: int
    phase: int


class Changes(NamedTuple):
    """What one batch has changed of what all may see."""

    sequence: int
    """Of the last command of the batch."""
    at_ns: int
    levels: tuple[Level, ...]
    """Each price once, as it is after the batch."""
    trades: tuple[Trade, ...]
    """In the order in which they happened."""
    phases: tuple[Phased, ...]
    """The same; a new book is one."""


class Depth(NamedTuple):
    """A book at one moment."""

    book: int
    sequence: int
    """Of the last command that is in it."""
    at_ns: int
    phase: int
    last: int
    """The price of the last trade. 0: there was none."""
    buys: tuple[tuple[int, int, int], ...]
    """Price, lots shown, orders; the best first."""
    sells: tuple[tuple[int, int, int], ...]


class Candle(NamedTuple):
    """The trades of one stretch of time."""

    book: int
    width_s: int
    opened_at_s: int
    """Seconds since 1970, a multiple of the width."""
    open: int
    high: int
    low: int
    close: int
    volume: int
    """Lots."""
    trades: int


class Update(NamedTuple):
    """What has become of a book since the update before."""

    depth: Depth
    trades: tuple[Trade, ...]
    """Oldest first."""
    missed: int
    """Older trades that were left out, since there were more than are kept for one reader."""
    candles: tuple[Candle, ...]
    """Those that have changed, as they are now."""
