"""The id by which one request can be found again: in the answer, in the log, in the trace."""

import re
from typing import Final

from archstone import world

__all__ = ["request_id"]

# Letters, digits and a few marks: nothing that breaks a log line, a header or a terminal.
_SANE: Final = re.compile(rb"[0-9A-Za-z._:-]{8,128}").fullmatch


def request_id(offered: bytes | None) -> str:
    """Return the id that the client offers if it is sane (8 to 128 harmless characters), else a new one."""
    if offered is not None and _SANE(offered):
        return offered.decode()
    return world.new_id()
