"""The market maker: somebody who always names a price to buy and one to sell."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from archstone.systems.exchange.bots.view import Open, View, change, place, withdraw
from archstone.systems.exchange.bots.walk import Walk
from archstone.systems.exchange.matching import MAX_PRICE, Command, Side

__all__ = ["Maker"]


@dataclass(slots=True, kw_only=True)
class Maker:
    """Quotes several prices on both sides of a fair value, and leans against what it holds.

    The fair value is moved down by up to one spread if it holds all that it may, and up if it owes all: its sells are
    then the best of the book, and what it holds goes. A quote is moved by a replace when its price is no longer the one
    wanted, or when half of it is gone. What others have left beyond its new price it takes.
    """

    walk: Walk
    levels: int = 4
    """Prices on each side."""
    lots: int = 20
    """At each."""
    spread_ratio: float = 0.0008
    """From the best buy to the best sell, over the price; at least two ticks."""
    most_held: int = 800
    every_s: float = 1.0

    def decide(self, view: View) -> list[Command]:
        """Return what brings its quotes to where they are to be."""
        fair = self.walk.at(view.at_s)
        spread = max(2.0, fair * self.spread_ratio)
        middle = fair - view.position / self.most_held * spread
        sides = {side: [each for each in view.open if each.side == side] for side in Side}
        rising = any(each.price < middle - spread for each in sides[Side.BUY][:1])
        # The side that goes away from the other first, so that the maker never meets itself.
        order = (Side.SELL, Side.BUY) if rising else (Side.BUY, Side.SELL)
        return [
            command
            for side in order
            for command in _moved(sides[side], [*self._wanted(side, middle, spread, view.position)], side)
        ]

    def _wanted(self, side: Side, middle: float, spread: float, position: int) -> Iterator[tuple[int, int]]:
        """Give price and lots of each quote, the best first, as many as it may still trade."""
        toward = -1 if side == Side.BUY else 1
        room = self.most_held + toward * position
        step = max(1, round(spread / 2))
        best = math.floor(middle - spread / 2) if side == Side.BUY else math.ceil(middle + spread / 2)
        for level in range(self.levels):
            lots = min(self.lots, room)
            price = best + toward * level * step
            if lots <= 0 or not 0 < price <= MAX_PRICE:
                return
            room -= lots
            yield price, lots


def _moved(found: list[Open], wanted: list[tuple[int, int]], side: Side) -> Iterator[Command]:
    found.sort(key=lambda each: each.price, reverse=side == Side.BUY)
    for order, quote in zip_longest(found, wanted):
        if quote is None:
            yield withdraw(order)
        elif order is None:
            yield place(side, *quote)
        elif order.price != quote[0] or 2 * order.left < quote[1] or order.left > quote[1]:
            yield change(order, *quote)
