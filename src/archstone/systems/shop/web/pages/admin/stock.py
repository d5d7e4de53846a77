"""Stock: what is low, what has arrived, and corrections with who made them and why."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from archstone.errors import DomainError
from archstone.services import KeyReusedError, options
from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.inventory.administration import (
    MAX_PIECES,
    CorrectionUnclearError,
    HeldStockError,
    StockPage,
    StockRow,
)
from archstone.systems.shop.inventory.contract import Stock, UnknownStockError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.forms import Filled, shown_again
from archstone.systems.shop.web.pages.admin.forms import ArrivalForm, CorrectionForm, read_keyed
from archstone.systems.shop.web.pages.admin.frame import (
    cursor_of,
    framed,
    is_sure,
    new_key,
    page_or_first,
    sure,
    written_down,
)

__all__ = ["arrive", "correct", "product", "stocks"]

PER_PAGE: Final = 50
LONGEST_SEARCH: Final = 100
_HERE: Final = "/admin/stock"
_SKU: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{2,19}")
_NUMBER: Final = re.compile(r"[0-9]{1,7}")
_UNCLEAR: Final = "Please enter a difference that is not 0, or the number of pieces counted, at least 0."
_USED: Final = "This form has been used already. Please look at the corrections below before you make another."


async def stocks(desk: Desk, request: Request) -> Answer:
    """List the stock, or only what is low or has such a name, or go to one product."""
    asked, low = request.query.get("sku", "").strip()[:LONGEST_SEARCH], request.query.get("low", "").strip()
    if _SKU.fullmatch(asked.upper()) and await _books(desk, asked.upper()):
        return Redirect(to=f"{_HERE}/{asked.upper()}")
    most = min(int(low), MAX_PIECES) if _NUMBER.fullmatch(low) else None
    try:
        if asked:
            page = await _called(desk, asked, most, cursor_of(request))
        else:
            page = await desk.clients.stock.stocks(most, limit=PER_PAGE, cursor=cursor_of(request))
    except BadCursorError:
        return Redirect(to=_HERE)
    names = await _names(desk, [each.sku for each in page.items])
    return framed(request, "stocks", {"page": page, "names": names, "low": most, "sku": asked})


async def product(desk: Desk, request: Request) -> Answer:
    """Show the stock of a product, and every correction."""
    return await _shown(desk, request, Filled({"key": new_key(), "how": "counted"}))


async def correct(desk: Desk, request: Request) -> Answer:
    """Put the books right. If there is less afterwards, ask first."""
    sku, found = request.parts["sku"], read_keyed(CorrectionForm, request)
    again = Filled({**shown_again(request.form), "key": new_key()})
    if isinstance(found, Filled):
        return await _shown(desk, request, Filled(again.typed, found.faults), status=422)
    form, key = found
    if form.how == "counted" and form.number < 0:
        return await _shown(desk, request, again.with_fault("number", _UNCLEAR), status=422)
    stock = await _stock(desk, request)
    counted, delta = (form.number, None) if form.how == "counted" else (None, form.number)
    change = form.number - stock.free - stock.held if form.how == "counted" else form.number
    if change < 0 and not is_sure(request):
        return sure(
            request, title=f"Take {-change} pieces of {sku} out of the books?", label="Correct the stock",
            text=f"{stock.free} are free now. The correction is kept with your name and your reason: {form.reason}",
            back=f"{_HERE}/{sku}",
        )  # fmt: skip
    try:
        made = await options(desk.clients.stock, key=f"pages-{key}").correct(sku, form.reason, delta, counted)
    except (DomainError, KeyReusedError) as error:
        return await _refused(desk, request, again, error)
    written_down(request, "correct stock", sku=sku, delta=made.correction.delta, reason=form.reason)
    return Redirect(to=f"{_HERE}/{sku}?told=corrected")


async def arrive(desk: Desk, request: Request) -> Answer:
    """Book goods that have arrived."""
    sku, found = request.parts["sku"], read_keyed(ArrivalForm, request)
    again = Filled({**shown_again(request.form), "key": new_key(), "how": "counted"})
    if isinstance(found, Filled):
        return await _shown(desk, request, Filled(again.typed, found.faults), status=422)
    form, key = found
    try:
        await options(desk.clients.inventory, key=f"pages-{key}").restock(sku, form.quantity)
    except UnknownStockError as error:
        raise PageMissingError from error
    except KeyReusedError:
        return await _shown(desk, request, again.with_fault("", _USED), status=409)
    written_down(request, "goods arrived", sku=sku, quantity=form.quantity)
    return Redirect(to=f"{_HERE}/{sku}?told=arrived")


async def _refused(desk: Desk, request: Request, again: Filled, error: DomainError | KeyReusedError) -> Page:
    """Show the form again, with why nothing was corrected."""
    if isinstance(error, CorrectionUnclearError):
        return await _shown(desk, request, again.with_fault("number", _UNCLEAR), status=422)
    if isinstance(error, HeldStockError):
        return await _shown(desk, request, again.with_fault("number", f"{error}."), status=409)
    told = _USED if isinstance(error, KeyReusedError) else f"{error}."
    return await _shown(desk, request, again.with_fault("", told), status=409)


async def _stock(desk: Desk, request: Request) -> Stock:
    try:
        return await desk.clients.inventory.stock(request.parts["sku"])
    except UnknownStockError as error:
        raise PageMissingError from error


async def _called(desk: Desk, name: str, low: int | None, cursor: str | None) -> StockPage:
    """Return the stock of products that a search by name finds, of which at most `low` are free. None: all."""
    found = await desk.clients.catalog.products(name, limit=PER_PAGE, cursor=cursor)
    rows = [await _books(desk, each.sku) for each in found.items]
    items = tuple(row for row in rows if row is not None and (low is None or row.free <= low))
    return StockPage(items=items, next_cursor=found.next_cursor)


async def _books(desk: Desk, sku: str) -> StockRow | None:
    try:
        return await desk.clients.stock.books(sku)
    except UnknownStockError:
        return None


async def _names(desk: Desk, skus: Sequence[str]) -> dict[str, str]:
    """Return the names of those products that are for sale."""
    names: dict[str, str] = {}
    for sku in skus:
        with suppress(UnknownProductError):
            names[sku] = (await desk.clients.catalog.product(sku)).name
    return names


async def _shown(desk: Desk, request: Request, filled: Filled, *, status: int = 200) -> Page:
    sku = request.parts["sku"]
    stock = await _stock(desk, request)
    corrections = desk.clients.stock.corrections
    audit = await page_or_first(request, lambda cursor: corrections(sku, limit=PER_PAGE, cursor=cursor))
    try:
        name = (await desk.clients.catalog.product(sku)).name
    except UnknownProductError:
        name = "Not for sale any more"
    values = {"stock": stock, "audit": audit, "name": name, "filled": filled}
    return framed(request, "stock", values, status=status)
