"""Candles: the trades of each minute, or of whatever width, in bounded memory."""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from archstone.systems.exchange.feed.values import Candle, Trade

__all__ = ["Candles"]

_S: Final = 1_000_000_000


class Candles:
    """The newest candles of each book, of each width."""

    def __init__(self, widths_s: Sequence[int], *, keep: int) -> None:
        """Begin without any.

        Args:
            widths_s: How long candles are, each at least 1.
            keep: Candles of one book and width that are kept, at least 1.
        """
        self._widths_s = tuple(widths_s)
        self._keep = keep
        self._kept: dict[tuple[int, int], deque[Candle]] = {}

    def add(self, trades: Iterable[Trade]) -> None:
        """Take trades in, oldest first."""
        for trade in trades:
            for width_s in self._widths_s:
                self._add(trade, width_s)

    def _add(self, trade: Trade, width_s: int) -> None:
        kept = self._row(trade.book, width_s)
        opened_at_s = trade.at_ns // _S // width_s * width_s
        price, lots = trade.price, trade.quantity
        if not kept or kept[-1].opened_at_s != opened_at_s:
            kept.append(Candle(trade.book, width_s, opened_at_s, price, price, price, price, lots, 1))
            return
        last = kept[-1]
        kept[-1] = last._replace(
            high=max(last.high, price),
            low=min(last.low, price),
            close=price,
            volume=last.volume + lots,
            trades=last.trades + 1,
        )

    def _row(self, book: int, width_s: int) -> deque[Candle]:
        return self._kept.setdefault((book, width_s), deque(maxlen=self._keep))

    def all(self) -> list[Candle]:
        """Return all candles; those of one book and width oldest first."""
        return [*chain.from_iterable(self._kept.values())]

    def put(self, candles: Iterable[Candle]) -> None:
        """Put candles back, before the first trade; those of other widths are left out."""
        for each in candles:
            if each.width_s in self._widths_s:
                self._row(each.book, each.width_s).append(each)

    def of(self, book: int, width_s: int) -> tuple[Candle, ...]:
        """Return the candles of a book, oldest first; stretches without a trade have none."""
        return tuple(self._kept.get((book, width_s), ()))

    def since(self, book: int, at_s: int) -> tuple[Candle, ...]:
        """Return the candles of all widths that trades at `at_s` or later can have changed, oldest first."""
        return tuple(
            candle
            for width_s in self._widths_s
            for candle in self._kept.get((book, width_s), ())
            if candle.opened_at_s + width_s > at_s
        )
