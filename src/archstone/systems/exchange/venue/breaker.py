"""The circuit breaker of a book: what moves too far too fast is halted, and reopened by an auction.

A trade trips it whose price is `halt` basis points or more from that of any other trade within the window. The window
is kept in eighths, by the lowest and the highest price of each: it looks back at least as far as it says, and at most
an eighth further. When the command that tripped it is done the book halts; `pause_ns` later an auction gathers orders,
and `auction_ns` after it began it ends, and trading goes on. Then the window begins anew, with the auction's price.

Time is that of the commands, so a phase begins with the first command for the book that comes when it is due.
"""

from dataclasses import dataclass, field
from typing import Final

from archstone.systems.exchange.matching import Phase

__all__ = ["BASIS", "SLICES", "Breaker", "Slice"]

BASIS: Final = 10_000
"""Basis points of the whole."""
SLICES: Final = 8
"""Into how many the window is cut."""


@dataclass(slots=True)
class Slice:
    """The trades of an eighth of a window."""

    number: int
    """Eighths since 1970."""
    low: int
    high: int


@dataclass(slots=True)
class Breaker:
    """One book's."""

    halt: int
    """Basis points. 0: it never trips."""
    window_ns: int
    pause_ns: int
    auction_ns: int
    slices: list[Slice] = field(default_factory=list[Slice])
    """Oldest first, at most one more than the window has."""
    due_ns: int = 0
    """When the book's next phase begins by itself. 0: never."""

    def trips(self, price: int, at_ns: int) -> bool:
        """Note the price of a trade, and return whether it is too far from another."""
        if not self.halt:
            return False
        number = at_ns // (self.window_ns // SLICES)
        while self.slices and self.slices[0].number < number - SLICES:
            del self.slices[0]
        tripped = any(self._is_far(price, each) for each in self.slices)
        if not self.slices or self.slices[-1].number != number:
            self.slices.append(Slice(number, price, price))
        newest = self.slices[-1]
        newest.low, newest.high = min(newest.low, price), max(newest.high, price)
        return tripped

    def _is_far(self, price: int, slice: Slice) -> bool:
        rise, fall = price - slice.low, slice.high - price
        return rise * BASIS >= self.halt * slice.low or fall * BASIS >= self.halt * slice.high

    def trip(self, at_ns: int) -> None:
        """Note that the book halts now."""
        self.restart()
        self.due_ns = at_ns + self.pause_ns

    def restart(self) -> None:
        """Forget all prices."""
        self.slices.clear()

    def next_phase(self, phase: Phase, at_ns: int) -> Phase | None:
        """Return the phase that is due at a moment, after `phase`, and note when the next one is. None: none is due."""
        if not self.due_ns or at_ns < self.due_ns:
            return None
        if phase == Phase.HALTED:
            self.due_ns = at_ns + self.auction_ns
            return Phase.AUCTION
        self.due_ns = 0
        return Phase.CONTINUOUS
