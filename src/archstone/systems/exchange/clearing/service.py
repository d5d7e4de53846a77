"""Clearing: books what the tape tells, settles what is due, and answers for it.

An event of the tape is booked in the transaction in which the inbox notes it, and a trade that is in the ledger is not
booked again, whatever brought it. The order in which events come does not matter: each holds all that it needs.
"""

from datetime import date
from typing import Final, NamedTuple

from archstone import world
from archstone.security import AUDIT_SCHEMA, Audits
from archstone.services import Service, every, on
from archstone.systems.exchange.clearing import statements
from archstone.systems.exchange.clearing.contract import (
    AccountBalances,
    Clearing,
    NotReversibleError,
    Statement,
    TrialBalance,
    UnknownEntryError,
)
from archstone.systems.exchange.clearing.fees import FeeSchedule
from archstone.systems.exchange.clearing.ledger import Ledger
from archstone.systems.exchange.clearing.owners import STAFF_ONLY, AccountRule
from archstone.systems.exchange.clearing.postings import entry_of_carried, entry_of_payment, entry_of_trade, reversal_of
from archstone.systems.exchange.clearing.settlement import Settlement
from archstone.systems.exchange.tape.events import FactsTold

__all__ = ["ClearingService"]

_SETTLED_TOGETHER: Final = 5_000
_SWEEP_S: Final = 3600.0
_NEXT: Final = "SELECT number, through FROM early WHERE number = :number"


class _Progress(NamedTuple):
    number: int
    through: int


class _Reversible(NamedTuple):
    kind: str
    reversed: int | None


class ClearingService(Service, Clearing, name="clearing"):
    """Keeps `Clearing`."""

    fees: FeeSchedule = FeeSchedule()
    settlement: Settlement = Settlement()
    owners: AccountRule = STAFF_ONLY
    audits: Audits = Audits("sqlite:///audit.db")
    """Corrections are on record beside the ledger; without a key and an anchor given, their chain has none."""

    schemas = (AUDIT_SCHEMA,)

    @on(FactsTold)
    async def book(self, event: FactsTold) -> None:
        """Book trades and payments, and note how far the ledger is."""
        values = dict(event.values)
        trades = [
            entry_of_trade(trade, values[trade.book], fees=self.fees, settlement=self.settlement)
            for trade in event.trades
        ]
        others = [*map(entry_of_payment, event.payments), *map(entry_of_carried, event.carried)]
        await Ledger(self.tx).book([*trades, *others])
        await self._note(event)

    async def _note(self, event: FactsTold) -> None:
        """Note that an event is booked, and go on over those that came before it was their turn."""
        at = await self.tx.one(_Progress, "SELECT number, through FROM progress")
        if event.number <= at.number:
            return
        await self.tx.execute(
            "INSERT INTO early (number, through) VALUES (:number, :through) ON CONFLICT DO NOTHING",
            number=event.number, through=event.through,
        )  # fmt: skip
        while (found := await self.tx.first(_Progress, _NEXT, number=at.number + 1)) is not None:
            at = found
        await self.tx.execute("DELETE FROM early WHERE number <= :number", number=at.number)
        await self.tx.execute("UPDATE progress SET number = :number, through = :through", **at._asdict())

    @every(5.0)
    async def settle(self) -> None:
        """Settle what is due, at most 5,000 accounts' assets in one transaction."""
        today = self.settlement.today(world.now())
        await Ledger(self.tx).settle(today, at_us=world.now_us(), limit=_SETTLED_TOGETHER)

    @every(_SWEEP_S)
    async def forget_records(self) -> None:
        """Delete audit records whose time is over."""
        await self.audits.of(self.db, self.name).sweep(self.tx)

    async def balances(self, account: int) -> AccountBalances:
        if not self._sees(account):
            return AccountBalances(account=account, balances=(), through=0)
        async with self.db.snapshot() as view:
            return await statements.balances_of(view, account)

    async def statement(
        self, account: int, day: date | None = None, after: int | None = None, limit: int = 100
    ) -> Statement:
        day = day or world.now().date()
        if not self._sees(account):
            return Statement(account=account, day=day, opening=(), closing=(), lines=(), next_after=None)
        async with self.db.snapshot() as view:
            return await statements.statement_of(view, account, day, after=after or 0, limit=limit)

    async def trial_balance(self) -> TrialBalance:
        async with self.db.snapshot() as view:
            return await statements.trial_balance(view)

    async def reverse(self, entry: int, reason: str) -> int:
        found = await self.tx.first(
            _Reversible,
            "SELECT kind, (SELECT position FROM entries WHERE reverses = :entry) AS reversed"
            " FROM entries WHERE position = :entry",
            entry=entry,
        )
        if found is None:
            raise UnknownEntryError(entry)
        if found.reversed is not None:
            raise NotReversibleError(entry, f"entry {found.reversed} has done so")
        if found.kind not in {"trade", "payment"}:
            raise NotReversibleError(entry, f"it is a {found.kind}: only trades and payments are facts of their own")
        ledger = Ledger(self.tx)
        transfers = await ledger.transfers(entry)
        at_us = world.now_us()
        await ledger.add([reversal_of(entry, transfers, at_us=at_us, reason=reason, by=self.principal.id)])
        await self.audits.of(self.db, self.name).record(
            "clearing.reversed", subject=str(entry), details={"reason": reason}, tx=self.tx
        )
        return await self.tx.one(int, "SELECT position FROM entries WHERE reverses = :entry", entry=entry)

    def _sees(self, account: int) -> bool:
        """Whether who asks may see an account. Others learn nothing of it: it is empty, as one that is not there."""
        return self.allows(self.owners, account, name=str(account))
