"""What clearing promises: what each account has, how that came about, and corrections that hide nothing."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import Contract, command, query

__all__ = [
    "AccountBalances",
    "AccountNumber",
    "AssetSum",
    "Balance",
    "Clearing",
    "NotReversibleError",
    "Statement",
    "StatementLine",
    "TrialBalance",
    "UnknownEntryError",
]

AccountNumber = Annotated[int, Field(ge=1, lt=2**32)]
"""An account of the venue."""
EntryNumber = Annotated[int, Field(ge=1, lt=2**63)]
LineMark = Annotated[int, Field(ge=0, lt=2**63 - 1)]
"""An entry: lines of later ones are meant."""
LineCount = Annotated[int, Field(ge=1, le=1_000)]
"""Lines wanted at most, in [1, 1000]."""
Reason = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]
"""Why, in words: 1 to 300 characters."""


class Value(BaseModel):
    """A model that cannot be changed once made."""

    model_config = ConfigDict(frozen=True)


class UnknownEntryError(DomainError, code="exchange.unknown-entry", status=404):
    """The ledger has no such entry."""

    def __init__(self, entry: int) -> None:
        super().__init__(entry)
        self.entry = entry

    def __str__(self) -> str:
        return f"entry {self.entry} is not in the ledger: take its number from a statement"


class NotReversibleError(DomainError, code="exchange.not-reversible", status=409):
    """An entry cannot be reversed: it has been, or it is no trade and no payment. Nothing was done."""

    def __init__(self, entry: int, why: str) -> None:
        super().__init__(entry, why)
        self.entry = entry
        self.why = why

    def __str__(self) -> str:
        return f"entry {self.entry} cannot be reversed: {self.why}"


class Balance(Value):
    """What an account has of one asset: the smallest unit of money, or lots."""

    asset: str
    """`cash`, or the number of a book."""
    pending: int
    """Traded, not settled yet. Below 0: to be delivered."""
    settled: int
    corrections: int
    """What was taken back by reversals."""
    fees: int
    """Owed to the house: below 0. Cash only."""


class AccountBalances(Value):
    """What an account has."""

    account: int
    balances: tuple[Balance, ...]
    """By asset, cash first."""
    through: int
    """Everything that commands up to this one did is in it."""


class Holding(Value):
    """So much of an asset, all purses together."""

    asset: str
    amount: int


class StatementLine(Value):
    """One movement of an account."""

    entry: int
    """Its number in the ledger."""
    line: int
    """From 1; what left one's own purse and came into another is two lines of one number."""
    kind: Literal["trade", "payment", "settlement", "reversal"]
    ref: str
    at: datetime
    trade_date: date
    settlement_date: date
    purse: Literal["pending", "settled", "fees", "corrections"]
    asset: str
    amount: int
    """Above 0: received."""
    book: int | None
    price: int | None
    lots: int | None
    reverses: int | None
    """The entry that this one takes back."""
    reason: str | None


class Statement(Value):
    """An account over one trade date."""

    account: int
    day: date
    opening: tuple[Holding, ...]
    """Before its first movement; what is zero before and after is left out."""
    closing: tuple[Holding, ...]
    """After its last one."""
    lines: tuple[StatementLine, ...]
    """Oldest first."""
    next_after: int | None
    """Give it back as `after` for the lines that follow. None: these are the last."""


class AssetSum(Value):
    """All accounts of an asset."""

    asset: str
    accounts: int
    """That have some of it, or owe some."""
    sum: int
    """Zero, or the ledger is broken."""


class TrialBalance(Value):
    """The ledger as a whole."""

    assets: tuple[AssetSum, ...]
    entries: int
    through: int
    """Everything that commands up to this one did is booked."""
    waiting: int
    """Events of the tape that came before their turn; those between are missing."""


class Clearing(Contract, version="1.0"):
    """The ledger of cash and positions."""

    @query("/clearing/accounts/{account}/balances", public=True, requires="clearing:read")
    async def balances(self, account: AccountNumber) -> AccountBalances:
        """Return what one's own account has; staff see all."""
        ...

    @query("/clearing/accounts/{account}/statement", public=True, requires="clearing:read")
    async def statement(
        self, account: AccountNumber, day: date | None = None, after: LineMark | None = None, limit: LineCount = 100
    ) -> Statement:
        """Return the movements of one's own account on a trade date, by default today; staff see all."""
        ...

    @query("/clearing/trial-balance", public=True, requires="clearing:read-any")
    async def trial_balance(self) -> TrialBalance:
        """Return the sums of all accounts, which are zero."""
        ...

    @command(
        "/clearing/entries/{entry}/reversal",
        public=True,
        requires="clearing:correct",
        raises=(UnknownEntryError, NotReversibleError),
    )
    async def reverse(self, entry: EntryNumber, reason: Reason) -> int:
        """Take back a trade or a payment, once, and return the number of the entry that does so.

        The venue does not hear of it: what it is to know comes to it as a payment, or as trades.
        """
        ...
