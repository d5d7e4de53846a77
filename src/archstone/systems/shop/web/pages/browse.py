"""Looking around: the front page, search, shelves and products."""

from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.inventory.contract import Stock, UnknownStockError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request

__all__ = ["category", "home", "product", "search"]

FEATURED = 12
PER_PAGE = 24
LONGEST_SEARCH = 100
LONGEST_CURSOR = 500


async def home(desk: Desk, request: Request) -> Answer:
    """Show the shelves and what stands first on them."""
    del request
    featured = await desk.clients.catalog.products(limit=FEATURED)
    return Page(template="home.html", values={"products": featured.items})


async def search(desk: Desk, request: Request) -> Answer:
    """Show what is found; with nothing typed, only the form."""
    asked = request.query.get("q", "").strip()
    if len(asked) > LONGEST_SEARCH:
        fault = f"Please search for at most {LONGEST_SEARCH} characters."
        return Page(template="search.html", values={"asked": asked, "found": None, "fault": fault}, status=422)
    found = None
    if asked:
        try:
            found = await desk.clients.catalog.products(asked, limit=PER_PAGE, cursor=_cursor(request))
        except BadCursorError:
            found = await desk.clients.catalog.products(asked, limit=PER_PAGE)
    return Page(template="search.html", values={"asked": asked, "found": found, "fault": None})


async def category(desk: Desk, request: Request) -> Answer:
    """Show a shelf."""
    wanted = request.parts["category"]
    shelf = next((each for each in await desk.shelves() if each.id == wanted), None)
    if shelf is None:
        raise PageMissingError
    try:
        found = await desk.clients.catalog.products(category=wanted, limit=PER_PAGE, cursor=_cursor(request))
    except BadCursorError:
        return Redirect(to=f"/c/{wanted}")
    return Page(template="category.html", values={"shelf": shelf, "found": found})


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
    return Page(template="product.html", values=values)


async def _stock(desk: Desk, sku: str) -> Stock | None:
    try:
        return await desk.clients.inventory.stock(sku)
    except UnknownStockError:
        return None


def _cursor(request: Request) -> str | None:
    cursor = request.query.get("cursor", "")
    return cursor[:LONGEST_CURSOR] or None
