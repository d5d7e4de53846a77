"""The rules of a venue, as plain Python. It is the oracle for every faster one.

What may be ordered stands in `risk`, what came of it in `accounts`, when trading stops in `breaker`. Each command is
done whole before the next: risk, the book, what its events mean for accounts, and at last, if one of its trades moved
the price too far, the halt. Before a command for a book, what was due in that book by time is done, and told as its
first events.

KILL cancels in all books, lowest number first, and in each as a mass cancel does. It does not close positions.
"""

from collections.abc import Callable
from functools import partial
from typing import Self

from archstone.systems.exchange.matching import (
    MAX_PRICE,
    MAX_QUANTITY,
    Command,
    Commands,
    Event,
    Events,
    Flag,
    Kind,
    Limit,
    Phase,
    Reason,
    Side,
    Told,
    Type,
    commands_of,
)
from archstone.systems.exchange.matching.arrays import told_rows
from archstone.systems.exchange.matching.checks import fault_of
from archstone.systems.exchange.matching.digest import digest_of
from archstone.systems.exchange.venue.accounts import NO_LIMIT, Account, Holding, Open
from archstone.systems.exchange.venue.market import Market, market_of
from archstone.systems.exchange.venue.port import MAX_JUMP, MAX_NS, MAX_NUMBER, Standing, order_of
from archstone.systems.exchange.venue.risk import Wish, owed, pledged, refusal
from archstone.systems.exchange.venue.state import DumpError, State, dumped, loaded, words_of

__all__ = ["ReferenceVenue"]

_SECOND_NS = 1_000_000_000
_NOTHING = Holding()


