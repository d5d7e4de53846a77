"""The bank: how the line to it is, and turning the embedded one bad, to see what the shop makes of it."""

from typing import Final

from archstone.systems.shop.payments.conduct import Mode
from archstone.systems.shop.payments.drill import NoDrillError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Redirect, Request
from archstone.systems.shop.web.pages.admin.frame import framed, written_down
from archstone.systems.shop.web.pages.admin.tiles import BAD, NEUTRAL, Tile

__all__ = ["bank", "turn"]

_HERE: Final = "/admin/bank"
MODES: Final[dict[Mode, str]] = {
    "well": "Well: it answers at once",
    "slow": "Slow: it does what it is asked, and answers after five seconds",
    "failing": "Failing: every other call fails, sometimes after the money has moved",
    "dead": "Dead: nobody picks up",
}
_CIRCUITS: Final = {"closed": "Closed: calls go through", "open": "Open: no calls", "half open": "Half open: a trial"}


async def bank(desk: Desk, request: Request) -> Answer:
    """Show how the bank behaves, and what keeps it from taking the shop with it."""
    state = await desk.clients.bank.bank()
    tiles = (
        Tile("circuit", "Circuit", _CIRCUITS[state.circuit], NEUTRAL if state.circuit == "closed" else BAD),
        Tile("trial", "Next trial in", f"{state.trial_in_s:.0f} s" if state.trial_in_s else "\u2013"),
        Tile("opened", "Times it opened", str(state.opened)),
        Tile("refused", "Calls not made", str(state.refused)),
        Tile("places", "Calls under way", f"{state.in_flight}, and {state.waiting} wait"),
        Tile("retried", "Charges asked for again", f"{state.retried}, and {state.over_budget} not, for want of budget"),
        Tile("calls", "Calls that reached it", "\u2013" if state.calls is None else str(state.calls)),
    )
    return framed(request, "bank", {"tiles": tiles, "mode": state.mode, "modes": MODES})


async def turn(desk: Desk, request: Request) -> Answer:
    """Have the embedded bank behave so."""
    mode: Mode | None = next((each for each in MODES if each == request.form.get("mode")), None)
    if mode is None:
        return Redirect(to=f"{_HERE}?told=broken")
    try:
        await desk.clients.bank.turn(mode)
    except NoDrillError:
        return Redirect(to=f"{_HERE}?told=no-drill")
    written_down(request, "turn the bank", mode=mode)
    return Redirect(to=f"{_HERE}?told=turned")
