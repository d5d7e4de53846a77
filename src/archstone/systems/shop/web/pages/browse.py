"""Looking around: the front page, search, shelves and products."""

from contextlib import suppress
from typing import Final

from archstone.errors import ArchstoneError
from archstone.systems.shop.catalog.contract import Order, Product, ProductPage, UnknownProductError
from archstone.systems.shop.inventory.contract import Stock, UnknownStockError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request

__all__ = ["category", "home", "product", "search", "suggestions"]

PER_PAGE = 24
LONGEST_SEARCH = 100
LONGEST_CURSOR = 500
ORDERS: Final[dict[Order, str]] = {"price": "Lowest price", "-price": "Highest price", "name": "Name"}
"""How a shelf can be shown besides as it stands, and what that is called."""


async def home(desk: Desk, request: Request) -> Answer:
    """Say what this is, and show a few things of every shelf and what goes with what was chosen last."""
    products, wanted = await desk.mix(), await _goes_with(desk, request)
    values = {"products": products, "wanted": wanted, "sold_out": await desk.sold_out((*products, *wanted))}
    return Page(template="home.html", values=values)


async def suggestions(desk: Desk, request: Request) -> Answer:
    """Return what may be meant by what has been typed so far, as items of a list."""
    asked = request.query.get("q", "").strip()[:LONGEST_SEARCH]
    found = (await desk.clients.catalog.suggestions(asked)).items if asked else ()
    titles = {shelf.id: shelf.title for shelf in await desk.shelves()} if found else {}
    return Page(template="_suggestions.html", values={"found": found, "titles": titles}, part=True)


async def search(desk: Desk, request: Request) -> Answer:
    """Show what is found; with nothing typed, only the form."""
    asked = request.query.get("q", "").strip()
    if len(asked) > LONGEST_SEARCH:
        fault = f"Please search for at most {LONGEST_SEARCH} characters."
        return Page(template="search.html", values={"asked": asked, "found": None, "fault": fault}, status=422)
    values: dict[str, object] = {"asked": asked, "found": None, "fault": None}
    if asked:
        try:
            found = await desk.clients.catalog.products(asked, limit=PER_PAGE, cursor=_cursor(request))
        except BadCursorError:
            found = await desk.clients.catalog.products(asked, limit=PER_PAGE)
        values |= {"found": found, "sold_out": await desk.sold_out(found.items)}
        values["count"] = await _count(desk, asked, found, whole=_cursor(request) is None and not found.next_cursor)
    return Page(template="search.html", values=values)


async def category(desk: Desk, request: Request) -> Answer:
    """Show a shelf."""
    wanted = request.parts["category"]
    shelf = next((each for each in await desk.shelves() if each.id == wanted), None)
    if shelf is None:
        raise PageMissingError
    asked = request.query.get("order")
    order: Order | None = next((each for each in ORDERS if each == asked), None)
    try:
        found = await desk.clients.catalog.products(
            category=wanted, limit=PER_PAGE, cursor=_cursor(request), order=order
        )
    except BadCursorError:
        return Redirect(to=f"/c/{wanted}")
    values = {"shelf": shelf, "found": found, "sold_out": await desk.sold_out(found.items)}
    return Page(template="category.html", values={**values, "order": order, "orders": ORDERS})


async def product(desk: Desk, request: Request) -> Answer:
    """Show a product, how much of it there is, and what others bought with it."""
    sku = request.parts["sku"]
    clients = desk.clients
    try:
        shown = await clients.catalog.product(sku)
        others = await clients.catalog.recommendations(sku)
    except UnknownProductError as error:
        raise PageMissingError from error
    in_cart = 0
    if request.cart is not None and await desk.pieces(request):
        cart = await clients.carts.cart(request.cart)
        in_cart = next((line.quantity for line in cart.lines if line.sku == sku), 0)
    values = {"product": shown, "stock": await _stock(desk, sku), "others": others.items, "in_cart": in_cart}
    return Page(template="product.html", values={**values, "sold_out": await desk.sold_out(others.items)})


async def _count(desk: Desk, asked: str, found: ProductPage, *, whole: bool) -> str:
    """Return how many results there are, in figures. Empty: not known, as where most are only spelt alike."""
    if whole:
        return str(len(found.items))
    with suppress(ArchstoneError):  # the page goes without
        counted = await desk.clients.catalog.count(asked)
        if counted.found > PER_PAGE:
            return f"{counted.found:,}{'+' if counted.more else ''}"
    return ""


async def _goes_with(desk: Desk, request: Request) -> tuple[Product, ...]:
    """Return what others bought with what the visitor has in the cart, or has ordered last."""
    if request.cart is None:
        return ()
    with suppress(ArchstoneError):  # the front page goes without
        lines = (await desk.clients.carts.cart(request.cart)).lines if await desk.pieces(request) else ()
        chosen = [line.sku for line in lines]
        if not chosen and request.visitor is not None:
            latest = (await desk.clients.orders.orders_of(request.principal.id, limit=1)).items
            chosen = [line.sku for each in latest for line in (await desk.clients.orders.order(each.id)).lines]
        if chosen:
            return (await desk.clients.catalog.recommendations(chosen[-1])).items
    return ()


async def _stock(desk: Desk, sku: str) -> Stock | None:
    try:
        return await desk.clients.inventory.stock(sku)
    except UnknownStockError:
        return None


def _cursor(request: Request) -> str | None:
    cursor = request.query.get("cursor", "")
    return cursor[:LONGEST_CURSOR] or None
