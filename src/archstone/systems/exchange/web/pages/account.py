"""One's own account: money, fills, limits, keys for programs, and how the pages look."""

from archstone.security import HostCookie
from archstone.services import RequestInvalidError
from archstone.systems.exchange.accounts.contract import UnknownKeyError
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Redirect, Request
from archstone.systems.exchange.web.cookies import THEME

__all__ = ["end_key", "make_key", "show", "theme"]

_KEEP_S = 365 * 86_400
_FILLS = 50


async def show(hall: Hall, request: Request) -> Answer:
    """Show it."""
    del request
    return await _page(hall)


async def make_key(hall: Hall, request: Request) -> Answer:
    """Make an API key and show its text, this once."""
    trades = request.form.get("trades") == "on"
    try:
        made = await hall.clients.accounts.make_key(
            request.form.get("name", "").strip(), ("orders:read", "orders:write") if trades else ("orders:read",)
        )
    except (UnknownKeyError, RequestInvalidError) as error:
        return await _page(hall, fault=str(error) if isinstance(error, UnknownKeyError) else "Name the key.")
    return await _page(hall, fresh=made.text)


async def end_key(hall: Hall, request: Request) -> Answer:
    """End an API key."""
    try:
        await hall.clients.accounts.end_key(request.parts["key"])
    except UnknownKeyError:
        return Redirect(to="/account")
    return Redirect(to="/account?told=key-ended")


async def theme(hall: Hall, request: Request) -> Answer:
    """Choose how the pages look."""
    del hall
    wanted = request.form.get("theme", "auto")
    value = wanted if wanted in {"light", "dark"} else ""
    return Redirect(to=request.next, cookies=(HostCookie(THEME, value, _KEEP_S if value else 0),))


async def _page(hall: Hall, *, fresh: str = "", fault: str = "") -> Page:
    trading = hall.clients.trading
    values = {
        "mine": await trading.portfolio(), "limits": await trading.limits(),
        "fills": (await trading.fills(_FILLS)).items,
        "keys": (await hall.clients.accounts.keys()).items, "instruments": hall.instruments, "fresh": fresh,
        "fault": fault,
    }  # fmt: skip
    return Page(template="account.html", values=values, status=422 if fault else 200)
