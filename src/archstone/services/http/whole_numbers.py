"""Read `43.0` as the integer that JSON Schema says it is.

A strict decoder takes only `43` for an integer. To JSON there is one kind of number, and some clients write every one
with a point. Used when strict decoding has failed, so that it costs others nothing.
"""

import json
import math

__all__ = ["with_whole_numbers"]


def with_whole_numbers(body: bytes) -> bytes | None:
    """Return the same document with each whole number written as one; None if there is none, or it is no JSON."""
    if b"." not in body and b"e" not in body and b"E" not in body:
        return None
    changed = False

    def number(text: str) -> int | float:
        nonlocal changed
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(text)
        if not value.is_integer():
            return value
        changed = True
        return int(value)

    try:
        document = json.loads(body, parse_float=number)
        return json.dumps(document).encode() if changed else None
    except (ValueError, RecursionError):
        return None
