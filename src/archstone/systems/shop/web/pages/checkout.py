"""The checkout: one form, with all that the buyer saw, sent once or twice: one order.

The form carries the lines, the total that was shown, and a key made with it. So a second click, a reload or a repeat
after a lost answer finds the order that the first one placed; what the cart has become meanwhile plays no part.
"""

from typing import Final

from archstone import world
from archstone.errors import BackendError, DeadlineError, DomainError, RejectedError
from archstone.services import KeyReusedError, StillRunningError, options
from archstone.systems.shop.catalog.contract import Product, UnknownProductError
from archstone.systems.shop.values import Line, Money
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, Redirect, Request
from archstone.systems.shop.web.forms import (
    CARDS,
    COUNTRIES,
    CheckoutForm,
    Filled,
    checked,
    lines_text,
    shown_again,
)
from archstone.systems.shop.web.money import many, total_of
from archstone.systems.shop.web.pages.cart import seen
from archstone.systems.shop.web.words import shortage

__all__ = ["checkout", "place"]

ADDRESS: Final = ("name", "street", "city", "postcode", "country")
_NO_ANSWER: Final = (
    "We could not make sure that your order has arrived. Please press the button again: it will not be ordered twice."
)
_USED: Final = "This form has been used for an order already. Have a look at your orders before you order again."
_CHANGED: Final = "A price has changed while you were looking. Please have a look at the new total and order again."
_GONE: Final = "A product is not for sale any more. Please go back to your cart and take it out."
_OLD: Final = "This form is out of date. Please go back to your cart and begin again."


async def checkout(desk: Desk, request: Request) -> Answer:
    """Ask where to and how to pay, and show once more what is ordered."""
    cart = await seen(desk, request)
    if not cart.lines:
        return Redirect(to="/cart?told=empty")
    if any(line.product is None for line in cart.lines):
        return Redirect(to="/cart?told=gone")
    if cart.total is None:
        return Redirect(to="/cart?told=mixed")
    lines = tuple(Line(sku=line.sku, quantity=line.quantity) for line in cart.lines)
    typed = {
        **await _usual(desk, request), "key": _new_key(), "lines": lines_text(lines), "shown": _shown(cart.total),
        "card": "tok_ok",
    }  # fmt: skip
    return await _form(desk, Filled(typed), lines, cart.total, status=200)


async def place(desk: Desk, request: Request) -> Answer:
    """Place the order, and go to its page."""
    form = checked(CheckoutForm, request.form)
    if isinstance(form, Filled):
        return await _again(desk, form)
    filled = Filled(shown_again(request.form))
    try:
        products = await desk.clients.catalog.pick(tuple(line.sku for line in form.wanted))
        total = total_of(many(each.price, line.quantity) for each, line in zip(products, form.wanted, strict=True))
        if total != form.total:
            typed = {**filled.typed, "shown": _shown(total)} if total is not None else filled.typed
            return await _again(desk, Filled(typed, {"": _CHANGED}), status=409)
        orders = options(desk.clients.orders, key=f"pages-{form.key}")
        placed = await orders.place(form.wanted, form.address, form.card)
    except UnknownProductError:
        return await _again(desk, filled.with_fault("", _GONE), status=409, anew=True)
    except DomainError as error:
        return await _again(desk, filled.with_fault("", f"{error}."), status=409, anew=True)
    except KeyReusedError:
        return await _again(desk, filled.with_fault("", _USED), status=409, anew=True)
    except (RejectedError, BackendError, DeadlineError, StillRunningError):
        # The key stays, so that pressing again finds the order if it was placed after all.
        return await _again(desk, filled.with_fault("", _NO_ANSWER), status=503)
    return Redirect(to=f"/orders/{placed.id}")


async def _again(desk: Desk, filled: Filled, *, status: int = 422, anew: bool = False) -> Page:
    """Show the form once more, with what was typed."""
    if {"key", "lines", "shown"} & filled.faults.keys():
        filled = Filled(filled.typed, {**filled.faults, "": _OLD})
    typed = {**dict.fromkeys((*ADDRESS, "card", "key", "lines", "shown"), ""), **filled.typed}
    if anew:
        # What was answered under the old key would be answered again.
        typed["key"] = _new_key()
    known = checked(CheckoutForm, {**typed, **_SOUND})
    if isinstance(known, Filled):
        return await _form(desk, Filled(typed, filled.faults), (), None, status=status)
    return await _form(desk, Filled(typed, filled.faults), known.wanted, known.total, status=status)


_SOUND: Final = {
    "name": "x", "street": "x", "city": "x", "postcode": "x", "country": "DE", "card": "tok_ok", "key": "0" * 32,
}  # fmt: skip
"""Stands in for what may be wrong, to read the rest of the form."""


async def _form(desk: Desk, filled: Filled, lines: tuple[Line, ...], total: Money | None, *, status: int) -> Page:
    free, products = await desk.free(line.sku for line in lines), await desk.products(line.sku for line in lines)
    values = {
        "filled": filled,
        "lines": [_row(line, products.get(line.sku), free.get(line.sku, 0)) for line in lines],
        "total": total,
        "countries": COUNTRIES,
        "cards": CARDS,
    }
    return Page(template="checkout.html", values=values, status=status)


def _row(line: Line, product: Product | None, free: int) -> dict[str, object]:
    """Return a line as it is shown, with a word of warning if there is not enough of it."""
    if product is None:
        return {
            "name": line.sku,
            "quantity": line.quantity,
            "total": None,
            "warning": "Not for sale any more",
            "product": None,
        }
    total = many(product.price, line.quantity)
    return {
        "name": product.name,
        "quantity": line.quantity,
        "total": total,
        "warning": shortage(free, line.quantity),
        "product": product,
    }


async def _usual(desk: Desk, request: Request) -> dict[str, str]:
    """Return the address of the visitor's last order; without one, the name."""
    if request.visitor is None:
        return dict.fromkeys(ADDRESS, "")
    user = request.visitor.user
    latest = (await desk.clients.orders.orders_of(user.id, limit=1)).items
    if not latest:
        return {**dict.fromkeys(ADDRESS, ""), "name": user.name}
    address = (await desk.clients.orders.order(latest[0].id)).address
    return {name: str(getattr(address, name)) for name in ADDRESS}


def _shown(total: Money) -> str:
    return f"{total.amount} {total.currency}"


def _new_key() -> str:
    return world.secret_bytes(16).hex()
