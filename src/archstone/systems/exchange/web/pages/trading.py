"""The trading page of one instrument: all of it without a script too, and live with one."""

import json
from typing import Final, Literal, cast

from pydantic import ValidationError

from archstone.systems.exchange.desk.contract import (
    Depth,
    NewOrder,
    OrderRefusedError,
    Portfolio,
    UnknownInstrumentError,
    UnknownOrderError,
)
from archstone.systems.exchange.desk.words import REASONS, said
from archstone.systems.exchange.instruments import Instrument
from archstone.systems.exchange.matching import Reason
from archstone.systems.exchange.web.asking import Answer, FormError, Hall, Page, PageMissingError, Redirect, Request
from archstone.systems.exchange.web.forms import CancelForm, checked
from archstone.systems.exchange.web.pages.markets import quote

__all__ = ["cancel", "cancel_all", "place", "show"]

LEVELS: Final = 12
TAPE: Final = 30
MOST_DIGITS: Final = 9
"""Of lots."""
ENDED: Final = json.dumps({said(Reason, reason): text for reason, text in REASONS.items()})
"""Why orders end, for the script: words for the reasons."""
_NOBODY: Final = Portfolio(
    account=0, cash=0, paid_in=0, fees=0, worth=0, profit=0, reserved=0, available=0, exposure=0, killed=False,
    positions=(),
)  # fmt: skip


async def show(hall: Hall, request: Request) -> Answer:
    """Show the page."""
    return await _page(hall, request)


async def place(hall: Hall, request: Request) -> Answer:
    """Place what was typed into the ticket."""
    about = _about(hall, request)
    try:
        new = _typed(about, request)
        await hall.clients.trading.place(new)
    except ValidationError as error:
        return await _page(hall, request, fault=f"{error.errors()[0]['loc'][-1]}: {error.errors()[0]['msg']}")
    except ValueError as error:
        return await _page(hall, request, fault=str(error))
    except OrderRefusedError as error:
        return await _page(hall, request, fault=f"Refused: {error.text}.")
    return Redirect(to=f"/trade/{about.symbol}?told=placed")


async def cancel(hall: Hall, request: Request) -> Answer:
    """Cancel one order."""
    about = _about(hall, request)
    form = checked(CancelForm, request.form)
    if form is None:
        raise FormError(422)
    try:
        await hall.clients.trading.cancel(form.number)
    except (OrderRefusedError, UnknownOrderError):
        return Redirect(to=f"/trade/{about.symbol}?told=ended")
    return Redirect(to=f"/trade/{about.symbol}?told=canceled")


async def cancel_all(hall: Hall, request: Request) -> Answer:
    """Cancel all orders, of every instrument."""
    about = _about(hall, request)
    await hall.clients.trading.cancel_all()
    return Redirect(to=f"/trade/{about.symbol}?told=all-canceled")


def _about(hall: Hall, request: Request) -> Instrument:
    found = hall.instruments.named(request.parts["symbol"])
    if found is None:
        raise PageMissingError
    return found


def _typed(about: Instrument, request: Request) -> NewOrder:
    """Return the order of the ticket. ValueError: something in it is wrong."""
    form = request.form
    kind = form.get("kind", "limit")
    limited, stop = kind in {"limit", "stop-limit"}, kind in {"stop", "stop-limit"}
    quantity = form.get("quantity", "").strip().replace(",", "")
    if not (quantity.isascii() and quantity.isdigit() and len(quantity) <= MOST_DIGITS and int(quantity)):
        raise ValueError("Lots: write a whole number of lots, at least 1.")
    return NewOrder(
        symbol=about.symbol,
        side=cast("Literal['buy', 'sell']", form.get("side", "")),
        quantity=int(quantity),
        price=_price(about, "Limit price", form.get("price", "")) if limited else None,
        trigger=_price(about, "Trigger price", form.get("trigger", "")) if stop else None,
        tif=cast("Literal['gtc', 'day', 'ioc', 'fok']", form.get("tif") or None) if limited else None,
        post_only=form.get("post_only") == "on" and limited and not stop,
    )


def _price(about: Instrument, called: str, text: str) -> int:
    """Return a typed price in ticks. ValueError: it is none; the text says in which field."""
    try:
        return about.ticks(text)
    except ValueError as error:
        raise ValueError(f"{called}: {error}.") from error


async def _page(hall: Hall, request: Request, *, fault: str = "") -> Page:
    about, market = _about(hall, request), hall.clients.market
    try:
        depth = await market.depth(about.symbol, LEVELS)
    except UnknownInstrumentError as error:
        raise PageMissingError from error
    found = await market.instruments()
    shown = next(each for each in found.items if each.symbol == about.symbol)
    mine, orders = _NOBODY, ()
    if request.visitor is not None:
        mine = await hall.clients.trading.portfolio()
        orders = (await hall.clients.trading.orders()).items
    values = {
        "about": about, "quote": quote(hall, shown), "quotes": [quote(hall, each) for each in found.items],
        "asks": _rows(depth, "asks"), "bids": _rows(depth, "bids"), "depth": depth,
        "tape": (await market.trades(about.symbol, TAPE)).items, "tape_rows": TAPE, "mine": mine, "orders": orders,
        "fault": fault, "form": request.form, "instruments": hall.instruments, "fee_ppm": max(0, hall.fees.taker_ppm),
        "reasons": ENDED,
    }  # fmt: skip
    return Page(template="trade.html", values=values, status=422 if fault else 200)


def _rows(depth: Depth, side: str) -> list[tuple[int, int, int] | None]:
    """Return a side of the book with what has gathered up to each price; None where there is no more."""
    rows: list[tuple[int, int, int] | None] = []
    total = 0
    for level in depth.asks if side == "asks" else depth.bids:
        total += level.lots
        rows.append((level.price, level.lots, total))
    return [*rows, *[None] * (LEVELS - len(rows))]
