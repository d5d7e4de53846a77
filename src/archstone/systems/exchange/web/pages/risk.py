"""The risk console: everybody's exposure, limits, halts, and the kill switches."""

from typing import Final

from archstone.systems.exchange.desk.risk import PhaseRefusedError
from archstone.systems.exchange.desk.words import PHASES
from archstone.systems.exchange.matching import MOVES
from archstone.systems.exchange.web.asking import Answer, FormError, Hall, Page, Redirect, Request
from archstone.systems.exchange.web.forms import KillForm, LimitForm, PhaseForm, checked
from archstone.systems.exchange.web.pages.markets import quote

__all__ = ["account", "enter", "kill", "kill_all", "set_limit", "show"]

MONEY: Final = ("credit", "value")
"""Limits that are amounts of money: shown, and written, as `1,000.00`."""
UNITS: Final = {
    "credit": "money that may be missing", "quantity": "lots of an order", "value": "money that an order is worth",
    "position": "lots held or owed, with what is open", "rate": "orders in a second", "orders": "open orders",
}  # fmt: skip
VERBS: Final = {"halted": "Halt", "auction": "Auction", "continuous": "Trade", "closed": "Close"}
_SHOWN: Final = 50
_CENT_DIGITS: Final = 2


async def show(hall: Hall, request: Request) -> Answer:
    """Show instruments and accounts."""
    if (wanted := request.query.get("account", "").strip()) and wanted.isascii() and wanted.isdigit():
        return Redirect(to=f"/risk/accounts/{min(int(wanted), 2**32 - 1) or 1}")
    found = await hall.clients.risk.accounts(_SHOWN)
    quotes = [quote(hall, each) for each in (await hall.clients.market.instruments()).items]
    moves = {phase: [(to, VERBS[to]) for to in VERBS if PHASES[to] in MOVES[PHASES[phase]]] for phase in PHASES}
    moves["halted"].append(("halted", "Hold"))  # the breaker does not reopen it then
    return Page(template="risk.html", values={"found": found, "quotes": quotes, "moves": moves, **_may(request)})


async def account(hall: Hall, request: Request) -> Answer:
    """Show one account with its orders."""
    number = _account(request)
    found = await hall.clients.risk.account(number)
    orders = (await hall.clients.risk.account_orders(number)).items
    values = {
        "found": found,
        "orders": orders,
        "limits": found.limits.model_dump(),
        "money_limits": MONEY,
        "units": UNITS,
        "instruments": hall.instruments,
        **_may(request),
    }
    return Page(template="risk_account.html", values=values)


async def set_limit(hall: Hall, request: Request) -> Answer:
    """Bind an account to another limit."""
    number = _account(request)
    to = request.form.get("to", "").replace(",", "").strip()
    form = checked(LimitForm, {**request.form, "to": _cents(to) if request.form.get("limit") in MONEY else to})
    if form is None:
        return Redirect(to=f"/risk/accounts/{number}?told=no-number")
    await hall.clients.risk.set_limit(number, form.limit, form.to, form.reason)
    return Redirect(to=f"/risk/accounts/{number}?told=limit")


async def kill(hall: Hall, request: Request) -> Answer:
    """Turn the kill switch of an account."""
    number, form = _account(request), _switch(request)
    await hall.clients.risk.kill(number, form.on, form.reason)
    return Redirect(to=f"/risk/accounts/{number}?told={'killed' if form.on else 'released'}")


async def kill_all(hall: Hall, request: Request) -> Answer:
    """Turn the kill switch of everybody."""
    form = _switch(request)
    await hall.clients.risk.kill_all(form.on, form.reason)
    return Redirect(to=f"/risk?told={'all-killed' if form.on else 'all-released'}")


async def enter(hall: Hall, request: Request) -> Answer:
    """Have an instrument enter another phase."""
    form = checked(PhaseForm, request.form)
    if form is None:
        raise FormError(422)
    try:
        await hall.clients.risk.enter(form.symbol, form.phase)
    except PhaseRefusedError:
        return Redirect(to="/risk?told=no-move")
    return Redirect(to=f"/risk?told={form.phase}")


def _cents(amount: str) -> str:
    """Return an amount such as `1000.00` in cents, as digits; what is none stays as it is, to be refused."""
    whole, _, rest = amount.partition(".")
    digits = f"{whole}{rest:0<2}"
    return digits if whole and digits.isascii() and digits.isdigit() and len(rest) <= _CENT_DIGITS else amount


def _switch(request: Request) -> KillForm:
    form = checked(KillForm, request.form)
    if form is None:
        raise FormError(422)
    return form


def _account(request: Request) -> int:
    return min(int(request.parts["account"]), 2**32 - 1)


def _may(request: Request) -> dict[str, bool]:
    return {"may": request.visitor is not None and request.visitor.role == "admin"}
