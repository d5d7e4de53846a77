"""The API keys of a customer: made, changed, ended, and shown once."""

from datetime import UTC, datetime
from typing import Final

from archstone.security import ApiKey, NewApiKey, TooManyApiKeysError, UnknownApiKeyError
from archstone.systems.shop.programs.programs import SCOPES, Programs
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.forms import Filled, KeyForm, checked, shown_again

__all__ = ["make", "revoke", "rotate", "show"]

_DAY_S: Final = 86_400.0
_MANY: Final = "You have as many keys as one may have. Please revoke one that you do not use."


async def show(desk: Desk, request: Request) -> Answer:
    """Show which keys there are."""
    return await _page(_programs(desk), request, Filled())


async def make(desk: Desk, request: Request) -> Answer:
    """Make a key, and show it this once."""
    programs = _programs(desk)
    chosen = [name for name in SCOPES if request.form.get(f"may-{name}")]
    form = checked(KeyForm, request.form)
    if isinstance(form, Filled):
        return await _page(programs, request, form)
    if not chosen:
        told = "Please choose at least one thing that the key is for."
        return await _page(programs, request, Filled(shown_again(request.form)).with_fault("", told))
    try:
        made = await programs.keys.create(
            request.principal.id,
            name=form.name,
            scopes=chosen,
            lifetime_s=form.days * _DAY_S,
            per_minute=int(form.per_minute) if form.per_minute else None,
        )
    except TooManyApiKeysError:
        return await _page(programs, request, Filled(shown_again(request.form)).with_fault("", _MANY))
    return await _page(programs, request, Filled(), made=made)


async def rotate(desk: Desk, request: Request) -> Answer:
    """Make the successor of a key; the old one goes on for a day."""
    programs = _programs(desk)
    try:
        made = await programs.keys.rotate(request.parts["key"], owner=request.principal.id)
    except UnknownApiKeyError as error:
        raise PageMissingError from error
    return await _page(programs, request, Filled(), made=made)


async def revoke(desk: Desk, request: Request) -> Answer:
    """End a key at once."""
    if not await _programs(desk).keys.revoke(request.parts["key"], owner=request.principal.id):
        raise PageMissingError
    return Redirect(to="/account/keys?told=key-revoked")


def _programs(desk: Desk) -> Programs:
    if desk.programs is None:
        raise PageMissingError
    return desk.programs


async def _page(programs: Programs, request: Request, filled: Filled, *, made: NewApiKey | None = None) -> Page:
    found = await programs.keys.keys_of(request.principal.id)
    values = {
        "filled": filled,
        "scopes": SCOPES,
        "made": made,
        "keys": [_row(key) for key in found if key.stands],
    }
    return Page(template="keys.html", values=values, status=422 if filled.faults else 200)


def _row(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "may": [SCOPES.get(each, each) for each in key.scopes.split()],
        "until": _moment(key.expires_us),
        "last_used": None if key.last_used_us is None else _moment(key.last_used_us),
        "uses": key.uses,
        "per_minute": key.per_minute,
    }


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)
