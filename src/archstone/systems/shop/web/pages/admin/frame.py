"""What all pages of the administration share: the list of them, what is asked before an act, what is said after it.

Nothing is changed by looking. Every act is a form sent by POST; what cannot be taken back is asked about first, on a
page of its own, so that it works without a script; and each act is written into the log with who did it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlencode

from archstone import world
from archstone.observability import get_logger
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.web.exchange import Page, Request

__all__ = ["cursor_of", "framed", "is_sure", "key_of", "new_key", "page_or_first", "sure", "with_query", "written_down"]

R = TypeVar("R")

LONGEST_CURSOR: Final = 500
SURE: Final = "sure"
_KEY_BYTES: Final = 16
_KEY_LETTERS: Final = frozenset("0123456789abcdef")

SECTIONS: Final = (
    ("/admin", "Figures"),
    ("/admin/orders", "Orders"),
    ("/admin/stock", "Stock"),
    ("/admin/products", "Products"),
    ("/admin/users", "Users"),
    ("/admin/apps", "Apps"),
    ("/admin/sagas", "Sagas"),
    ("/admin/letters", "Dead letters"),
    ("/admin/bank", "Bank"),
)
_NOTICES: Final = {
    "granted": "The role has been given. It holds from the next page on.",
    "withdrawn": "The role has been withdrawn, and all sessions of this user have ended.",
    "created": "The product is on the shelf. Its stock is there in a moment.",
    "changed": "The product has been changed.",
    "retired": "The product is off the shelf.",
    "restored": "The product is on the shelf again.",
    "closed": "The account has been closed, and all its sessions have ended.",
    "opened": "The account is open again.",
    "last-admin": "Nothing has been done: nobody would be left to administer the shop. Make somebody else one first.",
    "refunding": "The money is on its way back. This page shows when it is done.",
    "cancelling": "The order is being cancelled.",
    "too-late": "It is too late to cancel: the parcel has left. Money can be given back below.",
    "corrected": "The stock has been corrected.",
    "arrived": "The goods have been booked.",
    "app-removed": "The app has been removed, and all that it was given has ended.",
    "undone": "The saga is being undone.",
    "resumed": "The saga runs again.",
    "replayed": "It is being delivered again. What fails again comes back to this list.",
    "dropped": "The dead letter has been dropped.",
    "no-letter": "There is no such dead letter any more.",
    "turned": "The bank behaves so from the next call on.",
    "no-drill": "Nothing has been done: somebody else moves this shop's money.",
    "broken": "This form was not what was expected here. Nothing has been done.",
}
_log = get_logger("archstone.shop.admin")


def framed(request: Request, template: str, values: Mapping[str, object], *, status: int = 200) -> Page:
    """Return a page of the administration: without shelves, with its own list of pages and its own sentences."""
    frame = {"shelves": (), "sections": SECTIONS, "told": _NOTICES.get(request.told)}
    return Page(template=f"admin/{template}.html", values={**frame, **values}, status=status)


def is_sure(request: Request) -> bool:
    """Return whether the question before an act has been answered with yes."""
    return request.form.get(SURE) == "yes"


def sure(request: Request, *, title: str, text: str, label: str, back: str) -> Page:
    """Ask before an act that cannot be taken back. The form carries on what was typed.

    Args:
        request: What was sent.
        title: The question.
        text: What follows from a yes.
        label: On the button that says yes.
        back: Where a no leads.
    """
    carried = {name: value for name, value in request.form.items() if name != SURE}
    values = {"title": title, "text": text, "label": label, "back": back, "action": request.path, "carried": carried}
    return framed(request, "sure", values)


def written_down(request: Request, act: str, **facts: object) -> None:
    """Write into the log that an administrator has acted."""
    _log.info("an administrator acted", act=act, by=request.principal.id, **facts)


def with_query(path: str, fields: Mapping[str, str]) -> str:
    """Return the address of a list under its filters, to which the cursor of the next page can be added."""
    return f"{path}?{urlencode({name: value for name, value in fields.items() if value})}"


def cursor_of(request: Request) -> str | None:
    """Return where the page before ended. None: this is the first."""
    return request.query.get("cursor", "")[:LONGEST_CURSOR] or None


async def page_or_first(request: Request, page: Callable[[str | None], Awaitable[R]]) -> R:
    """Return the page of a list that is asked for; the first, if it is none that the list has given."""
    try:
        return await page(cursor_of(request))
    except BadCursorError:
        return await page(None)


def new_key() -> str:
    """Return a key for a form, under which sending it twice acts once."""
    return world.secret_bytes(_KEY_BYTES).hex()


def key_of(request: Request) -> str | None:
    """Return the key that came with a form. None: none that we made."""
    key = request.form.get("key", "")
    return key if len(key) == 2 * _KEY_BYTES and set(key) <= _KEY_LETTERS else None
