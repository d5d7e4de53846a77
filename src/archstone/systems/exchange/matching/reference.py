"""The matching engine in plain Python: what the rules are. It is the oracle for every faster one.

One book, one instrument, price then time. Each command is done whole before the next one; what follows from it (the
stops that its trades wake, and those that these wake) belongs to it. Nothing here reads a clock or draws lots: the same
commands give the same events.

The rules where venues differ:
- A trade is at the price of the order that was there first.
- An iceberg's next part goes to the end of its queue. All of it counts for FOK and in auctions; one that an auction
  fills in part shows its next part then, whatever of the last one was left.
- A replaced order keeps its place if its price stays and its quantity does not grow; else it arrives anew.
- FOK looks at whole prices: an order of its own account at a price that it needs kills it, unless it cancels makers.
- A PROTECTED market order waits for an auction at its price, among the others, and bands do not touch it.
- Stops wake by any trade, in the order nearest trigger first, buys before sells, and then one after another. After a
  trade that is to halt the book (`watch` says so) none wakes: those that were touched sleep on. When trading begins
  again those wake that the auction before it touches, or the last trade where it had none.
- A band cancels what lies outside it, so that there is never a trade outside.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from archstone.systems.exchange.matching.arrays import Commands, Events, applied
from archstone.systems.exchange.matching.auction import crossing
from archstone.systems.exchange.matching.book import Half, Order, Sleeping
from archstone.systems.exchange.matching.checks import fault_of
from archstone.systems.exchange.matching.commands import (
    MAX_PRICE,
    MAX_QUANTITY,
    Command,
    Flag,
    Kind,
    Phase,
    SelfTrade,
    Side,
    TimeInForce,
    Type,
)
from archstone.systems.exchange.matching.digest import digest_of
from archstone.systems.exchange.matching.events import Event, Reason, Told

__all__ = ["MOVES", "ReferenceEngine"]

MOVES: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.CONTINUOUS: frozenset({Phase.AUCTION, Phase.HALTED, Phase.CLOSED}),
    Phase.AUCTION: frozenset({Phase.CONTINUOUS, Phase.HALTED, Phase.CLOSED}),
    Phase.HALTED: frozenset({Phase.AUCTION, Phase.CLOSED}),
    Phase.CLOSED: frozenset({Phase.AUCTION}),
}
"""Which phase may follow which. What was halted opens by an auction: its orders may cross by then."""


class ReferenceEngine:
    """One book."""

    def __init__(self, *, phase: Phase = Phase.CONTINUOUS) -> None:
        self.phase = phase
        self.last = 0
        """The price of the last trade. 0: there was none."""
        self.reference = 0
        """What an auction stays near: the last trade, or what was said since."""
        self.band = (0, 0)
        self._halves = {Side.BUY: Half(Side.BUY), Side.SELL: Half(Side.SELL)}
        self._sleeping = {Side.BUY: Sleeping(Side.BUY), Side.SELL: Sleeping(Side.SELL)}
        self._live: dict[int, Order] = {}
        self._woken: deque[Order] = deque()
        self._low = self._high = 0
        """Of the trades since stops were last woken. 0: there was none."""
        self.watch: Callable[[int, int], bool] = _goes_on
        """Is told price and aggressor of each trade as it happens, and returns whether the book is to halt for it."""
        self._stopped = False
        self._told: list[Event] = []
        self._verbs: dict[int, Callable[[Command], None]] = {
            Kind.NEW: self._new,
            Kind.CANCEL: self._cancel,
            Kind.REPLACE: self._replace,
            Kind.MASS_CANCEL: self._mass_cancel,
            Kind.PHASE: self._enter,
            Kind.BAND: self._set_band,
            Kind.REFERENCE: self._refer,
        }

    def apply(self, command: Command) -> list[Event]:
        """Do one command and return all that came of it. Never raises: what cannot be done is rejected."""
        self._told, self._stopped = [], False
        verb = self._verbs.get(command.kind)
        if verb is None:
            self._reject(command, Reason.FIELD)
        else:
            verb(command)
            self._wake()
        return self._told

    def apply_batch(self, commands: Commands) -> Events:
        """Do commands, shape (n,), one after another, and return all that came of them, shape (m,)."""
        return applied(self.apply, commands)

    def digest(self) -> int:
        """Return 64 bits that two books share if all that decides about their future is the same."""
        words = (self.phase, self.last, self.reference, *self.band)
        return digest_of(words, self.queues())

    def depth(self, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best `levels` prices of a side: price, lots shown, orders."""
        half = self._halves[side]
        found = [(price, [*half.at(price)]) for price, _ in zip(half.prices(), range(levels), strict=False)]
        return [(price, sum(order.shown for order in orders), len(orders)) for price, orders in found]

    def __len__(self) -> int:
        """Count the live orders, sleeping stops too."""
        return len(self._live)

    # What a venue needs besides

    def find(self, id: int) -> Order | None:
        """Return a live order."""
        return self._live.get(id)

    def sweep(self, account: int, reason: Reason) -> list[Event]:
        """Cancel all orders of an account, or everybody's if it is 0, and return what came of it."""
        self._told = []
        self._drop_all([each for each in self._all() if account in {0, each.account}], reason)
        return self._told

    def queues(self) -> tuple[list[Order], ...]:
        """Return the orders that buy, those that sell, and the stops of either: each as they trade, or wake."""
        return tuple([*queue] for queue in (*self._halves.values(), *self._sleeping.values()))

    def restore(self, queues: Sequence[Iterable[Order]]) -> None:
        """Put orders, as `queues` gives them, into this empty book."""
        for queue, orders in zip((*self._halves.values(), *self._sleeping.values()), queues, strict=True):
            for order in orders:
                queue.add(order)
                self._live[order.id] = order

    # New orders

    def _new(self, command: Command) -> None:
        reason = fault_of(command) or self._refusal(command)
        if reason:
            self._reject(command, reason)
            return
        order = Order(*command[1:8], command.price, command.quantity, command.display, command.trigger)
        self._live[order.id] = order
        self._tell(Told.ACCEPTED, order, price=order.price, quantity=order.left)
        if not order.trigger:
            self._arrive(order)
            return
        self._sleeping[Side(order.side)].add(order)
        if self.phase == Phase.CONTINUOUS and self.last:
            self._low = self._high = self.last

    def _refusal(self, command: Command) -> Reason:
        """Return why the book does not take an order whose fields are right."""
        if self.phase in {Phase.HALTED, Phase.CLOSED}:
            return Reason.PHASE
        at_once = command.tif in {TimeInForce.IOC, TimeInForce.FOK}
        if self.phase == Phase.AUCTION and at_once and not command.trigger:
            return Reason.PHASE
        if command.id in self._live:
            return Reason.DUPLICATE
        return self._misplaced(command.side, command.price, command.flags)

    def _misplaced(self, side: int, price: int, flags: int) -> Reason:
        low, high = self.band
        if price and high and not low <= price <= high and not flags & Flag.PROTECTED:
            return Reason.BAND
        if flags & Flag.POST_ONLY and self.phase == Phase.CONTINUOUS:
            other = self._other(side)
            if other.best is not None and other.crosses(other.best, price):
                return Reason.POST_ONLY
        return Reason.NONE

    def _arrive(self, order: Order) -> None:
        """Match what can be matched, and let the rest wait, or cancel it."""
        if self.phase == Phase.CONTINUOUS:
            if order.tif == TimeInForce.FOK and not self._fills(order):
                self._drop(order, Reason.NOT_IN_FULL)
                return
            self._match(order)
            if order.id not in self._live:
                return
            if order.type == Type.MARKET or order.tif == TimeInForce.IOC:
                self._drop(order, Reason.UNFILLED)
                return
        self._rest(order, Told.RESTED)

    def _rest(self, order: Order, told: Told) -> None:
        order.show()
        self._halves[Side(order.side)].add(order)
        self._tell(told, order, price=order.price, quantity=order.shown, left=order.left)

    # Matching

    def _fills(self, order: Order) -> bool:
        """Return whether an order would be filled in full, without touching anything."""
        other, found = self._other(order.side), 0
        for price in other.prices():
            if found >= order.left or not other.crosses(price, order.price):
                break
            for maker in other.at(price):
                if not self._is_self_trade(order, maker):
                    found += maker.left
                elif order.stp != SelfTrade.CANCEL_MAKER:
                    return False
        return found >= order.left

    def _is_self_trade(self, taker: Order, maker: Order) -> bool:
        return taker.stp != SelfTrade.NONE and taker.account == maker.account

    def _match(self, taker: Order) -> None:
        other = self._other(taker.side)
        while taker.left and other.best is not None and other.crosses(other.best, taker.price):
            maker = other.first(other.best)
            if self._is_self_trade(taker, maker):
                if taker.stp != SelfTrade.CANCEL_TAKER:
                    other.remove(maker)
                    self._drop(maker, Reason.SELF_TRADE)
                if taker.stp != SelfTrade.CANCEL_MAKER:
                    self._drop(taker, Reason.SELF_TRADE)
                    return
                continue
            lots = min(taker.left, maker.shown)
            self._trade(taker, maker, maker.price, lots, taker.side)
            if not maker.shown:
                other.remove(maker)
                if maker.left:
                    self._rest(maker, Told.REFRESHED)

    def _trade(self, one: Order, other: Order, price: int, lots: int, aggressor: int) -> None:
        """Book a trade. Who has nothing left is live no more; its place in a queue is the caller's to clear."""
        for order in (one, other):
            order.left -= lots
            order.shown -= lots
            if not order.left:
                del self._live[order.id]
        self.last = self.reference = price
        self._low, self._high = min(self._low or price, price), max(self._high, price)
        self._stopped |= self.watch(price, aggressor)
        told = Event(Told.TRADED, one.id, other.id, one.account, other.account, aggressor, 0, price, lots)
        self._told.append(told._replace(left=one.left, other_left=other.left))

    def _wake(self) -> None:
        """Let stops that trades have touched arrive, until none is left or the book is to halt."""
        while self.phase == Phase.CONTINUOUS and not self._stopped:
            if self._high:
                self._woken += self._sleeping[Side.BUY].woken(self._high)
                self._woken += self._sleeping[Side.SELL].woken(self._low)
            self._low = self._high = 0
            if not self._woken:
                return
            order = self._woken.popleft()
            self._tell(Told.TRIGGERED, order, price=order.trigger)
            order.trigger = 0
            self._arrive(order)
        for order in self._woken:  # at each trigger all or none are here: their order stays as it was
            self._sleeping[Side(order.side)].add(order)
        self._woken.clear()
        self._low = self._high = 0

    # Changing and cancelling

    def _cancel(self, command: Command) -> None:
        order = self._of(command)
        if order is None:
            self._reject(command, Reason.UNKNOWN)
        else:
            self._take_out(order)
            self._drop(order, Reason.USER)

    def _replace(self, command: Command) -> None:
        order = self._of(command)
        reason = Reason.UNKNOWN if order is None else self._irreplaceable(order, command)
        if order is None or reason:
            self._reject(command, reason)
            return
        keeps = order.trigger or (command.price == order.price and command.quantity <= order.left)
        if not keeps:
            self._take_out(order)
        order.price, order.left = command.price, command.quantity
        self._tell(Told.REPLACED, order, price=order.price, quantity=order.left, other=bool(keeps))
        if not keeps:
            self._arrive(order)
        elif not order.trigger:
            order.shown = min(order.shown, order.left)

    def _irreplaceable(self, order: Order, command: Command) -> Reason:
        if self.phase in {Phase.HALTED, Phase.CLOSED}:
            return Reason.PHASE
        if not 0 < command.quantity <= MAX_QUANTITY or not 0 <= command.price <= MAX_PRICE:
            return Reason.FIELD
        if bool(command.price) != bool(order.price):
            return Reason.FIELD
        return self._misplaced(order.side, command.price, order.flags)

    def _mass_cancel(self, command: Command) -> None:
        if command.account <= 0 or command.side not in {0, Side.BUY, Side.SELL}:
            self._reject(command, Reason.FIELD)
            return
        sides = {command.side} if command.side else {*Side}
        found = [each for each in self._all() if each.account == command.account and each.side in sides]
        self._drop_all(found, Reason.MASS)
        self._told.append(Event(Told.SWEPT, account=command.account, quantity=len(found)))

    def _all(self) -> Iterator[Order]:
        """Give all live orders: those in the book as they trade, buys before sells, and then the stops as they wake."""
        return chain(*self._halves.values(), *self._sleeping.values())

    def _drop_all(self, orders: list[Order], reason: Reason) -> None:
        for order in orders:
            self._take_out(order)
            self._drop(order, reason)

    # The book as a whole

    def _enter(self, command: Command) -> None:
        if command.type not in {*Phase}:
            self._reject(command, Reason.FIELD)
            return
        phase = Phase(command.type)
        if phase not in MOVES[self.phase]:
            self._reject(command, Reason.PHASE)
            return
        if self.phase == Phase.AUCTION and phase != Phase.HALTED:
            self._uncross()
        self.phase = phase
        self._told.append(Event(Told.PHASED, quantity=phase))
        if phase == Phase.CLOSED:
            self._drop_all([each for each in self._all() if each.tif == TimeInForce.DAY], Reason.DAY)
        if phase == Phase.CONTINUOUS and self.last:
            self._low, self._high = self._low or self.last, self._high or self.last

    def _uncross(self) -> None:
        """Trade all that can trade at one price, and cancel what has no price of its own and found nobody."""
        buys, sells = self._halves.values()
        cross = crossing(buys, sells, self.reference)
        if cross is not None and not self._is_outside(cross.price):
            self._told.append(Event(Told.UNCROSSED, price=cross.price, quantity=cross.volume, left=cross.surplus))
            self._cross(iter([*buys]), iter([*sells]), cross.price, cross.volume)
        self._drop_all([each for each in chain(buys, sells) if each.type == Type.MARKET], Reason.UNFILLED)

    def _is_outside(self, price: int) -> bool:
        low, high = self.band
        return bool(high) and not low <= price <= high

    def _cross(self, buys: Iterator[Order], sells: Iterator[Order], price: int, volume: int) -> None:
        """Trade `volume` lots at `price`, in the order of both queues."""
        buy, sell = next(buys), next(sells)
        while volume:
            lots = min(buy.left, sell.left, volume)
            volume -= lots
            self._trade(buy, sell, price, lots, 0)
            filled = [order for order in (buy, sell) if not order.left]
            for order in filled:
                self._halves[Side(order.side)].remove(order)
            if volume:
                buy = buy if buy.left else next(buys)
                sell = sell if sell.left else next(sells)
        for order in (buy, sell):
            if order.left and order.display:
                self._halves[Side(order.side)].remove(order)
                self._rest(order, Told.REFRESHED)

    def _set_band(self, command: Command) -> None:
        low, high = command.price, command.trigger
        if (low, high) != (0, 0) and not 0 < low <= high <= MAX_PRICE:
            self._reject(command, Reason.FIELD)
            return
        self.band = (low, high)
        self._told.append(Event(Told.BANDED, price=low, left=high))
        outside = [each for each in self._all() if each.type == Type.LIMIT and self._is_outside(each.price)]
        self._drop_all(outside, Reason.BAND)

    def _refer(self, command: Command) -> None:
        if not 0 < command.price <= MAX_PRICE:
            self._reject(command, Reason.FIELD)
            return
        self.reference = command.price
        self._told.append(Event(Told.REFERRED, price=command.price))

    # What all of them need

    def _other(self, side: int) -> Half:
        return self._halves[Side.SELL if side == Side.BUY else Side.BUY]

    def _of(self, command: Command) -> Order | None:
        order = self._live.get(command.id)
        return order if order is not None and order.account == command.account else None

    def _take_out(self, order: Order) -> None:
        if order.trigger:
            self._sleeping[Side(order.side)].remove(order)
        else:
            self._halves[Side(order.side)].remove(order)

    def _drop(self, order: Order, reason: Reason) -> None:
        del self._live[order.id]
        self._tell(Told.CANCELED, order, price=order.price, left=order.left, reason=reason)

    def _tell(
        self, told: Told, order: Order, *, price: int, quantity: int = 0, left: int = 0, reason: int = 0, other: int = 0
    ) -> None:
        event = Event(told, order.id, other, order.account, 0, order.side, reason, price, quantity, left)
        self._told.append(event)

    def _reject(self, command: Command, reason: Reason) -> None:
        self._told.append(Event(Told.REJECTED, command.id, account=command.account, reason=reason))


def _goes_on(_price: int, _aggressor: int) -> bool:
    return False
