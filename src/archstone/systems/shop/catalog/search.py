"""From what people type to expressions of the index. Anything may be typed; nothing may become syntax.

What is found comes in tiers, the best first, each without those before it: the name begins with the words; it has them
all; it has them, the last as a beginning; they are anywhere, the last as a beginning; the same with words that are
spelt alike. Inside a tier products stand as they arrived. So a page costs what it shows: no score is computed for
everything that matches, and a cursor is a tier and a row.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archstone.systems.shop.catalog.index import Grammar

__all__ = ["any_tier", "misspelt_tier", "strict_tiers"]


def strict_tiers(index: "Grammar", words: Sequence[str], category: str | None = None) -> tuple[str, ...]:
    """Return the expressions of the tiers in which everything is spelt as in the index, best first.

    Args:
        index: What they are for.
        words: As `words_of` gives them, at least one.
        category: Only products of it. Others whose category is made of the same words may be found as well.
    """
    steps = [
        index.begins(words),
        index.named(words, growing=False),
        index.named(words, growing=True),
        index.anywhere(words),
    ]
    tiers = [steps[0], *(index.without(step, better) for better, step in pairwise(steps))]
    return tuple(_within(index, category, tier) for tier in tiers)


def any_tier(index: "Grammar", words: Sequence[str], category: str | None = None) -> str:
    """Return the expression of everything that is spelt as in the index, whatever its tier."""
    return _within(index, category, index.anywhere(words))


def misspelt_tier(
    index: "Grammar", words: Sequence[str], alike: Sequence[Sequence[str]], category: str | None = None
) -> str | None:
    """Return the expression that also takes words that are spelt alike. None: there are none.

    Args:
        index: What it is for.
        words: As they were typed.
        alike: For each of them the words that may have been meant, from the index.
        category: Only products of it.
    """
    if not any(alike):
        return None
    return _within(index, category, index.without(index.meant(words, alike), index.anywhere(words)))


def _within(index: "Grammar", category: str | None, expression: str) -> str:
    # Also said to the index, so that it does not go through what is found in all the other categories.
    return expression if category is None else index.within(category, expression)
