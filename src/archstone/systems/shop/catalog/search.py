"""From what people type to FTS5 expressions. Anything may be typed; nothing may become syntax.

What is found comes in tiers, the best first, each without those before it: the name begins with the words; it has them
all; it has them, the last as a beginning; they are anywhere, the last as a beginning; the same with words that are
spelt alike. Inside a tier products stand as they arrived. So a page costs what it shows: no score is computed for
everything that matches, and a cursor is a tier and a row.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

__all__ = ["any_tier", "match_expression", "misspelt_tier", "strict_tiers", "words_of"]

MAX_WORDS: Final = 8
_WORD: Final = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the words in a text: runs of letters and digits, at most eight."""
    return _WORD.findall(text)[:MAX_WORDS]


def match_expression(text: str) -> str | None:
    """Return the expression that finds rows with every word of `text`, the last one also as a prefix.

    Only letters and digits survive, each word in quotes, so operators, columns and quotes in the text mean nothing.
    Words after the eighth are dropped. None: there is no word in it.
    """
    words = words_of(text)
    return _all(words) + "*" if words else None


def strict_tiers(words: Sequence[str], category: str | None = None) -> tuple[str, ...]:
    """Return the expressions of the tiers in which everything is spelt as in the index, best first.

    Args:
        words: As `words_of` gives them, at least one.
        category: Only products of it. Others whose category is made of the same words are found as well.
    """
    whole = _all(words)
    steps = [f'name : (^"{" ".join(words)}")', f"name : ({whole})", f"name : ({whole}*)", f"({whole}*)"]
    tiers = [steps[0], *(f"({step}) NOT ({better})" for better, step in pairwise(steps))]
    return tuple(_within(category, tier) for tier in tiers)


def any_tier(words: Sequence[str], category: str | None = None) -> str:
    """Return the expression of everything that is spelt as in the index, whatever its tier."""
    return _within(category, f"({_all(words)}*)")


def misspelt_tier(words: Sequence[str], alike: Sequence[Sequence[str]], category: str | None = None) -> str | None:
    """Return the expression that also takes words that are spelt alike. None: there are none.

    Args:
        words: As they were typed.
        alike: For each of them the words that may have been meant, from the index.
    """
    if not any(alike):
        return None
    meant: list[str] = []
    for number, (word, others) in enumerate(zip(words, alike, strict=True)):
        typed = f'"{word}"*' if number == len(words) - 1 else f'"{word}"'
        meant.append("(" + " OR ".join([typed, *(f'"{other}"' for other in others)]) + ")")
    return _within(category, f"({' AND '.join(meant)}) NOT ({_all(words)}*)")


def _all(words: Sequence[str]) -> str:
    return " ".join(f'"{word}"' for word in words)


def _within(category: str | None, expression: str) -> str:
    # Also said to the index, so that it does not go through what is found in all the other categories.
    if category is None:
        return expression
    return f'(category : "{" ".join(_WORD.findall(category))}") AND ({expression})'
