"""What the desk promises to who watches over risk: limits, halts, kill switches, and all accounts at a glance.

Who changes something is on record before it is done: `archstone audit exchange --action risk`.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import Contract, command, query
from archstone.systems.exchange.desk.contract import (
    Instrument,
    Limits,
    OrderPage,
    Portfolio,
    Symbol,
    UnknownInstrumentError,
    Value,
)
from archstone.systems.exchange.desk.words import LimitWord, PhaseWord

__all__ = [
    "AccountNumber",
    "AccountRisk",
    "AccountRiskPage",
    "PhaseRefusedError",
    "Reason",
    "Risk",
    "UnknownAccountError",
]

AccountNumber = Annotated[int, Field(ge=1, le=2**32 - 1)]
Reason = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
"""Why, for the record."""


class UnknownAccountError(DomainError, code="exchange.unknown-account", status=404):
    """The exchange knows no such account."""

    def __init__(self, account: int) -> None:
        super().__init__(account)
        self.account = account

    def __str__(self) -> str:
        return f"account {self.account} has never been here: GET /risk/accounts lists those that have"


class PhaseRefusedError(DomainError, code="exchange.phase-refused", status=409):
    """The book cannot go from its phase to the one asked for."""

    def __init__(self, symbol: str, phase: str) -> None:
        super().__init__(symbol, phase)
        self.symbol = symbol
        self.phase = phase

    def __str__(self) -> str:
        return f"{self.symbol} cannot become {self.phase} from where it is: after a halt comes an auction, then trading"


class AccountRisk(Value):
    """An account, as who watches over risk sees it."""

    portfolio: Portfolio
    limits: Limits
    orders: int
    """That work or sleep."""


class AccountRiskPage(Value):
    """Accounts, the largest exposure first, and whether everybody is stopped."""

    killed: bool
    items: tuple[AccountRisk, ...]
    total: int
    """Accounts there are."""


class Risk(Contract, version="1.0"):
    """For who watches over risk."""

    @query("/risk/accounts", public=True, requires="risk:read")
    async def accounts(self, limit: Annotated[int, Field(ge=1, le=500)] = 100) -> AccountRiskPage:
        """Return the accounts with the largest exposures."""
        ...

    @query("/risk/accounts/{account}", public=True, requires="risk:read", raises=(UnknownAccountError,))
    async def account(self, account: AccountNumber) -> AccountRisk:
        """Return one account."""
        ...

    @query("/risk/accounts/{account}/orders", public=True, requires="risk:read", raises=(UnknownAccountError,))
    async def account_orders(self, account: AccountNumber) -> OrderPage:
        """Return the orders of an account that work."""
        ...

    @command(
        "/risk/accounts/{account}/limits", method="PUT", public=True, requires="risk:write",
        raises=(UnknownAccountError,), record=False, key_required=False,
    )  # fmt: skip
    async def set_limit(
        self, account: AccountNumber, limit: LimitWord, to: Annotated[int, Field(ge=0, le=10**15)], reason: Reason = ""
    ) -> AccountRisk:
        """Bind an account to another limit from now on; orders that work are left alone."""
        ...

    @command(
        "/risk/accounts/{account}/kill", public=True, requires="risk:write", raises=(UnknownAccountError,),
        record=False, key_required=False,
    )  # fmt: skip
    async def kill(self, account: AccountNumber, on: bool = True, reason: Reason = "") -> AccountRisk:  # noqa: FBT001, FBT002
        """Cancel all orders of an account and refuse new ones; `on` false: take them again."""
        ...

    @command("/risk/kill", public=True, requires="risk:write", record=False, key_required=False)
    async def kill_all(self, on: bool = True, reason: Reason = "") -> AccountRiskPage:  # noqa: FBT001, FBT002
        """Cancel all orders of everybody and refuse new ones; `on` false: take them again."""
        ...

    @command(
        "/risk/instruments/{symbol}/phase", method="PUT", public=True, requires="risk:write",
        raises=(UnknownInstrumentError, PhaseRefusedError), record=False, key_required=False,
    )  # fmt: skip
    async def enter(self, symbol: Symbol, phase: PhaseWord, reason: Reason = "") -> Instrument:
        """Halt an instrument, open it by an auction, or close it."""
        ...
