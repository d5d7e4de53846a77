"""The desk as a service: it keeps what `contract` and `risk` promise, from the floor, and through the sequencer."""

# ruff: noqa: FBT001, FBT002 - as the contracts have it

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from heapq import nlargest
from typing import Final

from archstone.context import Principal
from archstone.errors import DeniedError
from archstone.security import Audits, Tokens
from archstone.services import Service
from archstone.systems.exchange.accounts.programs import Programs
from archstone.systems.exchange.desk import contract, showing
from archstone.systems.exchange.desk.entry import Entry, Wish
from archstone.systems.exchange.desk.floor import Floor, rows
from archstone.systems.exchange.desk.gates import Gates, open_gates
from archstone.systems.exchange.desk.ledger import Account, Order
from archstone.systems.exchange.desk.risk import (
    AccountRisk,
    AccountRiskPage,
    PhaseRefusedError,
    Risk,
    UnknownAccountError,
)
from archstone.systems.exchange.desk.words import LIMITS, PHASES, SIDES, LimitWord, PhaseWord, SideWord
from archstone.systems.exchange.matching import Command, Kind, Told

__all__ = ["DeskService"]

_TRADES: Final = "orders:write"


class DeskService(Service, contract.Quotes, contract.Trading, Risk, name="desk"):
    """Keeps `Quotes`, `Trading` and `Risk`. It has no tables: what it shows is read from the sequencer's stream."""

    floor: Floor
    gates: Gates
    tokens: Tokens
    programs: Programs
    audits: Audits

    def companions(self) -> Sequence[AbstractAsyncContextManager[object]]:
        """Return what lets programs in besides HTTP."""
        return (open_gates(self.gates, self.floor, self._identified),)

    # Quotes

    async def instruments(self) -> contract.InstrumentPage:
        shown = [showing.instrument(each, self.floor) for each in self.floor.instruments.all]
        return contract.InstrumentPage(items=tuple(shown))

    async def depth(self, symbol: str, levels: int = 20) -> contract.Depth:
        return showing.depth(symbol, self.floor.feed.depth(self._entry.instrument(symbol).book, levels=levels))

    async def trades(self, symbol: str, limit: int = 100) -> contract.TradePage:
        newest = self.floor.feed.trades(self._entry.instrument(symbol).book)[::-1][:limit]
        return contract.TradePage(items=tuple(map(showing.trade, newest)))

    async def candles(self, symbol: str, step_s: int = 60) -> contract.CandlePage:
        found = self.floor.feed.candles(self._entry.instrument(symbol).book, step_s)
        return contract.CandlePage(items=tuple(map(showing.candle, found)))

    async def latency(self) -> contract.LatencyPage:
        return contract.LatencyPage(items=self.floor.clocks.told())

    # Trading

    async def place(self, order: contract.NewOrder) -> contract.Outcome:
        return self._outcome(*await self._entry.place(await self._mine(), order))

    async def cancel(self, number: int) -> contract.Outcome:
        return self._outcome(*await self._entry.cancel(await self._mine(), number))

    async def replace(self, number: int, quantity: int, price: int | None = None) -> contract.Outcome:
        return self._outcome(*await self._entry.replace(await self._mine(), number, quantity=quantity, price=price))

    async def cancel_all(self, symbol: str | None = None, side: SideWord | None = None) -> contract.OrderPage:
        _, canceled = await self._entry.cancel_all(await self._mine(), symbol, side)
        return self._page(canceled)

    async def orders(self, symbol: str | None = None, ended: bool = False) -> contract.OrderPage:
        owner = self._entry.account(await self._mine())
        found = [*owner.ended] if ended else [*owner.live.values()]
        about = None if symbol is None else self.floor.instruments.named(symbol)
        return self._page([each for each in found if symbol is None or (about and each.book == about.book)])

    async def order(self, number: int) -> contract.Order:
        found = self._entry.order(await self._mine(), number)
        return showing.order(found, self._entry.symbol(found.book))

    async def fills(self, limit: int = 100) -> contract.FillPage:
        newest = [*reversed(self._entry.account(await self._mine()).fills)][:limit]
        return contract.FillPage(items=tuple(showing.fill(each, self._entry.symbol(each.book)) for each in newest))

    async def portfolio(self) -> contract.Portfolio:
        return showing.portfolio(self._entry.account(await self._mine()), self.floor)

    async def limits(self) -> contract.Limits:
        return showing.limits(self._entry.account(await self._mine()))

    async def most(
        self, symbol: str, side: SideWord, price: int | None = None, trigger: int | None = None
    ) -> contract.Most:
        wish = Wish(self._entry.instrument(symbol), SIDES[side], price, trigger or 0)
        return self._entry.most(await self._mine(), wish)

    # Risk

    async def accounts(self, limit: int = 100) -> AccountRiskPage:
        board = self.floor.board
        largest = nlargest(limit, board.accounts.values(), key=lambda owner: showing.exposure(owner, board))
        return AccountRiskPage(killed=board.killed, items=tuple(map(self._risk, largest)), total=len(board.accounts))

    async def account(self, account: int) -> AccountRisk:
        return self._risk(self._known(account))

    async def account_orders(self, account: int) -> contract.OrderPage:
        return self._page([*self._known(account).live.values()])

    async def set_limit(self, account: int, limit: LimitWord, to: int, reason: str = "") -> AccountRisk:
        self._known(account)
        await self._recorded("risk.limit", str(account), {"limit": limit, "to": to, "reason": reason})
        await self.floor.submit(rows([Command(Kind.LIMIT, account=account, type=LIMITS[limit], quantity=to)]))
        return await self.account(account)

    async def kill(self, account: int, on: bool = True, reason: str = "") -> AccountRisk:
        self._known(account)
        await self._recorded("risk.kill", str(account), {"on": on, "reason": reason})
        await self.floor.submit(rows([Command(Kind.KILL, account=account, type=int(on))]))
        return await self.account(account)

    async def kill_all(self, on: bool = True, reason: str = "") -> AccountRiskPage:
        await self._recorded("risk.kill-all", "everybody", {"on": on, "reason": reason})
        await self.floor.submit(rows([Command(Kind.KILL, type=int(on))]))
        return await self.accounts()

    async def enter(self, symbol: str, phase: PhaseWord, reason: str = "") -> contract.Instrument:
        about = self._entry.instrument(symbol)
        await self._recorded("risk.phase", symbol, {"phase": phase, "reason": reason})
        batch = await self.floor.submit(rows([Command(Kind.PHASE, type=PHASES[phase])], book=about.book))
        if Told.REJECTED in batch.events["kind"].tolist():
            raise PhaseRefusedError(symbol, phase)
        return showing.instrument(about, self.floor)

    # What all of them need

    @property
    def _entry(self) -> Entry:
        return Entry(self.floor)

    async def _identified(self, credential: str) -> int:
        """Return the account that an API key, or a token, stands for; it must be good for orders.

        Raises:
            DeniedError: It stands for none, or not for orders.
        """
        found = self.programs.verify(lambda text: self.tokens.verify(text).principal)(credential)
        who = found if isinstance(found, Principal) else await found
        if who.scopes is not None and _TRADES not in who.scopes:
            raise DeniedError(f"the key was not given {_TRADES}")
        await self.floor.open_account(int(who.id))
        return int(who.id)

    async def _mine(self) -> int:
        """Return the account of who asks; the venue knows it from now on."""
        account = int(self.principal.id)
        await self.floor.open_account(account)
        return account

    def _known(self, account: int) -> Account:
        found = self.floor.board.accounts.get(account)
        if found is None:
            raise UnknownAccountError(account)
        return found

    def _outcome(self, sequence: int, order: Order) -> contract.Outcome:
        return contract.Outcome(sequence=sequence, order=showing.order(order, self._entry.symbol(order.book)))

    def _page(self, orders: list[Order]) -> contract.OrderPage:
        newest = sorted(orders, key=lambda each: -each.number)
        return contract.OrderPage(items=tuple(showing.order(each, self._entry.symbol(each.book)) for each in newest))

    def _risk(self, owner: Account) -> AccountRisk:
        return AccountRisk(
            portfolio=showing.portfolio(owner, self.floor), limits=showing.limits(owner), orders=len(owner.live)
        )

    async def _recorded(self, action: str, subject: str, details: dict[str, object]) -> None:
        """Put on record who is about to do what, before it is done: what cannot be recorded is not done."""
        await self.audits.system.record(action, subject=subject, details=details)
