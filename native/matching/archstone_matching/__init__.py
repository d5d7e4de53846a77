"""A matching engine: one book, price then time, integer ticks and lots. Its rules are those of Archstone's exchange.

    book = Book()
    events = book.apply_batch(commands)      # records of 64 bytes, as `archstone.systems.exchange.matching` has them

A batch runs without the interpreter's lock; several books can work in several threads, one book in one at a time.
"""

from archstone_matching._core import Book

__all__ = ["Book"]
