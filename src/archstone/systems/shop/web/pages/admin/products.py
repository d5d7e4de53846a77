"""Products: finding them, new ones, editing without overwriting what others changed, taking off the shelf."""

from typing import Final

from archstone.errors import ConflictError, DomainError
from archstone.services import KeyReusedError, options
from archstone.systems.shop.catalog.administration import (
    Price,
    ProductEdition,
    ProductExistsError,
    ProductMovedOnError,
    UnknownCategoryError,
)
from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.forms import Filled, shown_again
from archstone.systems.shop.web.pages.admin.amounts import minor_units, typed
from archstone.systems.shop.web.pages.admin.forms import NewProductForm, ProductForm, RetireForm, read, read_keyed
from archstone.systems.shop.web.pages.admin.frame import (
    cursor_of,
    framed,
    is_sure,
    new_key,
    page_or_first,
    sure,
    with_query,
    written_down,
)

__all__ = ["create", "new", "product", "products", "restore", "retire", "update"]

PER_PAGE: Final = 50
LONGEST_SEARCH: Final = 100
_HERE: Final = "/admin/products"
_NO_PRICE: Final = "Please enter a price such as 12.50."
_EMPTY: Final = {
    "sku": "",
    "name": "",
    "category": "",
    "price": "",
    "currency": "EUR",
    "description": "",
    "pieces": "0",
}


async def products(desk: Desk, request: Request) -> Answer:
    """List what is for sale, or found, or retired."""
    search, retired = request.query.get("q", "").strip()[:LONGEST_SEARCH], request.query.get("shelf") == "retired"
    address = with_query(_HERE, {"shelf": "retired"} if retired else {"q": search})
    cursor, admin = cursor_of(request), desk.clients.products
    try:
        if retired:
            page = await admin.retired(limit=PER_PAGE, cursor=cursor)
            found, more = tuple(each.product for each in page.items), page.next_cursor
        else:
            shelf = await desk.clients.catalog.products(search or None, limit=PER_PAGE, cursor=cursor)
            found, more = shelf.items, shelf.next_cursor
    except BadCursorError:
        return Redirect(to=address)
    values = {"found": found, "next_cursor": more, "search": search, "retired": retired, "address": address}
    return framed(request, "products", values)


async def new(desk: Desk, request: Request) -> Answer:
    """Ask for what a new product needs."""
    return await _new(desk, request, Filled({**_EMPTY, "key": new_key()}))


async def create(desk: Desk, request: Request) -> Answer:
    """Put a new product on the shelf."""
    found = read_keyed(NewProductForm, request)
    again = Filled({**_EMPTY, **shown_again(request.form), "key": new_key()})
    if isinstance(found, Filled):
        return await _new(desk, request, Filled(again.typed, found.faults), status=422)
    form, key = found
    amount = minor_units(form.price, form.currency)
    if amount is None:
        return await _new(desk, request, again.with_fault("price", _NO_PRICE), status=422)
    price = Price(amount=amount, currency=form.currency)
    try:
        await options(desk.clients.products, key=f"pages-{key}").create(
            form.sku, form.name, form.category, price, form.text, pieces=form.pieces
        )
    except (DomainError, ConflictError, KeyReusedError) as error:
        return await _new(desk, request, again.with_fault(*_why(error)), status=409)
    written_down(request, "create product", sku=form.sku)
    return Redirect(to=f"{_HERE}/{form.sku}?told=created")


async def product(desk: Desk, request: Request) -> Answer:
    """Show a product to be edited, and who edited it."""
    edition = await _edition(desk, request)
    return await _shown(desk, request, edition, Filled(_typed(edition)))


