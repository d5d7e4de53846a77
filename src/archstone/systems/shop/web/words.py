"""What the buyer is told, in words that need no explanation.

An order's reason for ending comes as the service that refused has put it; where that is one of the known ones it is
said here as one would across a counter: what happened, what became of the money, what to do now.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from archstone.systems.shop.inventory.contract import Stock
from archstone.systems.shop.orders.contract import OrderSummary, OrderView, RefundView
from archstone.systems.shop.values import Money

__all__ = [
    "NOTICES",
    "SLOW_AFTER",
    "Told",
    "about",
    "coming",
    "in_stock",
    "refund_words",
    "shortage",
    "status_words",
    "timeline_words",
]

SLOW_AFTER: Final = timedelta(seconds=3)
"""A checkout that takes longer is explained."""
SILENT_AFTER: Final = timedelta(minutes=1)
"""A refund that takes longer waits for a bank that does not answer."""
FEW: Final = 5

NOTICES: Final = {
    "put": "Your cart has been changed.",
    "again": "The products are in your cart again.",
    "gone": "Some products are not for sale any more. Please take them out to order the rest.",
    "mixed": "This cannot be one order: its prices are in different currencies, or it costs too much. Please split it.",
    "empty": "Your cart is empty, so there is nothing to order. What you have ordered already is under Orders.",
    "full": "Your cart holds 50 different products, and no more fit. Order these or take one out.",
    "dropped": "Not everything from your cart as a guest has found room: a cart holds 50 different products.",
    "unknown": "This product is not for sale any more.",
    "quantity": "Please enter a number of pieces from 0 to 99.",
    "saved": "Your changes have been saved.",
    "key-revoked": "This key opens nothing any more.",
    "password": "Your password is changed. Every other device is signed out, and a mail tells you so."
    " API keys and apps go on: please look under Security whether all of them are yours.",
    "link": "If there is an account with this address, a mail with a link is on its way. It is good for ten minutes.",
    "reset": "Your password is changed, and every device is signed out. Please sign in with the new one.",
    "reset-all": "Your password is changed. Every device is signed out, and no API key and no app acts for you now."
    " Please sign in with the new one.",
    "no-programs": "No API key and no app acts for you any more.",
    "email-asked": "If this address can be yours, a mail with a link is on its way there. It is good for an hour.",
    "email-changed": "Your address is changed, and every device is signed out. Please sign in with the new one.",
    "email-undone": "Your account has its old address again, and your new password. Please sign in with them.",
    "sign-up": "A mail is on its way to you. Open its link within an hour; nothing is left to do here.",
    "factor": "Administrators of this shop need a second factor. Please set up an app; then everything is here again.",
    "prove": "It is a while ago that you signed in. Please say once more who you are, and go on where you were.",
    "unfactored": "Signing in asks for a code no more. Every other device is signed out, and a mail tells you so.",
    "passkey": "Your passkey is ready. You can sign in with it from now on, and a mail tells you so.",
    "unpasskeyed": "The passkey is removed, and a mail tells you so. You may remove it from the device as well.",
    "ended-there": "That browser is signed out.",
    "deleted": "Your account is deleted. Thank you for having been here.",
    "left": "You are signed out.",
    "ended": "You are not signed in any more, so nothing was done. Please sign in, and go on where you were.",
    "everywhere": "You are signed out on every device.",
    "late": "It is too late to cancel: the parcel has left. Send it back when it has arrived.",
    "asked": "We are cancelling your order.",
}
"""What one page asks the next one to say, by name: the name is in the address, so nobody can put words there."""

_TIMELINE: Final = {
    "placed": "Order placed",
    "confirmed": "Paid and confirmed",
    "cancellation asked for": "You asked for it to be cancelled",
    "packed": "Packed",
    "shipped": "On its way",
    "delivered": "Delivered",
}
_REFUND: Final = re.compile(
    r"refunded (?P<given>.+)|refund of (?P<asked>.+?) (?P<how>asked for|not possible|failed)(?: again|: (?P<why>.*))",
    re.DOTALL,
)
_NOT_CHARGED: Final = "No money has been kept, and the goods are back on the shelf."
_DECLINED: Final = {
    "insufficient funds": "Your bank says that there is not enough money on the card.",
    "unknown card": "The bank does not know this card.",
}
_PARCEL: Final = {
    None: ("Thank you! Your order is confirmed.", "It is paid, and we are about to pack it."),
    "packed": ("Your parcel is packed.", "It will be on its way soon."),
    "shipped": ("Your parcel is on its way.", "It can no longer be cancelled."),
    "delivered": ("Your parcel has been delivered.", "Enjoy it!"),
}


class Told(NamedTuple):
    """How an order stands, in words."""

    headline: str
    detail: str
    tone: str
    """`waiting`, `good` or `bad`."""
    slow: bool = False
    """Whether it takes longer than usual."""
    over: bool = False
    """Whether nothing will change any more."""
    again: bool = False
    """Whether ordering again makes sense."""
    cancellable: bool = False


def about(order: OrderView, *, now: datetime, started_at: datetime) -> Told:
    """Say how an order stands.

    Args:
        order: The order.
        now: This moment.
        started_at: When the shop was started, to tell who ordered before that what it means.
    """
    if order.status == "cancelled":
        return _cancelled(order)
    if order.timeline[-1].what == "cancellation asked for":
        return Told("We are cancelling your order.", "This takes a moment.", "waiting", slow=True)
    if order.status == "confirmed":
        headline, detail = _PARCEL[order.parcel]
        if any(order.placed_at < started_at < entry.at for entry in order.timeline if entry.what == "confirmed"):
            detail += " The shop was restarted in between; your order went on where it was."
        delivered = order.parcel == "delivered"
        return Told(headline, detail, "good", over=delivered, cancellable=order.parcel in {None, "packed"})
    return _pending(order, now=now, started_at=started_at)


def _pending(order: OrderView, *, now: datetime, started_at: datetime) -> Told:
    headline = "We are working on your order."
    if order.placed_at < started_at:
        detail = (
            "The shop was restarted while your order was under way. Nothing is lost: it goes on where it was, by"
            " itself. Please do not order again."
        )
        return Told(headline, detail, "waiting", slow=True, cancellable=True)
    if now - order.placed_at > SLOW_AFTER:
        detail = (
            "The bank is taking longer than usual. We keep asking, and you will be charged once at most. You may close"
            " this page: we send a mail when it is decided. Please do not order again."
        )
        return Told(headline, detail, "waiting", slow=True, cancellable=True)
    return Told(headline, "We are setting the goods aside and asking your bank.", "waiting", cancellable=True)


def _cancelled(order: OrderView) -> Told:
    kind, _, fact = (order.reason or "").partition(": ")
    if kind == "payment declined":
        why = _DECLINED.get(fact, f"Your bank has refused the payment ({fact}).")
        return Told(
            "Your card was declined.", f"{why} {_NOT_CHARGED} Please try another card.", "bad", over=True, again=True
        )
    if kind == "out of stock":
        names = {line.sku: line.name for line in order.lines}
        what = names.get(fact, fact)
        detail = (
            f"When we came to set it aside, there was not enough of \u201c{what}\u201d left. No money has been kept."
        )
        return Told("Not enough is left of what you ordered.", detail, "bad", over=True, again=True)
    if kind == "cancelled by the customer":
        detail = "What you have paid has been given back, and the goods are back on the shelf."
        return Told("You have cancelled this order.", detail, "bad", over=True, again=True)
    if kind == "the checkout could not be completed":
        detail = f"Something that we need for it did not work out, such as an answer of the bank. {_NOT_CHARGED}"
        return Told("We could not complete this order.", f"{detail} Please try again.", "bad", over=True, again=True)
    return Told("This order has been cancelled.", f"The reason: {order.reason}. {_NOT_CHARGED}", "bad", over=True)


def coming(order: OrderView) -> tuple[str, ...]:
    """Return what is still to happen to an order if all goes well, as its timeline names it."""
    known = {entry.what for entry in order.timeline}
    if order.status == "cancelled" or "cancellation asked for" in known:
        return ()
    return tuple(what for what in ("confirmed", "packed", "shipped", "delivered") if what not in known)


def timeline_words(what: str, price: Callable[[Money], str] = str) -> str:
    """Return what an entry of the timeline says, for the buyer; `price` writes the amounts in it."""
    if what.startswith("cancelled"):
        return "Cancelled"
    if what.startswith("not cancelled"):
        return "Not cancelled: the parcel had left"
    if (found := _REFUND.fullmatch(what)) is not None:
        return _refund_words(found, _priced(found["given"] or found["asked"], price))
    return _TIMELINE.get(what, what)


def _refund_words(found: re.Match[str], amount: str) -> str:
    match found["how"], found["why"]:
        case None, _:
            return f"{amount} given back"
        case "not possible", _:
            return f"{amount} could not be given back: less is left"
        case "failed", _:
            return f"{amount} not given back yet: the bank does not answer. We are looking into it"
        case _, None:
            return f"{amount} is being given back: we are asking the bank again"
        case _, why:
            return f"{amount} is being given back: {why}"


def _priced(text: str, price: Callable[[Money], str]) -> str:
    number, _, currency = text.rpartition(" ")
    digits = number.replace(".", "")
    return price(Money(amount=int(digits), currency=currency)) if digits.isascii() and digits.isdigit() else text


def refund_words(refund: RefundView, *, now: datetime) -> str:
    """Return how a refund stands, for an administrator."""
    if refund.status == "done":
        return "Given back"
    if refund.status == "refused":
        return "Refused: less was left"
    if refund.status == "failed":
        return "Refund failed: the bank did not answer for three days, so nobody knows whether it has paid"
    if now - refund.asked_at < SILENT_AFTER:
        return "Under way"
    return "Waiting for the bank: it does not answer, and is asked again for up to three days"


def status_words(order: OrderSummary) -> str:
    """Return how an order stands, in a word."""
    return {"pending": "In progress", "confirmed": "Confirmed", "cancelled": "Cancelled"}[order.status]


def in_stock(stock: Stock | None) -> str:
    """Return how much there is, in words. None: it is not known."""
    if stock is None:
        return ""
    if not stock.free:
        return "Sold out"
    return f"Only {stock.free} left" if stock.free <= FEW else "In stock"


def shortage(free: int, wanted: int) -> str | None:
    """Return a word of warning if fewer pieces are free than somebody wants. None: there are enough."""
    if free >= wanted:
        return None
    return f"Only {free} left" if free else "Sold out"
