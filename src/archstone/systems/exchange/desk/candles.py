"""Trades as candles: open, high, low, close and volume of each stretch of time, for several lengths at once."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = ["KEEP", "STEPS_S", "Candle", "Candles"]

STEPS_S: Final = (1, 60, 300, 3600)
"""Lengths, in seconds."""
KEEP: Final = 1_000
"""Candles of each length that are kept."""
_NS: Final = 1_000_000_000


class Candle(NamedTuple):
    """What became of the price in one stretch. Prices in ticks."""

    begins_s: int
    """Seconds since 1970, a multiple of its length."""
    open: int
    high: int
    low: int
    close: int
    lots: int


@dataclass(slots=True)
class Candles:
    """The candles of one book. A stretch without trades has none."""

    kept: dict[int, deque[Candle]] = field(
        default_factory=lambda: {step_s: deque[Candle](maxlen=KEEP) for step_s in STEPS_S}
    )
    """By length, oldest first."""

    def add(self, at_ns: int, price: int, lots: int) -> None:
        """Count a trade, which is not older than those before."""
        for step_s, kept in self.kept.items():
            begins_s = at_ns // _NS // step_s * step_s
            if not kept or kept[-1].begins_s != begins_s:
                kept.append(Candle(begins_s, price, price, price, price, lots))
                continue
            last = kept[-1]
            kept[-1] = last._replace(
                high=max(last.high, price), low=min(last.low, price), close=price, lots=last.lots + lots
            )

    def of(self, step_s: int) -> list[Candle]:
        """Return all candles of a length, oldest first, at most `KEEP`. KeyError: none of `STEPS_S`."""
        return [*self.kept[step_s]]

    def last(self, step_s: int) -> Candle | None:
        """Return the one that is still growing. None: there was no trade yet."""
        kept = self.kept[step_s]
        return kept[-1] if kept else None
