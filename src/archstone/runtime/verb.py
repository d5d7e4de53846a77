"""What a verb of the control socket is given, and how it says that this does not fit."""

import re
from collections.abc import Mapping
from typing import Any, Final

from archstone.errors import ConfigError

__all__ = ["Arguments", "VerbError", "read_number", "read_text"]

Arguments = Mapping[str, Any]
"""Of a verb, decoded from JSON."""

_DIGITS: Final = re.compile("[0-9]{1,18}")


class VerbError(ConfigError, code="runtime.verb"):
    """There is no such verb, or its arguments do not fit. Nothing was done."""


def read_text(arguments: Arguments, name: str) -> str:
    """Return an argument that is a text; VerbError if it is none, or empty."""
    found = arguments.get(name)
    if not isinstance(found, str) or not found:
        raise VerbError(f"{name}={found!r}: give a text")
    return found


def read_number(arguments: Arguments, name: str, *, default: int | None = None) -> int:
    """Return an argument that is a whole number; VerbError if it is none."""
    found = arguments.get(name, default)
    if not _DIGITS.fullmatch(str(found)):
        raise VerbError(f"{name}={found!r}: give a whole number")
    return int(str(found))
