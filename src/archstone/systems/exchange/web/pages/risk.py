"""The risk console: everybody's exposure, limits, halts, and the kill switches."""

from typing import Any, Final, cast

from archstone.services import RequestInvalidError
from archstone.systems.exchange.desk.risk import PhaseRefusedError
from archstone.systems.exchange.desk.words import PHASES
from archstone.systems.exchange.matching import MOVES
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Redirect, Request
from archstone.systems.exchange.web.pages.markets import quote

__all__ = ["account", "enter", "kill", "kill_all", "set_limit", "show"]

VERBS: Final = {"halted": "Halt", "auction": "Auction", "continuous": "Trade", "closed": "Close"}
_SHOWN: Final = 50


async def show(hall: Hall, request: Request) -> Answer:
    """Show instruments and accounts."""
    found = await hall.clients.risk.accounts(_SHOWN)
    quotes = [quote(hall, each) for each in (await hall.clients.market.instruments()).items]
    moves = {phase: [(to, VERBS[to]) for to in VERBS if PHASES[to] in MOVES[PHASES[phase]]] for phase in PHASES}
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
    number, to = _account(request), request.form.get("to", "").replace(",", "").strip()
    told = "limit"
    try:
        if not to.isascii() or not to.isdigit():
            told = "no-number"
        else:
            await hall.clients.risk.set_limit(
                number, cast("Any", request.form.get("limit", "")), int(to), request.form.get("reason", "")
            )
    except RequestInvalidError:
        told = "no-number"
    return Redirect(to=f"/risk/accounts/{number}?told={told}")


async def kill(hall: Hall, request: Request) -> Answer:
    """Turn the kill switch of an account."""
    number, on = _account(request), request.form.get("on") == "yes"
    await hall.clients.risk.kill(number, on, request.form.get("reason", "")[:200])
    return Redirect(to=f"/risk/accounts/{number}?told={'killed' if on else 'released'}")


async def kill_all(hall: Hall, request: Request) -> Answer:
    """Turn the kill switch of everybody."""
    on = request.form.get("on") == "yes"
    await hall.clients.risk.kill_all(on, request.form.get("reason", "")[:200])
    return Redirect(to=f"/risk?told={'all-killed' if on else 'all-released'}")


async def enter(hall: Hall, request: Request) -> Answer:
    """Have an instrument enter another phase."""
    form = request.form
    try:
        await hall.clients.risk.enter(form.get("symbol", ""), cast("Any", form.get("phase", "")), "")
    except (PhaseRefusedError, RequestInvalidError):
        return Redirect(to="/risk?told=no-move")
    return Redirect(to="/risk?told=moved")


def _account(request: Request) -> int:
    return min(int(request.parts["account"]), 2**32 - 1)


def _may(request: Request) -> dict[str, bool]:
    return {"may": request.visitor is not None and request.visitor.role == "admin"}
