"""Keyset cursors: where a page ended, as text that a client gives back unchanged.

A cursor holds the sort key of the last row and a mark of the question it belongs to. It is no secret and grants
nothing; what comes back is checked, and anything else than what `encode` made is refused.
"""

import binascii
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import cast

from archstone.errors import DomainError

__all__ = ["BadCursorError", "decode_cursor", "encode_cursor"]

Key = tuple[str | int | float, ...]


class BadCursorError(DomainError, code="shop.bad-cursor", status=400):
    """The cursor was not made by this shop, or belongs to another list."""

    def __init__(self, cursor: str) -> None:
        super().__init__(cursor)
        self.cursor = cursor

    def __str__(self) -> str:
        return f"cursor {self.cursor[:40]!r} does not belong to this list: start again without one"


def encode_cursor(question: str, key: Key) -> str:
    """Return the cursor after the row with sort key `key` of the list that `question` describes."""
    text = json.dumps([_mark(question), *key], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(question: str, cursor: str, *, like: Key) -> Key:
    """Return the sort key that `encode_cursor` was given for the same question.

    Args:
        question: What the list is of: filters and owner, as text.
        cursor: What the client gave back.
        like: A sort key whose types the cursor's must have.

    Raises:
        BadCursorError: it is anything else.
    """
    try:
        found: object = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BadCursorError(cursor) from error
    if not isinstance(found, list):
        raise BadCursorError(cursor)
    mark, *key = cast("list[object]", found) or [None]
    if mark != _mark(question) or [type(part) for part in key] != [type(part) for part in like]:
        raise BadCursorError(cursor)
    if any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in key):
        raise BadCursorError(cursor)
    return cast("Key", tuple(key))


def _mark(question: str) -> str:
    return hashlib.blake2s(question.encode(), digest_size=6).hexdigest()
