"""A matching engine: price then time, integer ticks and lots. Its rules are those of Archstone's exchange.

    book = Book()                            # one book
    events = book.apply_batch(commands)      # records of 64 bytes, as `archstone.systems.exchange.matching` has them

    venue = Venue()                          # many books, and risk before them
    events = venue.apply_batch(commands, at_ns)

A batch runs without the interpreter's lock; several of either can work in several threads, each in one at a time.
"""

from archstone_matching._core import RULES, Book, Venue

__all__ = ["RULES", "Book", "Venue"]
