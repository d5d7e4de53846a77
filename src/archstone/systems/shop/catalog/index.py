"""The full-text index of the catalog, as each database has one: what can be asked of it, and how it is kept.

Expressions are texts of the index's own syntax, made by `catalog.search` from the pieces here. What people typed is
in them as words only.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple, Protocol, cast

from archstone.services import Tx

__all__ = ["Entry", "Grammar", "Index", "index_of"]

_INDEXES: Final = {"sqlite": "fts5", "postgresql": "tsvector"}


class Entry(NamedTuple):
    """A version of a product, as far as it is searched."""

    id: int
    name: str
    category: str
    description: str


class Grammar(Protocol):
    """What an index can be asked for. Words are as `words.words_of` gives them, at least one."""

    def begins(self, words: Sequence[str]) -> str:
        """Return the expression of names that begin with the words."""
        ...

    def named(self, words: Sequence[str], *, growing: bool) -> str:
        """Return that of names that have all words; the last as a beginning if `growing`."""
        ...

    def anywhere(self, words: Sequence[str]) -> str:
        """Return that of products that have all words in any text, the last as a beginning."""
        ...

    def meant(self, words: Sequence[str], alike: Sequence[Sequence[str]]) -> str:
        """Return that of products that have each word, or one of those spelt alike, the last also as a beginning."""
        ...

    def without(self, expression: str, other: str) -> str:
        """Return what `expression` finds and `other` does not."""
        ...

    def within(self, category: str, expression: str) -> str:
        """Return what `expression` finds in a category, and perhaps in others of the same words."""
        ...


class Index(Grammar, Protocol):
    """The index of one database."""

    matches: str
    """Joins what an `:expression` finds, as `f`, to products, as `p`: FROM, and the beginning of WHERE."""

    async def add(self, tx: Tx, entries: Sequence[Entry]) -> None:
        """Let versions be found that were not in it."""
        ...

    async def take_out(self, tx: Tx, entries: Sequence[Entry]) -> None:
        """Let versions not be found any more; the texts must be those that were added."""
        ...


def index_of(dialect: str) -> Index:
    """Return the index of a database, by its `dialect`."""
    return cast("Index", import_module(f"archstone.systems.shop.catalog.indexes.{_INDEXES[dialect]}").INDEX)
