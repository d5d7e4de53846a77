"""SQLite's index: FTS5 over the table of products, whose tokenizer folds case and drops accents."""

from collections.abc import Sequence
from typing import Final

from archstone.services import Tx
from archstone.systems.shop.catalog.index import Entry, Index
from archstone.systems.shop.catalog.words import words_of

__all__ = ["INDEX", "Fts5"]

_ADD: Final = "INSERT INTO search (rowid, name, category, description) VALUES (:id, :name, :category, :description)"
_TAKE_OUT: Final = (
    "INSERT INTO search (search, rowid, name, category, description)"
    " VALUES ('delete', :id, :name, :category, :description)"
)


class Fts5:
    """`search`, a virtual table without texts of its own."""

    matches = "search f CROSS JOIN products p ON p.id = f.rowid WHERE search MATCH :expression"

    def begins(self, words: Sequence[str]) -> str:
        """Return a phrase, anchored to the beginning of the name."""
        return f'name : (^"{" ".join(words)}")'

    def named(self, words: Sequence[str], *, growing: bool) -> str:
        """Return words of the name."""
        return f"name : ({_all(words)}{'*' if growing else ''})"

    def anywhere(self, words: Sequence[str]) -> str:
        """Return words of any text, the last growing."""
        return f"({_all(words)}*)"

    def meant(self, words: Sequence[str], alike: Sequence[Sequence[str]]) -> str:
        """Return choices for each word."""
        last = len(words) - 1
        typed = [f'"{word}"*' if number == last else f'"{word}"' for number, word in enumerate(words)]
        choices = [[word, *(f'"{other}"' for other in others)] for word, others in zip(typed, alike, strict=True)]
        return f"({' AND '.join('(' + ' OR '.join(each) + ')' for each in choices)})"

    def without(self, expression: str, other: str) -> str:
        """Return a difference."""
        return f"({expression}) NOT ({other})"

    def within(self, category: str, expression: str) -> str:
        """Return an intersection with the category."""
        return f'(category : "{" ".join(words_of(category))}") AND ({expression})'

    async def add(self, tx: Tx, entries: Sequence[Entry]) -> None:
        """Write rows of the index."""
        await tx.many(_ADD, [entry._asdict() for entry in entries])

    async def take_out(self, tx: Tx, entries: Sequence[Entry]) -> None:
        """Tell the index what to forget: it keeps no texts."""
        await tx.many(_TAKE_OUT, [entry._asdict() for entry in entries])


def _all(words: Sequence[str]) -> str:
    return " ".join(f'"{word}"' for word in words)


INDEX: Final[Index] = Fts5()
