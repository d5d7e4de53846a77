"""The buyer's orders: the list, one with its history, cancelling it, and having its products in the cart again."""

from contextlib import suppress
from typing import Final

from archstone import world
from archstone.systems.shop.carts.contract import CartFullError
from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.orders.contract import CannotCancelError, OrderUnknownError, OrderView
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.words import about, coming

__all__ = ["again", "cancel", "order", "orders", "shown"]

PER_PAGE: Final = 20
LONGEST_CURSOR: Final = 500


async def orders(desk: Desk, request: Request) -> Answer:
    """List the visitor's orders."""
    cursor = request.query.get("cursor", "")[:LONGEST_CURSOR] or None
    try:
        page = await desk.clients.orders.orders_of(request.principal.id, limit=PER_PAGE, cursor=cursor)
    except BadCursorError:
        return Redirect(to="/orders")
    return Page(template="orders.html", values={"page": page})


async def order(desk: Desk, request: Request) -> Answer:
    """Show an order. It tells of itself as it goes along where scripts run; elsewhere there is a link to look again."""
    found = await _found(desk, request)
    products = await desk.products(line.sku for line in found.lines)
    return Page(template="order.html", values={**shown(desk, found), "products": products})


async def cancel(desk: Desk, request: Request) -> Answer:
    """Ask for an order to be cancelled."""
    order_id = request.parts["order"]
    try:
        await desk.clients.orders.cancel(order_id)
    except CannotCancelError:
        return Redirect(to=f"/orders/{order_id}?told=late")
    except OrderUnknownError as error:
        raise PageMissingError from error
    return Redirect(to=f"/orders/{order_id}?told=asked")


async def again(desk: Desk, request: Request) -> Answer:
    """Put the products of an order into the cart again, as far as they are for sale."""
    found = await _found(desk, request)
    told = "again"
    for line in found.lines:
        with suppress(UnknownProductError):
            try:
                await desk.clients.carts.put("me", line.sku, line.quantity)
            except CartFullError:
                told = "full"
                break
    return Redirect(to=f"/cart?told={told}")


def shown(desk: Desk, found: OrderView) -> dict[str, object]:
    """Return what the page, and its part that changes by itself, shows of an order."""
    told = about(found, now=world.now(), started_at=desk.opened_at)
    return {"order": found, "about": told, "coming": coming(found)}


async def _found(desk: Desk, request: Request) -> OrderView:
    try:
        return await desk.clients.orders.order(request.parts["order"])
    except OrderUnknownError as error:
        raise PageMissingError from error
