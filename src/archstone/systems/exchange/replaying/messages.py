"""What historical files tell of a book, whatever their format: one kind of record for all.

Which fields a kind uses; all others are 0:

    ADDED       book id side price quantity     a visible order
    REDUCED     book id quantity                so many lots of it are cancelled; it keeps its place
    DELETED     book id                         the rest of it is cancelled
    EXECUTED    book id quantity                so many lots of it traded, at its price
    PRICED      book id quantity price          so many lots of it traded, at another price
    REPLACED    book id other quantity price    it is gone, and `other` stands at the end of its queue instead
    HIDDEN      book side price quantity        a trade with an order that nobody saw
    CROSSED     book price quantity             an auction
    ACTION      book state                      T: trading; Q: only quoting; H, P: halted
    LISTED      book                            a book of that number is there
    OTHER       book state                      nothing about an order; `state` is the letter of its type

`quantity` and `price` of REDUCED, DELETED and EXECUTED, and their `side`, are there where the format has them: a file
that begins in the middle of a day speaks of orders that it has not told of.
"""

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from archstone.errors import InvalidError

__all__ = ["MESSAGE", "DamagedFileError", "Happened", "Messages", "empty"]


class Happened(IntEnum):
    """What a message tells."""

    ADDED = 1
    REDUCED = 2
    DELETED = 3
    EXECUTED = 4
    PRICED = 5
    REPLACED = 6
    HIDDEN = 7
    CROSSED = 8
    ACTION = 9
    LISTED = 10
    OTHER = 11


MESSAGE: Final = np.dtype(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("state", "u1"),
        ("spare", "u1"),
        ("book", "<u4"),
        ("at_ns", "<i8"),
        ("id", "<u8"),
        ("other", "<u8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
    ]
)
"""A message; `at_ns` since midnight, prices in 1/10,000 of the currency, which is the tick, quantities in shares."""

Messages = npt.NDArray[np.void]
"""Of `MESSAGE`, shape (n,), in the order of the file."""


def empty(count: int) -> Messages:
    """Return so many messages with nothing in them."""
    return np.zeros(count, MESSAGE)


class DamagedFileError(InvalidError, code="exchange.damaged-file"):
    """A file is not what its format says. What came before the place has been read."""

    def __init__(self, file: str, place: str, fault: str) -> None:
        super().__init__(file, place, fault)
        self.file = file
        self.place = place
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.fault}; fetch the file again, or cut it before that place"