class ReferenceVenue:
    """See `Venue`."""

    def __init__(self, state: State | None = None) -> None:
        """Make one with that state; None: without books and accounts."""
        self.state = state or State()
        for market in self.state.markets.values():
            market.engine.watch = partial(self._sees, market)
        self._verbs: dict[int, Callable[[int, Command], list[Event]]] = {
            Kind.OPEN: self._open,
            Kind.LIMIT: self._limit,
            Kind.DEPOSIT: self._deposit,
            Kind.KILL: self._kill,
        }
        self._book_verbs: dict[int, Callable[[Market, Command], list[Event]]] = {
            Kind.CANCEL: self._owned,
            Kind.MASS_CANCEL: self._mass_cancel,
            Kind.PHASE: self._enter,
            Kind.BAND: self._ruled,
            Kind.REFERENCE: self._ruled,
            Kind.TICK: self._tick,
        }

    def apply(self, commands: Commands, at_ns: int) -> Events:
        """Do commands; see `Venue.apply`."""
        self.state.now_ns = max(self.state.now_ns, min(at_ns, MAX_NS))
        told: list[tuple[int, Event]] = []
        books = commands["book"].tolist()
        for index, (book, command) in enumerate(zip(books, commands_of(commands), strict=True)):
            told += [(index, event) for event in self._do(book, command)]
        return told_rows(told)

    def _do(self, book: int, command: Command) -> list[Event]:
        if (verb := self._verbs.get(command.kind)) is not None:
            return verb(book, command)
        market = self.state.markets.get(book)
        due = self._due(market) if market is not None else []
        if command.kind in {Kind.NEW, Kind.REPLACE}:
            return due + self._order(market, command)
        act = self._book_verbs.get(command.kind)
        if act is None:
            return due + _rejected(command, Reason.FIELD)
        if market is None:
            return _rejected(command, Reason.NO_BOOK)
        return due + self._settled(market, act(market, command))

    # Orders

    def _order(self, market: Market | None, command: Command) -> list[Event]:
        reason = self._gate(command)
        if not reason and market is None:
            reason = Reason.NO_BOOK
        if reason or market is None:
            return _rejected(command, reason)
        ask = self._new if command.kind == Kind.NEW else self._replace
        asked = ask(market, command)
        if isinstance(asked, Reason):
            return _rejected(command, asked)
        return self._settled(market, market.engine.apply(asked))

    def _gate(self, command: Command) -> Reason:
        """Return why an account may not send an order at all, and count it."""
        account = self.state.accounts.get(command.account)
        if account is None:
            return Reason.NO_ACCOUNT
        if command.kind == Kind.NEW:
            owner, number = order_of(command.id)
            if owner != account.number or not number:
                return Reason.FIELD
            if not account.last_number < number <= account.last_number + MAX_JUMP:
                return Reason.NUMBER
            account.last_number = number
        if account.killed or self.state.killed:
            return Reason.KILL
        if account.count(self.state.now_ns // _SECOND_NS) > account.limits[Limit.RATE]:
            return Reason.RATE
        return Reason.NONE

    def _new(self, market: Market, command: Command) -> Command | Reason:
        """Return what the book is to do, or why it is not asked."""
        if reason := fault_of(command):
            return reason
        if command.type == Type.MARKET and not command.price:
            worst = market.worst(command.side, command.trigger)
            if not worst:
                return Reason.COLLAR
            command = command._replace(price=worst, flags=command.flags | Flag.PROTECTED)
        wish = Wish(command.side, command.price, command.quantity, command.trigger)
        return refusal(self.state.accounts[command.account], market, wish, self.state.markets) or command

    def _replace(self, market: Market, command: Command) -> Command | Reason:
        """Return what the book is to do, or why it is not asked; what is no live order it refuses itself."""
        old = market.engine.find(command.id)
        if old is None or old.account != command.account:
            return command
        if old.type == Type.MARKET:
            if command.price:
                return Reason.FIELD
            command = command._replace(price=old.price)
        if command.trigger:
            if not (0 < command.trigger <= MAX_QUANTITY and 0 < command.quantity <= MAX_QUANTITY):
                return Reason.FIELD
            command = command._replace(quantity=command.quantity - max(0, command.trigger - old.left))
        in_range = 0 < command.quantity <= MAX_QUANTITY and 0 < command.price <= MAX_PRICE
        if not in_range or (command.price == old.price and command.quantity <= old.left):
            return command
        wish = Wish(old.side, command.price, command.quantity, old.trigger, old.price, old.left)
        return refusal(self.state.accounts[command.account], market, wish, self.state.markets) or command

    def _owned(self, market: Market, command: Command) -> list[Event]:
        if command.account not in self.state.accounts:
            return _rejected(command, Reason.NO_ACCOUNT)
        return market.engine.apply(command)

    def _mass_cancel(self, market: Market, command: Command) -> list[Event]:
        """Cancel all of an account. Who has nothing open there is told so without a look at all who have."""
        account = self.state.accounts.get(command.account)
        holding = _NOTHING if account is None else account.holdings.get(market.book, _NOTHING)
        sides = [command.side] if command.side else [*Side]
        if account is None or command.side not in {0, *Side} or any(holding.open(side) for side in sides):
            return self._owned(market, command)
        return [Event(Told.SWEPT, account=command.account)]

    def _ruled(self, market: Market, command: Command) -> list[Event]:
        return market.engine.apply(command)

    def _tick(self, market: Market, command: Command) -> list[Event]:
        return []

    # What came of it

    def _settled(self, market: Market, events: list[Event]) -> list[Event]:
        """Note what the events of a book mean for accounts; return them, and the halt if they come to one."""
        for event in events:
            match event.kind:
                case Told.ACCEPTED:
                    order = market.orders[event.id] = Open(event.account, event.side, event.price, event.quantity)
                    self.state.accounts[order.account].orders += 1
                    self.state.accounts[order.account].bind(market.book, order, order.left, market.value)
                case Told.REPLACED:
                    order = self._released(market, event.id)
                    order.price, order.left = event.price, event.quantity
                    self.state.accounts[order.account].bind(market.book, order, order.left, market.value)
                case Told.CANCELED:
                    self.state.accounts[self._released(market, event.id).account].orders -= 1
                    del market.orders[event.id]
                case Told.TRADED:
                    self._traded(market, event)
                case _:
                    pass
        return events + self._move(market, Phase.HALTED) if market.tripped else events

    def _released(self, market: Market, id: int) -> Open:
        order = market.orders[id]
        self.state.accounts[order.account].bind(market.book, order, -order.left, market.value)
        return order

    def _traded(self, market: Market, event: Event) -> None:
        taker = event.side or Side.BUY
        maker = Side.SELL if taker == Side.BUY else Side.BUY
        for key, number, side in ((event.id, event.account, taker), (event.other, event.other_account, maker)):
            order, account = market.orders[key], self.state.accounts[number]
            account.bind(market.book, order, -event.quantity, market.value)
            account.trade(market.book, side, event.quantity, event.price * event.quantity * market.value)
            order.left -= event.quantity
            if not order.left:
                account.orders -= 1
                del market.orders[key]

    def _sees(self, market: Market, price: int, aggressor: int) -> bool:
        """Have the breaker see a trade; return whether the book is to halt. What an auction trades never does that."""
        if not aggressor:
            market.breaker.restart()
        market.tripped |= market.breaker.trips(price, self.state.now_ns)
        return market.tripped

    # Phases

    def _due(self, market: Market) -> list[Event]:
        """Do what is due by time."""
        phase = market.breaker.next_phase(market.engine.phase, self.state.now_ns)
        return [] if phase is None else self._settled(market, self._move(market, phase))

    def _move(self, market: Market, phase: Phase) -> list[Event]:
        """Have the breaker enter a phase."""
        if phase == Phase.HALTED:
            market.tripped = False
            market.breaker.trip(self.state.now_ns)
        events = market.engine.apply(Command(Kind.PHASE, type=phase))
        return [each._replace(reason=Reason.BREAKER) if each.kind == Told.PHASED else each for each in events]

    def _enter(self, market: Market, command: Command) -> list[Event]:
        if market.breaker.due_ns and command.type == market.engine.phase:  # it stays in it, until it is told otherwise
            market.breaker.due_ns = 0
            return [Event(Told.PHASED, quantity=command.type)]
        events = market.engine.apply(command)
        if any(each.kind == Told.PHASED for each in events):
            market.breaker.due_ns = 0  # from now on whoever said so decides
        return events

    # What concerns the whole venue

    def _open(self, book: int, command: Command) -> list[Event]:
        if book in self.state.markets:
            return _rejected(command, Reason.DUPLICATE)
        market = market_of(command, book)
        if market is None:
            return _rejected(command, Reason.FIELD)
        market.engine.watch = partial(self._sees, market)
        self.state.markets = dict(sorted([*self.state.markets.items(), (book, market)]))
        return [
            Event(
                Told.OPENED,
                id=market.margin,
                other=command.type,
                price=market.value,
                quantity=market.most,
                left=market.collar,
                other_left=market.breaker.halt,
            )
        ]

    def _limit(self, book: int, command: Command) -> list[Event]:
        if not command.account or command.type not in {*Limit} or not 0 <= command.quantity <= NO_LIMIT:
            return _rejected(command, Reason.FIELD)
        account = self.state.accounts.setdefault(command.account, Account(command.account))
        account.limits[command.type] = command.quantity
        return [Event(Told.LIMITED, other=command.type, account=account.number, quantity=command.quantity)]

    def _deposit(self, book: int, command: Command) -> list[Event]:
        """Take money in, or give it out: what is neither reserved nor borrowed nor needed to buy back what is owed."""
        account, number = self.state.accounts.get(command.account), command.id
        command = command._replace(id=0)  # it is no order's, so no answer names it
        if account is None:
            return _rejected(command, Reason.NO_ACCOUNT)
        if not command.quantity:
            return _rejected(command, Reason.FIELD)
        if number and not account.last_deposit < number <= MAX_NUMBER:
            return _rejected(command, Reason.NUMBER)
        own = account.cash - account.reserved
        own -= owed(account, self.state.markets) + pledged(account, self.state.markets)
        if command.quantity < 0 and own + command.quantity < 0:
            return _rejected(command, Reason.CREDIT)
        account.last_deposit = number or account.last_deposit
        account.cash += command.quantity
        account.paid_in += command.quantity
        return [Event(Told.DEPOSITED, account=account.number, quantity=command.quantity)]

    def _kill(self, book: int, command: Command) -> list[Event]:
        account = self.state.accounts.get(command.account)
        if command.type not in {0, 1}:
            return _rejected(command, Reason.FIELD)
        if account is None and command.account:
            return _rejected(command, Reason.NO_ACCOUNT)
        if account is None:
            self.state.killed = bool(command.type)
        else:
            account.killed = bool(command.type)
        told = [Event(Told.KILLED, account=command.account, quantity=command.type)]
        for number, market in self.state.markets.items() if command.type else ():
            events = self._settled(market, market.engine.sweep(command.account, Reason.KILL))
            told += [each._replace(other=number) for each in events]
        return told

    # What one may ask

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best prices of a side; see `Venue.depth`."""
        return self.state.markets[book].engine.depth(side, levels)

    def standing(self, account: int) -> Standing:
        """Return an account; see `Venue.standing`."""
        found = self.state.accounts[account]
        held, owes = found.worth(lambda book: self.state.markets[book].worth)
        return Standing(
            account=account,
            cash=found.cash,
            reserved=found.reserved,
            positions={book: each.position for book, each in sorted(found.holdings.items()) if each.position},
            exposure=held + owes,
            profit=found.cash + held - owes - found.paid_in,
            killed=found.killed or self.state.killed,
        )

    def digest(self) -> int:
        """Return 64 bits of the state; see `Venue.digest`."""
        return digest_of(words_of(self.state), [])

    def dump(self) -> bytes:
        """Return the whole state; see `Venue.dump`, and `state` for its form."""
        return dumped(self.state, self.digest())

    @classmethod
    def load(cls, state: bytes) -> Self:
        """Return the venue that was dumped, by whichever class of venue.

        Raises:
            DumpError: It is damaged, or of a version that is not known here. Take an older one.
        """
        found, digest = loaded(state)
        venue = cls(found)
        if venue.digest() != digest:
            raise DumpError(f"the dump makes a venue of digest {venue.digest():016x}, not {digest:016x}")
        if dumped(found, digest) != state:
            raise DumpError("the dump is not what its venue would be dumped as")
        return venue

    def __len__(self) -> int:
        """Count the live orders."""
        return sum(len(market.engine) for market in self.state.markets.values())


def _rejected(command: Command, reason: Reason) -> list[Event]:
    return [Event(Told.REJECTED, command.id, account=command.account, reason=reason)]
