"""A venue that is told things in few words, and says what came of them in few words."""

from collections.abc import Iterable

import numpy as np
from orders import SHORT

from archstone.systems.exchange.matching import (
    Command,
    Event,
    Events,
    Kind,
    Limit,
    Phase,
    Reason,
    Side,
    Told,
    Type,
)
from archstone.systems.exchange.venue import Venue, order_id, order_of
from archstone.systems.exchange.venue.flows import rows

__all__ = ["SECOND", "Desk", "events_of"]

SECOND = 1_000_000_000

SAID = SHORT | {
    Told.OPENED: lambda event: f"open {event.price}",
    Told.LIMITED: lambda event: f"{Limit(event.other).name} {event.quantity}",
    Told.DEPOSITED: lambda event: f"money {event.quantity}",
    Told.KILLED: lambda event: f"kill {event.account} {event.quantity}",
    Told.PHASED: lambda event: f"{Phase(event.quantity).name}{' BREAKER' if event.reason == Reason.BREAKER else ''}",
}


def events_of(found: Events) -> list[Event]:
    columns = [found[name].tolist() for name in Event._fields]
    return [Event(*row) for row in zip(*columns, strict=True)]


def short(event: Event) -> Event:
    """Name orders as `Desk` does: account * 100 + number."""
    return event._replace(id=named(event.id), other=named(event.other))


def named(id: int) -> int:
    account, number = order_of(id)
    return account * 100 + number if account else number


class Desk:
    """Tells a venue. Orders are named account * 100 + number; time stands still but for `wait`."""

    def __init__(self, venue: Venue) -> None:
        self.venue, self.at_ns = venue, SECOND * 1_000
        self.book = 1

    def tell(self, *commands: Command, book: int | None = None) -> list[str]:
        given = [(self.book if book is None else book, each) for each in commands]
        found = events_of(self.venue.apply(rows(given), self.at_ns))
        return [SAID[each.kind](short(each)) for each in found if each.kind in SAID]

    def wait(self, seconds: float) -> None:
        self.at_ns += round(seconds * SECOND)

    def open(
        self, *, value: int = 1, most: int = 0, collar: int = 0, halt: int = 0, margin: int = 0, phase: int = 1
    ) -> None:
        seconds = {"tif": 40, "flags": 20, "stp": 10}
        terms = {"price": value, "quantity": most, "display": collar, "trigger": halt} | seconds
        self.tell(Command(Kind.OPEN, margin, type=phase, **terms))

    def account(self, number: int, money: int = 0, **limits: int) -> None:
        limits = {"credit": 0} | limits
        self.tell(
            *(Command(Kind.LIMIT, account=number, type=Limit[name.upper()], quantity=to) for name, to in limits.items())
        )
        if money:
            self.tell(Command(Kind.DEPOSIT, account=number, quantity=money))

    def accounts(self, *numbers: int, money: int = 100_000) -> None:
        for number in numbers:
            self.account(number, money)

    def buy(self, name: int, quantity: int, price: int = 0, **more: int) -> list[str]:
        return self.tell(self.order(Side.BUY, name, quantity, price, **more))

    def sell(self, name: int, quantity: int, price: int = 0, **more: int) -> list[str]:
        return self.tell(self.order(Side.SELL, name, quantity, price, **more))

    @staticmethod
    def order(side: Side, name: int, quantity: int, price: int = 0, **more: int) -> Command:
        account, number = divmod(name, 100)
        kind = Type.LIMIT if price else Type.MARKET
        fields = {"price": price, "quantity": quantity} | more
        return Command(Kind.NEW, order_id(account, number), account, side, kind, **fields)

    def cancel(self, name: int) -> list[str]:
        account, number = divmod(name, 100)
        return self.tell(Command(Kind.CANCEL, order_id(account, number), account))

    def replace(self, name: int, quantity: int, price: int = 0, believed: int = 0) -> list[str]:
        account, number = divmod(name, 100)
        fields = {"price": price, "quantity": quantity, "trigger": believed}
        return self.tell(Command(Kind.REPLACE, order_id(account, number), account, **fields))

    def phase(self, phase: Phase) -> list[str]:
        return self.tell(Command(Kind.PHASE, type=phase))

    def kill(self, account: int, on: int = 1) -> list[str]:
        return self.tell(Command(Kind.KILL, account=account, type=on))

    def tick(self) -> list[str]:
        return self.tell(Command(Kind.TICK))

    def money(self, account: int) -> tuple[int, int]:
        """Return cash and what is reserved."""
        standing = self.venue.standing(account)
        return standing.cash, standing.reserved

    def trade(self, price: int, *, quantity: int = 1, seller: int = 8, buyer: int = 9) -> None:
        """Have two accounts, made for it, trade."""
        number = getattr(self, "_numbers", 0) + 1
        self._numbers = number
        for account in (seller, buyer):
            self.account(account, 10**12)
        self.sell(seller * 100 + number, quantity, price)
        assert self.buy(buyer * 100 + number, quantity, price)


def total(venue: Venue, accounts: Iterable[int]) -> tuple[int, dict[int, int]]:
    """Return all cash, and all positions by book."""
    cash, positions = 0, dict[int, int]()
    for account in accounts:
        standing = venue.standing(account)
        cash += standing.cash
        for book, lots in standing.positions.items():
            positions[book] = positions.get(book, 0) + lots
    return cash, {book: lots for book, lots in positions.items() if lots}


def empty() -> Events:
    from archstone.systems.exchange.matching import EVENT

    return np.zeros(0, EVENT)
