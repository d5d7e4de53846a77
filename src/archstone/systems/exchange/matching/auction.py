"""At which price an auction trades.

All orders gather; at the end one price is found at which the most lots change hands. Where several prices do that:

1. the one that leaves the smallest surplus of one side over the other;
2. if buyers are left over at all of these the highest of them, if sellers are the lowest: the surplus pulls the price;
3. the one nearest to the reference price, or the highest of them where there is no reference or two are as near.

Candidates are the prices of limit orders; if there are none, the reference is the only one. A market order that takes
no worse price than its own counts up to that price, and does not pull.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archstone.systems.exchange.matching.book import Half, Order
from archstone.systems.exchange.matching.commands import Type

__all__ = ["Cross", "crossing"]


class Cross(NamedTuple):
    """How an auction would end."""

    price: int
    volume: int
    """Lots that change hands. Above 0."""
    surplus: int
    """Lots of buyers that find no seller at that price; negative: of sellers."""


def crossing(buys: Half, sells: Half, reference: int) -> Cross | None:
    """Return at which price an auction ends; None: nobody can trade. `reference` 0: there is none."""
    found = [cross for cross in _crosses(buys, sells, reference) if cross.volume]
    if not found:
        return None
    most = max(each.volume for each in found)
    found = [each for each in found if each.volume == most]
    least = min(abs(each.surplus) for each in found)
    found = [each for each in found if abs(each.surplus) == least]
    if all(each.surplus > 0 for each in found):
        return found[-1]
    if all(each.surplus < 0 for each in found):
        return found[0]
    return min(found, key=lambda each: (abs(each.price - reference) if reference else 0, -each.price))


def _limits(half: Half) -> Iterator[int]:
    return (price for price in half.prices() if any(order.type == Type.LIMIT for order in half.at(price)))


def _crosses(buys: Half, sells: Half, reference: int) -> Iterator[Cross]:
    """Give how it would end at each candidate, lowest first: the higher, the less is bought and the more is sold."""
    bids, asks = ({price: _lots(half.at(price)) for price in half.prices()} for half in (buys, sells))
    candidates = {*_limits(buys), *_limits(sells)} or {reference} - {0}
    bought, sold = _lots(buys.market.values()) + sum(bids.values()), _lots(sells.market.values())
    for price in sorted({*bids, *asks, *candidates}):
        sold += asks.get(price, 0)
        if price in candidates:
            yield Cross(price, min(bought, sold), bought - sold)
        bought -= bids.get(price, 0)


def _lots(orders: Iterable[Order]) -> int:
    return sum(order.left for order in orders)
