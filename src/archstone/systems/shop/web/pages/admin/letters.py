"""Dead letters: events that a handler could not handle, to be delivered again or dropped.

The console writes each act into the log.
"""

import re
from typing import Final

from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Redirect, Request
from archstone.systems.shop.web.pages.admin.frame import framed, is_sure, sure
from archstone.systems.shop.web.pages.admin.steering import console_of, instant

__all__ = ["drop", "letters", "replay", "replay_group"]

PER_PAGE: Final = 50
LONGEST_GROUP: Final = 100
_HERE: Final = "/admin/letters"
_NUMBER: Final = re.compile("[0-9]{1,18}")


async def letters(desk: Desk, request: Request) -> Answer:
    """List dead letters, newest first: all, or those of one group."""
    group, before = request.query.get("group", "")[:LONGEST_GROUP] or None, request.query.get("cursor", "")
    page = await console_of(desk).dead(
        request.principal, group=group, limit=PER_PAGE, before=int(before) if _NUMBER.fullmatch(before) else None
    )
    groups = sorted({letter.group for letter in page.items} | ({group} if group else set()))
    return framed(request, "letters", {"page": page, "group": group, "groups": groups, "instant": instant})


async def replay(desk: Desk, request: Request) -> Answer:
    """Deliver one again."""
    number = request.form.get("letter", "")
    if not _NUMBER.fullmatch(number):
        return Redirect(to=f"{_HERE}?told=broken")
    count = await console_of(desk).replay(request.principal, int(number))
    return Redirect(to=f"{_HERE}?told={'replayed' if count else 'no-letter'}")


async def replay_group(desk: Desk, request: Request) -> Answer:
    """Deliver all of a group again, after a question."""
    group = request.form.get("group", "")[:LONGEST_GROUP]
    if not group:
        return Redirect(to=f"{_HERE}?told=broken")
    if not is_sure(request):
        return sure(
            request, title=f"Deliver all dead letters of {group} again?", label="Deliver all again", back=_HERE,
            text="What fails again comes back to this list.",
        )  # fmt: skip
    count = await console_of(desk).replay(request.principal, group=group)
    return Redirect(to=f"{_HERE}?told={'replayed' if count else 'no-letter'}")


async def drop(desk: Desk, request: Request) -> Answer:
    """Delete one for good, after a question."""
    number = request.form.get("letter", "")
    if not _NUMBER.fullmatch(number):
        return Redirect(to=f"{_HERE}?told=broken")
    if not is_sure(request):
        return sure(
            request, title=f"Drop dead letter {number} for good?", label="Drop it", back=_HERE,
            text="What it would have caused will never happen. This cannot be taken back.",
        )  # fmt: skip
    count = await console_of(desk).drop(request.principal, int(number))
    return Redirect(to=f"{_HERE}?told={'dropped' if count else 'no-letter'}")
