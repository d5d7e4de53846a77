"""The risk console: everybody's exposure, limits, halts, and the kill switches."""

from typing import Final

from archstone.systems.exchange.desk.risk import PhaseRefusedError
from archstone.systems.exchange.desk.words import PHASES
from archstone.systems.exchange.matching import MOVES
from archstone.systems.exchange.web.asking import Answer, FormError, Hall, Page, Redirect, Request
from archstone.systems.exchange.web.forms import KillForm, LimitForm, PhaseForm, checked
from archstone.systems.exchange.web.pages.markets import quote

__all__ = ["account", "enter", "kill", "kill_all", "set_limit", "show"]

VERBS: Final = {"halted": "Halt", "auction": "Auction", "continuous": "Trade", "closed": "Close"}
_SHOWN: Final = 50


async def show(hall: Hall, request: Request) -> Answer:
    """Show instruments and accounts."""
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
        "instruments": hall.instruments,
        **_may(request),
    }
    return Page(template="risk_account.html", values=values)


async def set_limit(hall: Hall, request: Request) -> Answer:
    """Bind an account to another limit."""
    number = _account(request)
    form = checked(LimitForm, {**request.form, "to": request.form.get("to", "").replace(",", "")})
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
    return Redirect(to="/risk?told=moved")


def _switch(request: Request) -> KillForm:
    form = checked(KillForm, request.form)
    if form is None:
        raise FormError(422)
    return form


def _account(request: Request) -> int:
    return min(int(request.parts["account"]), 2**32 - 1)


def _may(request: Request) -> dict[str, bool]:
    return {"may": request.visitor is not None and request.visitor.role == "admin"}
