"""Users, and who of them is an administrator."""

from typing import Final

from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.users.contract import UserUnknownError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Redirect, Request
from archstone.systems.shop.web.forms import Filled
from archstone.systems.shop.web.pages.admin.forms import RoleForm, read
from archstone.systems.shop.web.pages.admin.frame import cursor_of, framed, is_sure, sure, written_down

__all__ = ["grant", "users", "withdraw"]

PER_PAGE: Final = 50
_HERE: Final = "/admin/users"


async def users(desk: Desk, request: Request) -> Answer:
    """List users, oldest first."""
    try:
        page = await desk.clients.roles.users(limit=PER_PAGE, cursor=cursor_of(request))
    except BadCursorError:
        return Redirect(to=_HERE)
    return framed(request, "users", {"page": page})


async def grant(desk: Desk, request: Request) -> Answer:
    """Give a user a role."""
    form = read(RoleForm, request.form)
    if isinstance(form, Filled):
        return Redirect(to=f"{_HERE}?told=broken")
    if not is_sure(request):
        return sure(
            request, title=f"Make {form.email} an administrator?", label="Make an administrator", back=_HERE,
            text="Administrators see every order and every user, and can change all that you can change here.",
        )  # fmt: skip
    try:
        await desk.clients.roles.grant(form.email, form.role)
    except UserUnknownError:
        return Redirect(to=f"{_HERE}?told=unknown-user")
    written_down(request, "grant", role=form.role, to=form.email)
    return Redirect(to=f"{_HERE}?told=granted")


async def withdraw(desk: Desk, request: Request) -> Answer:
    """Take a role from a user."""
    form = read(RoleForm, request.form)
    if isinstance(form, Filled):
        return Redirect(to=f"{_HERE}?told=broken")
    if not is_sure(request):
        return sure(
            request, title=f"Is {form.email} no administrator any more?", label="Withdraw the role", back=_HERE,
            text="All their sessions end at once; they can sign in again as a customer.",
        )  # fmt: skip
    try:
        await desk.clients.roles.withdraw(form.email, form.role)
    except UserUnknownError:
        return Redirect(to=f"{_HERE}?told=unknown-user")
    written_down(request, "withdraw", role=form.role, of=form.email)
    return Redirect(to=f"{_HERE}?told=withdrawn")