async def update(desk: Desk, request: Request) -> Answer:
    """Change a product, unless somebody has changed it since it was read."""
    sku, form = request.parts["sku"], read(ProductForm, request.form)
    edition = await _edition(desk, request)
    again = Filled({**_typed(edition), **shown_again(request.form)})
    if isinstance(form, Filled):
        return await _shown(desk, request, edition, Filled(again.typed, form.faults), status=422)
    amount = minor_units(form.price, form.currency)
    if amount is None:
        return await _shown(desk, request, edition, again.with_fault("price", _NO_PRICE), status=422)
    price = Price(amount=amount, currency=form.currency)
    try:
        await desk.clients.products.update(sku, form.version, form.name, form.category, price, form.text)
    except ProductMovedOnError as error:
        return await _moved_on(desk, request, error.current, again)
    except (DomainError, ConflictError) as error:
        return await _shown(desk, request, edition, again.with_fault(*_why(error)), status=409)
    written_down(request, "update product", sku=sku)
    return Redirect(to=f"{_HERE}/{sku}?told=changed")


async def retire(desk: Desk, request: Request) -> Answer:
    """Take a product off the shelf, after a question."""
    if not is_sure(request):
        sku = request.parts["sku"]
        return sure(
            request, title=f"Take {sku} off the shelf?", label="Take it off the shelf", back=f"{_HERE}/{sku}",
            text="Nobody finds or buys it any more, and carts show it as gone. It can be put back.",
        )  # fmt: skip
    return await _retired(desk, request, retired=True)


async def restore(desk: Desk, request: Request) -> Answer:
    """Put a product back on the shelf."""
    return await _retired(desk, request, retired=False)


async def _retired(desk: Desk, request: Request, *, retired: bool) -> Answer:
    sku, form = request.parts["sku"], read(RetireForm, request.form)
    edition = await _edition(desk, request)
    if isinstance(form, Filled):
        return Redirect(to=f"{_HERE}/{sku}?told=broken")
    try:
        await desk.clients.products.retire(sku, form.version, retired)
    except ProductMovedOnError as error:
        return await _moved_on(desk, request, error.current, Filled(_typed(error.current)))
    except (DomainError, ConflictError) as error:
        return await _shown(desk, request, edition, Filled(_typed(edition)).with_fault(*_why(error)), status=409)
    written_down(request, "retire product" if retired else "restore product", sku=sku)
    return Redirect(to=f"{_HERE}/{sku}?told={'retired' if retired else 'restored'}")


async def _edition(desk: Desk, request: Request) -> ProductEdition:
    try:
        return await desk.clients.products.edition(request.parts["sku"])
    except UnknownProductError as error:
        raise PageMissingError from error


async def _moved_on(desk: Desk, request: Request, current: ProductEdition, again: Filled) -> Page:
    """Show what was typed beside the product as it is now; sent once more, it is taken."""
    told = "Somebody has changed this product meanwhile: see below. Nothing of yours is saved yet; send it to save it."
    filled = Filled({**again.typed, "version": str(current.version)}, {"": told})
    return await _shown(desk, request, current, filled, status=409)


async def _new(desk: Desk, request: Request, filled: Filled, *, status: int = 200) -> Page:
    values = {"filled": filled, "categories": await desk.shelves()}
    return framed(request, "product_new", values, status=status)


async def _shown(desk: Desk, request: Request, edition: ProductEdition, filled: Filled, *, status: int = 200) -> Page:
    sku = edition.product.sku
    of_product = desk.clients.products.product_changes
    changes = await page_or_first(request, lambda cursor: of_product(sku, limit=PER_PAGE, cursor=cursor))
    shelves, category = await desk.shelves(), edition.product.category
    values = {
        "edition": edition, "changes": changes, "filled": filled, "categories": shelves,
        "shelf": next((each.title for each in shelves if each.id == category), category),
    }  # fmt: skip
    return framed(request, "product", values, status=status)


def _typed(edition: ProductEdition) -> dict[str, str]:
    """Return a product as its form carries it."""
    product = edition.product
    return {
        "name": product.name, "category": product.category, "price": typed(product.price),
        "currency": product.price.currency, "description": product.description, "version": str(edition.version),
    }  # fmt: skip


def _why(error: Exception) -> tuple[str, str]:
    """Return the field that a refusal is about, and the words for it."""
    if isinstance(error, ProductExistsError):
        return "sku", "There is a product with this number already, for sale or retired."
    if isinstance(error, UnknownCategoryError):
        return "category", "There is no such shelf any more. Please choose another."
    if isinstance(error, KeyReusedError):
        return "", "This form has been used already. Please look at the product before you make another."
    return "", f"{error}."
