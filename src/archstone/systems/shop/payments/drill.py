"""Looking at the line to the bank, and turning the embedded bank bad, to see what the shop makes of it.

For operators, as killing the process is (`archstone up --chaos`): by the page `/admin/bank`, or
`archstone call shop BankDrill.turn mode=slow`. A shop whose money somebody else moves has nothing to turn.
"""

from typing import Annotated, Literal

from pydantic import Field

from archstone.errors import DomainError
from archstone.services import Contract, command, query
from archstone.systems.shop.payments.conduct import Mode
from archstone.systems.shop.values import Value

__all__ = ["BankDrill", "BankState", "NoDrillError"]

Count = Annotated[int, Field(ge=0)]


class NoDrillError(DomainError, code="payments.no-drill", status=409):
    """The shop's money is not moved by the embedded bank. Nothing was turned."""

    def __str__(self) -> str:
        return "the bank of this shop is somebody else's, and cannot be turned: leave the option `payments` at `bank`"


class BankState(Value):
    """How the bank behaves, and how the line to it is."""

    mode: Mode | None
    """None: it is not the embedded one, and does as it likes."""
    calls: Count | None
    """Calls that reached the embedded bank since the start."""
    circuit: Literal["closed", "open", "half open"]
    failures: Count
    """In a row, while the circuit is closed."""
    opened: Count
    """Times that it has opened since the start, as all counts here."""
    refused: Count
    """Calls that were not made because it was open."""
    trial_in_s: Annotated[float, Field(ge=0)]
    """Seconds until one call is let through to try; 0: calls are let through."""
    in_flight: Count
    waiting: Count
    """Calls that wait for a place."""
    retried: Count
    """Charges asked for again."""
    over_budget: Count
    """Those that were not, for want of budget."""


class BankDrill(Contract, version="1.0"):
    """The bank for operators."""

    @query("/bank", requires="bank:drill")
    async def bank(self) -> BankState:
        """Return how the bank behaves, and how the line to it is."""
        ...

    @command("/bank/mode", requires="bank:drill", raises=(NoDrillError,), record=False)
    async def turn(self, mode: Mode) -> BankState:
        """Have the embedded bank behave so, from the next call on and after the next start."""
        ...
