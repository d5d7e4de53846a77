"""From what people type to an FTS5 expression. Anything may be typed; nothing may become syntax."""

import re
from typing import Final

__all__ = ["match_expression"]

MAX_WORDS: Final = 8
_WORD: Final = re.compile(r"[^\W_]+")


def match_expression(text: str) -> str | None:
    """Return the expression that finds rows with every word of `text`, the last one also as a prefix.

    Only letters and digits survive, each word in quotes, so operators, columns and quotes in the text mean nothing.
    Words after the eighth are dropped. None: there is no word in it.
    """
    words = _WORD.findall(text)[:MAX_WORDS]
    if not words:
        return None
    quoted = [f'"{word}"' for word in words]
    return " ".join(quoted) + "*"
