"""Which number a new account gets: never one that the venue knows already.

The accounts of people are in the database of this exchange, what they hold is in the commands. Where the database is
lost, or another exchange goes on with the same nodes, who comes first must not find himself with somebody's money.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

__all__ = ["FIRST_NUMBER", "LAST_NUMBER", "Numbers"]

FIRST_NUMBER: Final = 1001
LAST_NUMBER: Final = 101_000
"""A hundred thousand accounts, all of them in memory; numbers below and above are for the house."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Those that people may be given."""

    used: int = FIRST_NUMBER - 1
    """The highest that the venue knew when the exchange was started."""

    @classmethod
    def beside(cls, known: Iterable[int]) -> Self:
        """Return those that are left beside the accounts of a venue."""
        return cls(max((each for each in known if FIRST_NUMBER <= each <= LAST_NUMBER), default=FIRST_NUMBER - 1))
