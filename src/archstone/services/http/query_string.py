"""Take a query string apart: strictly, and no more of it than makes sense."""

from collections.abc import Mapping, Sequence
from typing import Final

from archstone.services.http.errors import BadRequestError
from archstone.services.http.router import percent_decode

__all__ = ["parse_query"]

FIELDS_LIMIT: Final = 200
"""How many fields a query string may have."""
_NOTHING: Final[Mapping[str, Sequence[str]]] = {}


def parse_query(raw: bytes) -> Mapping[str, Sequence[str]]:
    """Return the texts of each field, in order; an empty text counts as a text.

    Raises:
        BadRequestError: more than 200 fields, a broken percent escape, or no UTF-8.
    """
    if not raw:
        return _NOTHING
    pieces = raw.split(b"&", FIELDS_LIMIT)
    if len(pieces) > FIELDS_LIMIT:
        raise BadRequestError("query string", f"has more than {FIELDS_LIMIT} fields")
    fields: dict[str, list[str]] = {}
    for piece in pieces:
        if piece:
            name, _, text = piece.replace(b"+", b" ").partition(b"=")
            fields.setdefault(percent_decode(name, "query string"), []).append(percent_decode(text, "query string"))
    return fields
