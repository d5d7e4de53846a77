"""Users: finding any, who of them is an administrator, closing and opening an account, and who changed what."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.users.contract import LastAdminError, Role, User, UserUnknownError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.forms import Filled
from archstone.systems.shop.web.pages.admin.forms import ClosingForm, read
from archstone.systems.shop.web.pages.admin.frame import (
    cursor_of,
    framed,
    is_sure,
    page_or_first,
    sure,
    with_query,
    written_down,
)

__all__ = ["close", "grant", "open_again", "user", "users", "withdraw"]

PER_PAGE: Final = 50
LONGEST_SEARCH: Final = 100
_HERE: Final = "/admin/users"
_ROLES: Final[Mapping[str, Role]] = {"customer": "customer", "support": "support", "admin": "admin"}
_ACTIVE: Final = {"open": True, "closed": False}


async def users(desk: Desk, request: Request) -> Answer:
    """List users that fit the filters, oldest first. A filter that makes no sense is left out."""
    search = request.query.get("q", "").strip()[:LONGEST_SEARCH]
    role = _ROLES.get(request.query.get("role", ""))
    account = request.query.get("account", "")
    address = with_query(_HERE, {"q": search, "role": role or "", "account": account if account in _ACTIVE else ""})
    try:
        page = await desk.clients.roles.users(
            search or None, role, _ACTIVE.get(account), limit=PER_PAGE, cursor=cursor_of(request)
        )
    except BadCursorError:
        return Redirect(to=address)
    values = {"page": page, "search": search, "role": role, "account": account, "address": address}
    return framed(request, "users", values)


async def user(desk: Desk, request: Request) -> Answer:
    """Show a user, and what administrators have changed."""
    return await _shown(desk, request, Filled())


async def grant(desk: Desk, request: Request) -> Answer:
    """Make a user an administrator, after a question."""
    who = await _found(desk, request)
    if not is_sure(request):
        return sure(
            request, title=f"Make {who.email} an administrator?", label="Make an administrator", back=_page_of(who),
            text="Administrators see every order and every user, and can change all that you can change here.",
        )  # fmt: skip
    return await _acted(request, who, "granted", lambda: desk.clients.roles.grant(who.email, "admin"))


async def withdraw(desk: Desk, request: Request) -> Answer:
    """Take the role of an administrator from a user, after a question."""
    who = await _found(desk, request)
    if not is_sure(request):
        return sure(
            request, title=f"Withdraw the role from {who.email}?", label="Withdraw the role", back=_page_of(who),
            text="All their sessions end at once; they can sign in again as a customer.",
        )  # fmt: skip
    return await _acted(request, who, "withdrawn", lambda: desk.clients.roles.withdraw(who.email, "admin"))


async def close(desk: Desk, request: Request) -> Answer:
    """Close an account, after a question."""
    who, form = await _found(desk, request), read(ClosingForm, request.form)
    if isinstance(form, Filled):
        return await _shown(desk, request, form, status=422)
    if not is_sure(request):
        return sure(
            request, title=f"Close the account of {who.email}?", label="Close the account", back=_page_of(who),
            text=f"All their sessions end, and nobody can sign in with it. Their orders stay. Reason: {form.reason}",
        )  # fmt: skip
    return await _acted(request, who, "closed", lambda: desk.clients.roles.deactivate(who.id, form.reason))


async def open_again(desk: Desk, request: Request) -> Answer:
    """Open an account again."""
    who = await _found(desk, request)
    return await _acted(request, who, "opened", lambda: desk.clients.roles.reactivate(who.id))


async def _acted(request: Request, who: User, told: str, act: Callable[[], Awaitable[User]]) -> Redirect:
    try:
        await act()
    except UserUnknownError as error:  # deleted by its owner meanwhile
        raise PageMissingError from error
    except LastAdminError:
        return Redirect(to=f"{_page_of(who)}?told=last-admin")
    written_down(request, f"user {told}", user=who.id)
    return Redirect(to=f"{_page_of(who)}?told={told}")


async def _shown(desk: Desk, request: Request, filled: Filled, *, status: int = 200) -> Page:
    who = await _found(desk, request)
    of_user = desk.clients.roles.user_changes
    changes = await page_or_first(request, lambda cursor: of_user(who.id, limit=PER_PAGE, cursor=cursor))
    return framed(request, "user", {"user": who, "changes": changes, "filled": filled}, status=status)


async def _found(desk: Desk, request: Request) -> User:
    try:
        return await desk.clients.roles.user(request.parts["user"])
    except UserUnknownError as error:
        raise PageMissingError from error


def _page_of(who: User) -> str:
    return f"{_HERE}/{who.id}"
