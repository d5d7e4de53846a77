"""Sagas: those that are stuck and wait for a person, one with its journal, running it again, having it undone.

The console writes each act into the log.
"""

from typing import Final, get_args

from archstone.errors import ConflictError, NotFoundError
from archstone.gateway import SagaDetail, StatusFilter
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.pages.admin.frame import cursor_of, framed, is_sure, sure
from archstone.systems.shop.web.pages.admin.steering import console_of, instant

__all__ = ["cancel", "resume", "saga", "sagas"]

PER_PAGE: Final = 50
LONGEST_ID: Final = 300
_HERE: Final = "/admin/sagas"
_STATUSES: Final = get_args(StatusFilter)


async def sagas(desk: Desk, request: Request) -> Answer:
    """List sagas, newest first: all, or those in one state."""
    console, wanted = console_of(desk), request.query.get("status", "")
    status = next((each for each in _STATUSES if each == wanted), None)
    page = await console.sagas(request.principal, status=status, limit=PER_PAGE, before=cursor_of(request))
    values = {"page": page, "status": status, "statuses": _STATUSES, "instant": instant}
    return framed(request, "sagas", values)


async def saga(desk: Desk, request: Request) -> Answer:
    """Show a saga with what its journal holds."""
    return _shown(request, await _found(desk, request, request.query.get("id", "")))


async def resume(desk: Desk, request: Request) -> Answer:
    """Run a stuck saga again."""
    found = await _found(desk, request, request.form.get("id", ""))
    try:
        await console_of(desk).resume(request.principal, found.saga.id)
    except (NotFoundError, ConflictError) as error:
        return _shown(request, found, fault=f"{error}.", status=409)
    return Redirect(to=f"{_HERE}?told=resumed")


async def cancel(desk: Desk, request: Request) -> Answer:
    """Have a saga undone, after a question."""
    found = await _found(desk, request, request.form.get("id", ""))
    if not is_sure(request):
        return sure(
            request, title=f"Undo {found.saga.service}.{found.saga.method}?", label="Undo the saga", back=_HERE,
            text="Every step that was begun is undone, the newest first, and the saga ends as failed.",
        )  # fmt: skip
    try:
        await console_of(desk).cancel(request.principal, found.saga.id)
    except (NotFoundError, ConflictError) as error:
        return _shown(request, found, fault=f"{error}.", status=409)
    return Redirect(to=f"{_HERE}?told=undone")


async def _found(desk: Desk, request: Request, saga_id: str) -> SagaDetail:
    if not 0 < len(saga_id) <= LONGEST_ID or not saga_id.isprintable():
        raise PageMissingError
    try:
        return await console_of(desk).saga(request.principal, saga_id)
    except NotFoundError as error:
        raise PageMissingError from error


def _shown(request: Request, found: SagaDetail, *, fault: str | None = None, status: int = 200) -> Page:
    # A step that only its journal knows, beyond the bound of calls, is shown without what it calls.
    calls = {call.step: call for call in found.calls}
    values = {"found": found, "saga": found.saga, "calls": calls, "fault": fault, "instant": instant}
    return framed(request, "saga", values, status=status)
