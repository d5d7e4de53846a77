"""What a ledger is made of: entries, and transfers between the purses of accounts."""

from enum import StrEnum
from typing import Final, Literal, NamedTuple

__all__ = ["CASH", "HOUSE", "OUTSIDE", "Entry", "Kind", "Purse", "Transfer"]

OUTSIDE: Final = 0
"""The account of all that is not here: where deposits come from."""
HOUSE: Final = -1
"""The account of the exchange itself, which takes the fees."""
CASH: Final = "cash"
"""The asset that is money, in its smallest unit. Each other one is a book, by its number; its unit is a lot."""

Kind = Literal["trade", "payment", "settlement", "reversal"]


class Purse(StrEnum):
    """Parts of what an account has. The venue's cash and positions are `PENDING` and `SETTLED` together."""

    PENDING = "pending"
    """Traded, and not settled yet."""
    SETTLED = "settled"
    FEES = "fees"
    """Below 0: owed to the house. The venue does not know of it."""
    CORRECTIONS = "corrections"
    """What reversals took back of trades and payments. The venue does not know of it, either."""


class Transfer(NamedTuple):
    """So much of an asset, from one purse to another. Both legs in one, so that it sums to zero by itself."""

    from_account: int
    from_purse: Purse
    to_account: int
    to_purse: Purse
    asset: str
    amount: int
    """Above 0."""


class Entry(NamedTuple):
    """A fact, and what moved by it."""

    kind: Kind
    ref: str
    """What it is of. No two entries have the same."""
    at_us: int
    day: int
    """Trade date, days since 1970."""
    due: int
    """Settlement date, likewise."""
    transfers: tuple[Transfer, ...]
    """None where nothing moves: who trades with himself, without a fee."""
    sequence: int | None = None
    """Of the command that it came from."""
    book: int | None = None
    price: int | None = None
    lots: int | None = None
    reverses: int | None = None
    """Position of the entry that it takes back."""
    reason: str | None = None
    by: str | None = None
