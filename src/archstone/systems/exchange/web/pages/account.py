"""One's own account: money, fills, limits, keys for programs, and how the pages look."""

from archstone.security import HostCookie
from archstone.systems.exchange.accounts.contract import (
    Scope,
    TooManyTriesError,
    UnknownKeyError,
    WeakPasswordError,
    WrongPasswordError,
)
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Redirect, Request
from archstone.systems.exchange.web.cookies import THEME
from archstone.systems.exchange.web.forms import KeyForm, PasswordForm, checked
from archstone.systems.exchange.web.pages.signin import SIGNED_OUT, begun

__all__ = ["change_password", "end_key", "make_key", "show", "sign_out", "theme"]

_KEEP_S = 365 * 86_400
_FILLS = 50


async def show(hall: Hall, request: Request) -> Answer:
    """Show it."""
    del request
    return await _page(hall)


async def change_password(hall: Hall, request: Request) -> Answer:
    """Change the password; this browser stays signed in, and no other."""
    form = checked(PasswordForm, request.form)
    if form is None:
        return await _page(hall, weak="A new password has at least 8 characters.")
    try:
        session = await hall.clients.accounts.change_password(form.current, form.new)
    except WrongPasswordError:
        return await _page(hall, weak="The present password is another one.")
    except WeakPasswordError as error:
        return await _page(hall, weak=f"This password {error.reason}.")
    except TooManyTriesError as error:
        return await _page(hall, weak=f"Too many attempts: try again in {error.retry_after_s:.0f} s.")
    return await begun(hall, request, session, "/account?told=password")


async def sign_out(hall: Hall, request: Request) -> Answer:
    """End every session and token of the account."""
    del request
    await hall.clients.accounts.sign_out()
    return SIGNED_OUT


async def make_key(hall: Hall, request: Request) -> Answer:
    """Make an API key and show its text, this once."""
    form = checked(KeyForm, request.form)
    if form is None:
        return await _page(hall, fault="Name the key, with at most 60 characters.")
    scopes: tuple[Scope, ...] = ("orders:read", "orders:write") if form.trades else ("orders:read",)
    try:
        made = await hall.clients.accounts.make_key(form.name, scopes)
    except UnknownKeyError as error:
        return await _page(hall, fault=str(error))
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


async def _page(hall: Hall, *, fresh: str = "", fault: str = "", weak: str = "") -> Page:
    trading = hall.clients.trading
    values = {
        "mine": await trading.portfolio(), "limits": await trading.limits(),
        "fills": (await trading.fills(_FILLS)).items,
        "keys": (await hall.clients.accounts.keys()).items, "instruments": hall.instruments, "fresh": fresh,
        "fees": hall.fees,
        "fault": fault, "weak": weak,
    }  # fmt: skip
    return Page(template="account.html", values=values, status=422 if fault or weak else 200)
