"""PostgreSQL's index: a `tsvector` per version under a GIN index, its words made here.

The words are those that FTS5 would make: runs of letters and digits, lower case, without accents. A server needs no
extension and no dictionary for that, and a parser that takes `12-in` or `a@b` for one word is not asked. A word has
the weight of its text (A name, B category, C description), and `^` stands before the name, so that "begins with" is a
phrase.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from archstone.services import Tx
from archstone.systems.shop.catalog.index import Entry, Index
from archstone.systems.shop.catalog.words import folded_words

__all__ = ["INDEX", "TsVector", "vector"]

_ADD: Final = "INSERT INTO search (id, words) VALUES (:id, CAST(CAST(:words AS TEXT) AS tsvector))"
_TAKE_OUT: Final = "DELETE FROM search WHERE id = :id"


def vector(entry: Entry) -> str:
    """Return what of a product is searched, as the server reads a `tsvector`."""
    lexemes, place = ["'^':1A"], 2
    for weight, text in (("A", entry.name), ("B", entry.category), ("C", entry.description)):
        words = folded_words(text)
        lexemes += [f"'{word}':{place + number}{weight}" for number, word in enumerate(words)]
        place += len(words)
    return " ".join([*lexemes, f"'={entry.category}'"])


class TsVector:
    """`search`, a table beside the products."""

    matches = "search f JOIN products p ON p.id = f.id WHERE f.words @@ CAST(CAST(:expression AS TEXT) AS tsquery)"

    def begins(self, words: Sequence[str]) -> str:
        """Return a phrase, anchored to the beginning of the name."""
        return " <-> ".join(["'^':A", *_terms(words, "A")])

    def named(self, words: Sequence[str], *, growing: bool) -> str:
        """Return words of the name."""
        return _all(words, "A", growing=growing)

    def anywhere(self, words: Sequence[str]) -> str:
        """Return words of any text, the last growing."""
        return _all(words, "ABC", growing=True)

    def meant(self, words: Sequence[str], alike: Sequence[Sequence[str]]) -> str:
        """Return choices for each word."""
        typed = _growing(_terms(words, "ABC"))
        choices = [[word, *_terms(others, "ABC")] for word, others in zip(typed, alike, strict=True)]
        return " & ".join(f"({' | '.join(each)})" for each in choices)

    def without(self, expression: str, other: str) -> str:
        """Return a difference."""
        return f"({expression}) & !({other})"

    def within(self, category: str, expression: str) -> str:
        """Return an intersection with the category."""
        return f"'={category}' & ({expression})"

    async def add(self, tx: Tx, entries: Sequence[Entry]) -> None:
        """Write rows of the index."""
        await tx.many(_ADD, [{"id": entry.id, "words": vector(entry)} for entry in entries])

    async def take_out(self, tx: Tx, entries: Sequence[Entry]) -> None:
        """Delete rows of the index."""
        await tx.many(_TAKE_OUT, [{"id": entry.id} for entry in entries])


def _terms(words: Iterable[str], weights: str) -> list[str]:
    # A word that folds to several, or to none, is looked for as it is written: there is none like it.
    return [f"'{''.join(folded_words(word))}':{weights}" for word in words]


def _growing(terms: list[str]) -> list[str]:
    """Return the terms with the last as a beginning."""
    return [*terms[:-1], terms[-1].replace(":", ":*")]


def _all(words: Sequence[str], weights: str, *, growing: bool) -> str:
    terms = _terms(words, weights)
    return " & ".join(_growing(terms) if growing else terms)


INDEX: Final[Index] = TsVector()
