"""What a book is worth in the eyes of those who make its market: a random walk that is a function of the time."""

import math
from random import Random
from typing import Final

from archstone.systems.exchange.bots.view import Market

__all__ = ["Walk"]

_OCTAVES: Final = 14
_HOURLY: Final = 72.0
"""Standard deviation of what the octaves together move in an hour, if that of one second has amplitude 1."""


class Walk:
    """A fair value.

    It is a sum of octaves: lattices of 1, 2, 4 ... 8,192 seconds with a number drawn at each point and lines in
    between, of amplitudes that grow as the square root of their period, as the steps of a random walk do. So it needs
    no memory: the same seed has the same value at the same time, after a restart too, and it stays near the price of
    the market, within about five times of `hourly_ratio`.

    Source: Fournier, Fussell and Carpenter 1982, "Computer rendering of stochastic models"; here by value noise, which
    can be asked at any time.
    """

    def __init__(self, market: Market, *, seed: int | str) -> None:
        self._price = market.price
        self._unit = market.hourly_ratio / _HOURLY
        self._seed = f"{seed}/walk/{market.book}"
        self._ends = [(-1, 0.0, 0.0)] * _OCTAVES
        """Of each octave: the lattice's point that was last asked for, and the numbers there and at the next."""

    def at(self, at_s: float) -> float:
        """Return the fair value in ticks, with fractions, at a time in seconds since 1970."""
        return self._price * math.exp(self._unit * sum(self._octave(each, at_s) for each in range(_OCTAVES)))

    def _octave(self, octave: int, at_s: float) -> float:
        place = at_s / 2**octave
        point = math.floor(place)
        if self._ends[octave][0] != point:
            self._ends[octave] = (point, self._drawn(octave, point), self._drawn(octave, point + 1))
        _, before, after = self._ends[octave]
        return 2 ** (octave / 2) * (before + (after - before) * (place - point))

    def _drawn(self, octave: int, point: int) -> float:
        return Random(f"{self._seed}/{octave}/{point}").uniform(-1, 1)
