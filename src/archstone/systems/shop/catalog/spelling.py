"""Words that are typed wrong: found by the trigrams that they share with words of the index, judged by distance.

A word of three to five letters may have one slip, a longer one two: a letter too many, too few, another, or two
exchanged. The last word is compared with beginnings, because it may still be growing.
"""

import re
from collections.abc import Iterable
from typing import Final

from archstone.data import Database
from archstone.services import Tx
from archstone.systems.shop.catalog.words import folded
from archstone.systems.shop.listed import filled, pieces, places

__all__ = ["alike", "learn", "name_words", "slips"]

MAX_ALIKE: Final = 3
MAX_CANDIDATES: Final = 24
MAX_KNOWN: Final = 200_000
"""Words that are kept. A catalogue that has more is not made of words."""
SHORTEST, LONGEST = 3, 24
PIECE: Final = 200
"""Words looked up by one statement."""

_NAME_WORD: Final = re.compile(r"[^\W\d_]+")
_CANDIDATES: Final = f"""
    SELECT word FROM word_parts
    WHERE part IN ({places("part", LONGEST)}) AND length BETWEEN :shortest AND :longest
    GROUP BY word ORDER BY count(*) DESC, word LIMIT :limit
"""  # noqa: S608 - numbers
_KNOWN: Final = f"SELECT word FROM words WHERE word IN ({places('word', PIECE)})"  # noqa: S608 - numbers


def name_words(text: str) -> list[str]:
    """Return the words of a name as the index has them, without digits, each once, 3 to 24 letters long."""
    found = dict.fromkeys(_NAME_WORD.findall(folded(text)))
    return [word for word in found if SHORTEST <= len(word) <= LONGEST]


def parts_of(word: str) -> list[str]:
    """Return the trigrams of a word, with a space before it."""
    text = f" {word}"
    return list(dict.fromkeys(text[at : at + 3] for at in range(len(text) - 2)))


async def learn(tx: Tx, names: Iterable[str]) -> None:
    """Keep the words of new names."""
    words = list(dict.fromkeys(word for name in names for word in name_words(name)))
    known = [await tx.all(str, _KNOWN, **piece) for piece in pieces("word", words, PIECE)]
    new = [word for word in words if word not in {each for piece in known for each in piece}]
    if not new or await tx.one(int, "SELECT coalesce(max(id), 0) FROM words") >= MAX_KNOWN:
        return
    await tx.many("INSERT INTO words (word) VALUES (:word) ON CONFLICT DO NOTHING", [{"word": word} for word in new])
    await tx.many(
        "INSERT INTO word_parts (part, length, word) VALUES (:part, :length, :word) ON CONFLICT DO NOTHING",
        [{"part": part, "length": len(word), "word": word} for word in new for part in parts_of(word)],
    )


async def alike(db: Database, typed: str, *, growing: bool) -> list[str]:
    """Return the words of the index that may have been meant, the likeliest first, at most three.

    Args:
        db: The catalog's.
        typed: One word.
        growing: Whether it is the last one, of which perhaps only the beginning stands there.
    """
    words = name_words(typed)
    if len(words) != 1:
        return []
    (word,) = words
    allowed = 1 if len(word) <= 5 else 2
    found = await db.all(
        str, _CANDIDATES, **filled("part", parts_of(word), LONGEST), shortest=len(word) - allowed,
        longest=LONGEST if growing else len(word) + allowed, limit=MAX_CANDIDATES,
    )  # fmt: skip
    judged = [(slips(word, each, growing=growing, most=allowed), each) for each in found if each != word]
    return [each for count, each in sorted(judged) if count <= allowed][:MAX_ALIKE]


def slips(typed: str, meant: str, *, growing: bool, most: int) -> int:
    """Return how many slips lie between two words, or any number above `most` if there are more.

    Args:
        typed: What is there.
        meant: What it is compared with; its best beginning if `growing`.
        growing: See `alike`.
        most: Counting stops above it.

    Source: Damerau 1964 in the restricted form (optimal string alignment), row by row.
    """
    if not growing and abs(len(typed) - len(meant)) > most:
        return most + 1
    meant = meant[: len(typed) + most]
    before, above = [0] * (len(meant) + 1), list(range(len(meant) + 1))
    for i, letter in enumerate(typed, 1):
        row = [i]
        for j, other in enumerate(meant, 1):
            best = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == meant[j - 2] and typed[i - 2] == other:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        if min(row) > most:
            return most + 1
        before, above = above, row
    return min(above) if growing else above[-1]
