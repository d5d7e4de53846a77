"""Orders: finding any, one with everything that ever happened to it, giving money back, cancelling."""

from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from archstone import world
from archstone.errors import DomainError
from archstone.services import KeyReusedError, options
from archstone.systems.shop.orders.administration import OrderDossier, OrderState, RefundNotFailedError
from archstone.systems.shop.orders.contract import CannotCancelError, OrderUnknownError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.values import Money
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.forms import Filled, shown_again
from archstone.systems.shop.web.money import written
from archstone.systems.shop.web.pages.admin.amounts import minor_units
from archstone.systems.shop.web.pages.admin.forms import RefundForm, read_keyed
from archstone.systems.shop.web.pages.admin.frame import (
    cursor_of,
    framed,
    is_sure,
    new_key,
    sure,
    with_query,
    written_down,
)
from archstone.systems.shop.web.pages.admin.happenings import happenings
from archstone.systems.shop.web.words import refund_words

__all__ = ["cancel", "order", "orders", "refund", "retry_refund"]

PER_PAGE: Final = 50
_HERE: Final = "/admin/orders"
_FILTERS: Final = {"q": 100, "state": 20, "customer": 254, "since": 10, "until": 10}
"""Filters, with the longest text of each."""
_STATES: Final = get_args(OrderState)
_NO_AMOUNT: Final = "Please enter an amount such as 12.50, or nothing for all that is left."
_USED: Final = "This form has been used already. Please look at what happened below before you give back more."


async def orders(desk: Desk, request: Request) -> Answer:
    """List orders, newest first, that fit the filters. A filter that makes no sense is left out."""
    typed = {name: request.query.get(name, "").strip()[:longest] for name, longest in _FILTERS.items()}
    since, until = _day(typed["since"]), _day(typed["until"])
    state = next((each for each in _STATES if each == typed["state"]), None)
    try:
        page = await desk.clients.order_admin.orders(
            state=state, customer=typed["customer"] or None, since=since,
            until=None if until is None else until + timedelta(days=1), search=typed["q"] or None, limit=PER_PAGE,
            cursor=cursor_of(request),
        )  # fmt: skip
    except BadCursorError:
        return Redirect(to=with_query(_HERE, typed))
    values = {"page": page, "typed": typed, "states": _STATES, "address": with_query(_HERE, typed)}
    return framed(request, "orders", values)


async def order(desk: Desk, request: Request) -> Answer:
    """Show an order, with everything that ever happened to it."""
    return await _shown(desk, request, Filled({"key": new_key()}))


async def refund(desk: Desk, request: Request) -> Answer:
    """Give money back, after a question."""
    order_id, found = request.parts["order"], read_keyed(RefundForm, request)
    again = Filled({**shown_again(request.form), "key": new_key()})
    if isinstance(found, Filled):
        return await _shown(desk, request, Filled(again.typed, found.faults), status=422)
    form, key = found
    left = (await _dossier(desk, request)).refundable
    wanted = minor_units(form.amount, left.currency) if form.amount else left.amount
    if wanted is None:
        return await _shown(desk, request, again.with_fault("amount", _NO_AMOUNT), status=422)
    if not is_sure(request):
        amount = written(Money(amount=wanted, currency=left.currency), request.locale)
        return sure(
            request, title=f"Give {amount} back to the customer?", label=f"Give back {amount}",
            text=f"The customer gets a mail with your reason: {form.reason}. This cannot be taken back.",
            back=f"{_HERE}/{order_id}",
        )  # fmt: skip
    asked = wanted if form.amount else None
    try:
        made = await options(desk.clients.order_admin, key=f"pages-{key}").refund(order_id, form.reason, asked)
    except (DomainError, KeyReusedError) as error:
        told = _USED if isinstance(error, KeyReusedError) else f"{error}."
        return await _shown(desk, request, again.with_fault("", told), status=409)
    written_down(request, "refund", order=order_id, refund=made.id, amount=str(made.amount), reason=form.reason)
    return Redirect(to=f"{_HERE}/{order_id}?told=refunding")


async def retry_refund(desk: Desk, request: Request) -> Answer:
    """Have the bank asked again about a refund that failed."""
    order_id, refund_id = request.parts["order"], request.parts["refund"]
    try:
        await desk.clients.order_admin.retry_refund(order_id, refund_id)
    except OrderUnknownError as error:
        raise PageMissingError from error
    except RefundNotFailedError:
        return Redirect(to=f"{_HERE}/{order_id}")
    written_down(request, "retry refund", order=order_id, refund=refund_id)
    return Redirect(to=f"{_HERE}/{order_id}?told=refunding")


async def cancel(desk: Desk, request: Request) -> Answer:
    """Have an order cancelled, after a question."""
    order_id = request.parts["order"]
    if not is_sure(request):
        return sure(
            request, title="Cancel this order?", label="Cancel the order", back=f"{_HERE}/{order_id}",
            text="The customer gets all money back and a mail, and the goods go back on the shelf.",
        )  # fmt: skip
    try:
        await desk.clients.orders.cancel(order_id)
    except CannotCancelError:
        return Redirect(to=f"{_HERE}/{order_id}?told=too-late")
    except OrderUnknownError as error:
        raise PageMissingError from error
    written_down(request, "cancel order", order=order_id)
    return Redirect(to=f"{_HERE}/{order_id}?told=cancelling")


async def _dossier(desk: Desk, request: Request) -> OrderDossier:
    try:
        return await desk.clients.order_admin.dossier(request.parts["order"])
    except OrderUnknownError as error:
        raise PageMissingError from error


async def _shown(desk: Desk, request: Request, filled: Filled, *, status: int = 200) -> Page:
    dossier = await _dossier(desk, request)
    story = None if desk.console is None else await desk.console.story(dossier.order.id)
    told = happenings(dossier, story, request.locale)
    given_back = [(each, refund_words(each, now=world.now())) for each in dossier.order.refunds]
    values = {"dossier": dossier, "happenings": told, "filled": filled, "given_back": given_back}
    return framed(request, "order", values, status=status)


def _day(text: str) -> datetime | None:
    """Return the beginning of a day, UTC. None: it is no day."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
