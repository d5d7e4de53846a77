"""What a record of an audit log says, bounded and without secrets."""

import json
import re
from collections.abc import Mapping
from typing import Final

from archstone import context, world
from archstone.errors import ConfigError
from archstone.observability.secrets import REDACTED, scrub, speaks_of_a_secret
from archstone.security.auditchain import Entry, Outcome

__all__ = ["made_entry"]

_ACTION: Final = re.compile(r"[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+")
_ACTION_LIMIT: Final = 64
_TEXT_LIMIT: Final = 200
"""Characters of who, subject, whence and each detail."""
_DETAILS_LIMIT: Final = 16


def made_entry(
    action: str,
    *,
    outcome: Outcome,
    subject: str,
    details: Mapping[str, object] | None,
    who: str | None,
    whence: str | None,
) -> Entry:
    """Return what a record says; see `AuditLog.record`.

    Raises:
        ConfigError: The action has not the form of one, or there are too many details.
    """
    if len(action) > _ACTION_LIMIT or not _ACTION.fullmatch(action):
        raise ConfigError(f"audit action {action!r}: write words of lower case letters with dots, at most 64 long")
    if details is not None and len(details) > _DETAILS_LIMIT:
        raise ConfigError(f"audit action {action!r}: {len(details)} details, limit {_DETAILS_LIMIT}")
    told = {_plain(name): _detail(name, value) for name, value in (details or {}).items()}
    principal = context.current().principal
    if who is None and principal.by is not None:
        told["by"] = _plain(principal.by.id)
    return Entry(
        at=world.now_us(),
        who=_plain(principal.id if who is None else who),
        action=action,
        subject=_plain(scrub(subject)),
        whence=_plain(context.whence() if whence is None else whence),
        outcome=outcome,
        details=json.dumps(told, separators=(",", ":")),
    )


def _plain(text: str) -> str:
    """Return a text that fits, without what could steer a terminal or break a line."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text[:_TEXT_LIMIT])


def _detail(name: str, value: object) -> object:
    if speaks_of_a_secret(name):
        return REDACTED
    return value if value is None or isinstance(value, bool | int) else _plain(scrub(str(value)))
