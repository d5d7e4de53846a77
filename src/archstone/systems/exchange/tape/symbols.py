"""How books are called: the stream knows numbers, people know symbols."""

from collections.abc import Mapping
from typing import Final

__all__ = ["Symbols"]

_MAX_BOOK: Final = 2**32 - 1


class Symbols:
    """Names of books. One that has none is called by its number."""

    def __init__(self, books: Mapping[int, str] | None = None) -> None:
        """Take the names.

        Args:
            books: Symbol by number of the book; each once.
        """
        self._symbols = dict(books or {})
        self._books = {symbol: book for book, symbol in self._symbols.items()}

    def symbol(self, book: int) -> str:
        """Return how a book is called."""
        return self._symbols.get(book, str(book))

    def book(self, symbol: str) -> int | None:
        """Return the book of a symbol; None if no book can be called so."""
        found = self._books.get(symbol)
        if found is not None:
            return found
        number = int(symbol) if symbol.isascii() and symbol.isdecimal() and len(symbol) <= 10 else _MAX_BOOK + 1
        return number if number <= _MAX_BOOK and number not in self._symbols else None
