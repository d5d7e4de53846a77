"""The checkout as a chain of events, for the form without a saga: who says what, and who acts on it.

    forward   orders       checkout-begun        -> inventory holds the goods
              inventory    goods-held            -> payments takes the money
              payments     money-taken           -> shipping makes out the parcel
              shipping     parcel-made-out       -> inventory sells the goods
              inventory    goods-sold            -> orders confirms

    back      orders       checkout-turned-back  -> shipping stops the parcel: cancelled, or its time is up
              inventory    sale-refused          -> shipping stops the parcel: the hold had expired, the goods are gone
              shipping     parcel-stopped        -> payments gives the money back
              payments     money-returned        -> inventory puts the goods back
              payments     money-refused         -> inventory puts the goods back: nothing was taken;
                                                    shipping makes out no parcel any more
              inventory    goods-put-back        -> orders cancels
              inventory    goods-refused         -> orders cancels: nothing was held

No other file shows the whole: each service has only its own links, in its `choreography.py`. These events are apart
from those that tell the world what has happened (`inventory.stock-reserved` and the like), which are said under
either form: a link of the chain asks somebody to go on, and under the saga nobody may.

Each event forward carries what those still to come need, which becomes less with each link. So no service has to join
two events that can come in either order; the price is that inventory passes on a payment token that it has no use for.
An event backward names the order and the reason, and who hears it accepts that there is nothing to undo.
"""

from enum import Enum
from typing import Final

from archstone.data import Event
from archstone.systems.shop.orders.events import Reason
from archstone.systems.shop.payments.provider import PaymentToken
from archstone.systems.shop.values import Address, Line, Money, OrderId, UserId

__all__ = [
    "NOT_COMPLETED",
    "CheckoutBegun",
    "CheckoutForm",
    "CheckoutTurnedBack",
    "GoodsHeld",
    "GoodsPutBack",
    "GoodsRefused",
    "GoodsSold",
    "MoneyRefused",
    "MoneyReturned",
    "MoneyTaken",
    "ParcelMadeOut",
    "ParcelStopped",
    "SaleRefused",
]

NOT_COMPLETED: Final = "the checkout could not be completed"
"""Why an order was cancelled of which nobody refused anything: somebody did not answer, or not in time."""


class CheckoutForm(Enum):
    """Who carries a new order to its end. One that is under way ends in the form in which it began."""

    SAGA = "saga"
    """A saga of orders, which asks the others one after another."""
    CHOREOGRAPHY = "choreography"
    """Nobody: each service acts on what the one before has said."""


class CheckoutBegun(Event, name="orders.checkout-begun", version=1, key="order_id"):
    """An order was placed that goes by events."""

    order_id: OrderId
    customer_id: UserId
    lines: tuple[Line, ...]
    total: Money
    address: Address
    payment_token: PaymentToken


class GoodsHeld(Event, name="inventory.goods-held", version=1, key="order_id"):
    """The goods are held: the money can be taken."""

    order_id: OrderId
    customer_id: UserId
    total: Money
    address: Address
    payment_token: PaymentToken


class MoneyTaken(Event, name="payments.money-taken", version=1, key="order_id"):
    """The money is taken: the parcel can be made out."""

    order_id: OrderId
    address: Address


class ParcelMadeOut(Event, name="shipping.parcel-made-out", version=1, key="order_id"):
    """The parcel is made out: the goods can be sold."""

    order_id: OrderId


class GoodsSold(Event, name="inventory.goods-sold", version=1, key="order_id"):
    """The goods are sold: the order can be confirmed."""

    order_id: OrderId


class GoodsRefused(Event, name="inventory.goods-refused", version=1, key="order_id"):
    """There is not enough: nothing is held, and nobody else has begun."""

    order_id: OrderId
    reason: Reason


class MoneyRefused(Event, name="payments.money-refused", version=1, key="order_id"):
    """The money was not taken, or is given back already: the goods can go back."""

    order_id: OrderId
    reason: Reason


class SaleRefused(Event, name="inventory.sale-refused", version=1, key="order_id"):
    """The hold had expired and the goods are gone: parcel and money have to go back."""

    order_id: OrderId
    reason: Reason


class CheckoutTurnedBack(Event, name="orders.checkout-turned-back", version=1, key="order_id"):
    """The order will not be confirmed any more: everything has to go back, whatever was reached.

    It is said again, at growing pauses, until the order is cancelled.
    """

    order_id: OrderId
    reason: Reason


class ParcelStopped(Event, name="shipping.parcel-stopped", version=1, key="order_id"):
    """No parcel will be sent: the money can go back."""

    order_id: OrderId
    reason: Reason


class MoneyReturned(Event, name="payments.money-returned", version=1, key="order_id"):
    """No money is kept, nor will any be taken: the goods can go back."""

    order_id: OrderId
    reason: Reason


class GoodsPutBack(Event, name="inventory.goods-put-back", version=1, key="order_id"):
    """Nothing is held or sold, nor will it be: the order can be cancelled."""

    order_id: OrderId
    reason: Reason
