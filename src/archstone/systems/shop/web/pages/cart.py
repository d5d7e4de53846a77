"""The cart: looking into it and changing it. Every form says how many there shall be, so sending it twice is fine."""

from contextlib import suppress

from archstone.errors import ArchstoneError
from archstone.security import HostCookie
from archstone.systems.shop.carts.contract import Cart, CartFullError, CartsFullError, CartUnknownError
from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, Redirect, Request
from archstone.systems.shop.web.forms import Filled, LineForm, checked
from archstone.systems.shop.web.words import shortage

__all__ = ["EMPTY", "clear", "put", "seen", "show"]

EMPTY = Cart(lines=(), pieces=0, total=None)


async def show(desk: Desk, request: Request) -> Answer:
    """Show what is in the cart."""
    cookies: tuple[HostCookie, ...] = ()
    if request.visitor is not None:
        _, cookies = await desk.bring_cart(request)  # nothing to do, unless it failed when signing in
    cart = await seen(desk, request)
    return Page(template="cart.html", values={"cart": cart, "short": await _short(desk, cart)}, cookies=cookies)


async def put(desk: Desk, request: Request) -> Answer:
    """Have so many pieces of a product in the cart."""
    line = checked(LineForm, request.form)
    if isinstance(line, Filled):
        return Redirect(to=f"/cart?told={'quantity' if 'quantity' in line.faults else 'unknown'}")
    cookies: tuple[HostCookie, ...] = ()
    try:
        cart, cookies = await desk.cart_to_fill(request)
        await desk.clients.carts.put(cart, line.sku, line.quantity)
    except UnknownProductError:
        return Redirect(to="/cart?told=unknown", cookies=cookies)
    except CartFullError:
        return Redirect(to="/cart?told=full", cookies=cookies)
    except CartsFullError:
        return Redirect(to="/login?next=/cart")
    return Redirect(to="/cart?told=put", cookies=cookies)


async def clear(desk: Desk, request: Request) -> Answer:
    """Take everything out."""
    if request.cart is not None:
        with suppress(CartUnknownError):  # it is as empty as wanted
            await desk.clients.carts.clear(request.cart)
    return Redirect(to="/cart?told=put")


async def seen(desk: Desk, request: Request) -> Cart:
    """Return the visitor's cart; an empty one if there is none."""
    if request.cart is None:
        return EMPTY
    try:
        return await desk.clients.carts.cart(request.cart)
    except CartUnknownError:
        return EMPTY


async def _short(desk: Desk, cart: Cart) -> dict[str, str | None]:
    """Return a word of warning for each product of which there is not as much as is in the cart."""
    with suppress(ArchstoneError):  # the cart goes without; the checkout asks again
        free = await desk.free(line.sku for line in cart.lines)
        return {line.sku: shortage(free[line.sku], line.quantity) for line in cart.lines if line.sku in free}
    return {}
