"""What an account may order: asked before each new order and each replace, before the book hears of it.

In this order, and the first that says no is the answer:

    NO_ACCOUNT   there is no such account
    FIELD        the order's id is not of this account
    NUMBER       the account has used this number, or a higher one; from now on this one is used, whatever comes of it.
                 Or it is more than `MAX_JUMP` above the last one: then it is not used
    KILL         its kill switch is on, or everybody's
    RATE         it has sent as many orders and replaces within this second of the clock as it may
    NO_BOOK      there is no such book
    FIELD        a field is out of its range, or two contradict each other
    COLLAR       the price is too far from the last one, of a stop from its trigger; or a market order has none to go by
    QUANTITY     more lots than the book, or the account's limit, allows for an order
    VALUE        lots times price is more than the account's limit for an order; a sale's price is the most that it may
                 get as things are: its own, the best bid, or the last one (of a stop its trigger)
    ORDERS       the account has as many live orders as it may; a replace is not asked
    POSITION     with all that is open on this side done, too many lots would be held or owed
    CREDIT       it could not pay

Who may pay what: open buys reserve what they cost at worst, and what is reserved is never more than cash and credit.
What a short sale brings is in the cash, but must not be spent on other positions: an order that opens or enlarges one,
be it a sale, needs cash and credit that suffice after what is reserved and what all that is owed would cost now. An
order that closes one needs the cash only, and a replace that asks for no more lots and no more money needs none.

What is owed, or would be once all open sales were done, needs the book's margin besides, at the last price; an order
that would make it more is asked at the most that it may get. Margin is not called for: who has too little of it goes no
further. POSITION bounds how much may be owed, and is all that does in a book without margin.

A replace that makes an order smaller at its price is never refused by any of this but RATE.
"""

from collections.abc import Mapping
from typing import NamedTuple

from archstone.systems.exchange.matching import Limit, Reason, Side
from archstone.systems.exchange.venue.accounts import Account, Holding
from archstone.systems.exchange.venue.market import Market

__all__ = ["Wish", "owed", "pledged", "refusal"]

_NOTHING = Holding()


class Wish(NamedTuple):
    """What an order is to have open, and what it has open already if it is to be replaced."""

    side: int
    price: int
    """The worst at which it can trade."""
    quantity: int
    trigger: int = 0
    old_price: int = 0
    old_quantity: int = 0


def refusal(account: Account, market: Market, wish: Wish, markets: Mapping[int, Market]) -> Reason:
    """Return why an account may not have what it wishes, from COLLAR on; NONE: it may."""
    limits, base = account.limits, market.base(wish.trigger)
    low, high = market.bounds(base)
    if base and not low <= wish.price <= high:
        return Reason.COLLAR
    if wish.quantity > limits[Limit.QUANTITY] or 0 < market.most < wish.quantity:
        return Reason.QUANTITY
    price = wish.price if wish.side == Side.BUY else market.most_for(wish.price, wish.trigger)
    if price * wish.quantity * market.value > limits[Limit.VALUE]:
        return Reason.VALUE
    if not wish.old_quantity and account.orders >= limits[Limit.ORDERS]:
        return Reason.ORDERS
    holding = account.holdings.get(market.book, _NOTHING)
    lots = holding.open(wish.side) - wish.old_quantity + wish.quantity
    signed = holding.position if wish.side == Side.BUY else -holding.position
    if signed + lots > limits[Limit.POSITION]:
        return Reason.POSITION
    return Reason.NONE if _can_pay(account, market, wish, markets) else Reason.CREDIT


def _can_pay(account: Account, market: Market, wish: Wish, markets: Mapping[int, Market]) -> bool:
    need = 0
    if wish.side == Side.BUY:
        need = (wish.price * wish.quantity - wish.old_price * wish.old_quantity) * market.value
    if need <= 0 and wish.quantity <= wish.old_quantity:
        return True
    holding = account.holdings.get(market.book, _NOTHING)
    lots = holding.open(wish.side) - wish.old_quantity + wish.quantity
    if lots <= holding.closing(wish.side):
        return wish.side == Side.SELL or need <= max(0, account.payable)
    if wish.side == Side.SELL:
        price = max(market.most_for(wish.price, wish.trigger), market.engine.last)
        need = market.margin_of(lots - holding.position, price) - market.margin_of(holding.short, market.engine.last)
    return need <= account.payable - owed(account, markets) - pledged(account, markets)


def owed(account: Account, markets: Mapping[int, Market]) -> int:
    """Return what all that an account owes would cost at the last prices."""
    return account.worth(lambda book: markets[book].worth)[1]


def pledged(account: Account, markets: Mapping[int, Market]) -> int:
    """Return the margin that an account's short sales need at the last prices, the open ones too."""
    return sum(
        markets[book].margin_of(each.short, markets[book].engine.last) for book, each in account.holdings.items()
    )
