"""Seeded streams of batches for a whole venue: several books, accounts with limits that bite, breakers that trip.

    quiet       prices near each other; limits are met now and then
    tight       little money, small limits: a third of all orders is refused
    crash       prices fall fast: collars, breakers, reopening auctions
    many        more books and accounts, and operators at work: kill switches, bands, phases, limits, money in and out

As in `matching.flows`, a stream does not know what became of its orders.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

from archstone.systems.exchange.matching import (
    Command,
    Commands,
    Flag,
    Kind,
    Limit,
    Phase,
    SelfTrade,
    Side,
    TimeInForce,
    Type,
    rows_of,
)
from archstone.systems.exchange.venue.port import order_id

__all__ = ["VENUE_FLOWS", "VenueFlow", "opening", "venue_flow"]

_START_NS: Final = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueFlow:
    """What a stream is made of."""

    books: int = 2
    accounts: int = 20
    money: int = 10**9
    credit: int = 10**7
    value: int = 10**9
    lots: int = 3_000
    """Of an order at most."""
    position: int = 20_000
    rate: int = 10_000
    orders: int = 1_000
    collar: int = 500
    halt: int = 0
    margin: int = 0
    spread: int = 20
    drift: float = 0.0
    """Ticks that a book's middle moves with a command."""
    operator_ratio: float = 0.005
    rules: bool = False
    """Operators change phases and bands too."""
    batch: int = 50
    """Commands of a batch, at most."""
    step_ns: int = 20_000_000
    """Between two batches."""


VENUE_FLOWS: Final = {
    "quiet": VenueFlow(halt=2_000),
    "tight": VenueFlow(
        money=2_500_000,
        credit=100_000,
        margin=3_000,
        value=1_900_000,
        lots=95,
        position=200,
        rate=50,
        orders=4,
        collar=12,
    ),
    "crash": VenueFlow(halt=100, drift=-1.0, spread=50, step_ns=200_000_000),
    "many": VenueFlow(books=5, accounts=60, halt=50, spread=60, rules=True, operator_ratio=0.03, step_ns=100_000_000),
}


class Timed(NamedTuple):
    """Commands, and when they are to be done."""

    commands: Commands
    at_ns: int


@dataclass(slots=True)
class _Stream:
    kind: VenueFlow
    random: Random
    numbers: dict[int, int] = field(default_factory=dict[int, int])
    sent: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Book and id of the last orders."""
    middles: dict[int, float] = field(default_factory=dict[int, float])

    def one(self) -> tuple[int, Command]:
        book, draw = self.random.randint(1, self.kind.books), self.random.random()
        middle = self.middles.get(book, 10_000.0) + self.kind.drift + self.random.gauss(0, 0.3)
        self.middles[book] = max(500.0, middle)
        if draw < self.kind.operator_ratio:
            return self._operator(book)
        if draw < 0.6 or not self.sent:
            return book, self._new(book)
        if draw < 0.85:
            return self._target(Kind.CANCEL)
        if draw < 0.99:
            believed = self._lots() if self.random.random() < 0.3 else 0
            return self._target(Kind.REPLACE, price=self._price(book), quantity=self._lots(), trigger=believed)
        return book, Command(Kind.MASS_CANCEL, account=self._account(), side=self.random.choice([0, 1, 2]))

    def _account(self) -> int:
        return self.random.randint(1, self.kind.accounts + (self.random.random() < 0.02))

    def _price(self, book: int) -> int:
        return max(1, round(self.middles[book] + self.random.gauss(0, self.kind.spread / 3)))

    def _lots(self) -> int:
        return self.random.randint(1, 100) * (50 if self.random.random() < 0.02 else 1)

    def _new(self, book: int) -> Command:
        random, account = self.random, self._account()
        number = self.numbers[account] = self.numbers.get(account, 0) + (random.random() > 0.01)
        self.sent = [*self.sent[-400:], (book, order_id(account, number))]
        market, lots = random.random() < 0.08, self._lots()
        tif = random.choices([*TimeInForce], (80, 8, 8, 4))[0]
        waits = not market and tif not in {TimeInForce.IOC, TimeInForce.FOK}
        trigger = self._price(book) if random.random() < 0.08 else 0
        return Command(
            Kind.NEW,
            order_id(account, number),
            account,
            random.choice([*Side]),
            Type.MARKET if market else Type.LIMIT,
            tif,
            Flag.POST_ONLY if waits and not trigger and random.random() < 0.1 else 0,
            random.choice([*SelfTrade]) if random.random() < 0.5 else 0,
            0 if market else self._price(book),
            lots,
            random.randint(1, lots) if waits and random.random() < 0.1 else 0,
            trigger,
        )

    def _target(self, kind: Kind, **fields: int) -> tuple[int, Command]:
        book, id = self.random.choice(self.sent)  # noqa: A001 - the word for it
        account = (id >> 32) + (self.random.random() < 0.01)
        if fields and self.random.random() < 0.1:
            fields["price"] = 0
        return book, Command(kind, id, account, **fields)

    def _operator(self, book: int) -> tuple[int, Command]:
        random, account = self.random, self._account()
        low = max(1, self._price(book) - 60)
        ruling = [
            Command(Kind.PHASE, type=random.choice([*Phase])),
            *[Command(Kind.PHASE, type=Phase.CONTINUOUS)] * 3,
            *[Command(Kind.PHASE, type=Phase.AUCTION)] * 3,
            Command(Kind.BAND, price=low, trigger=low + 120),
            *[Command(Kind.BAND)] * 3,
        ]
        choices = [
            *ruling * self.kind.rules,
            Command(Kind.TICK),
            Command(Kind.REFERENCE, price=self._price(book)),
            Command(Kind.KILL, account=account * (random.random() < 0.95), type=1),
            Command(Kind.KILL, account=account),
            Command(Kind.KILL),
            Command(Kind.LIMIT, account=account, type=random.choice([*Limit]), quantity=self._some()),
            Command(
                Kind.DEPOSIT,
                random.choice([0, 0, random.randint(1, 100)]),
                account,
                quantity=random.randint(-self.kind.money // 4, self.kind.money // 4),
            ),
        ]
        return book, random.choice(choices)

    def _some(self) -> int:
        return self.random.choice([self.kind.lots, self.kind.position, self.kind.credit, self.kind.money])


def rows(commands: list[tuple[int, Command]]) -> Commands:
    """Return commands, each with its book, as an array."""
    found = rows_of(command for _, command in commands)
    found["book"] = [book for book, _ in commands]
    return found


def opening(kind: VenueFlow) -> Commands:
    """Return the commands that make the books and the accounts of a flow."""
    limits = {
        Limit.CREDIT: kind.credit,
        Limit.QUANTITY: kind.lots,
        Limit.VALUE: kind.value,
        Limit.POSITION: kind.position,
        Limit.RATE: kind.rate,
        Limit.ORDERS: kind.orders,
    }
    made = [
        (
            book,
            Command(
                Kind.OPEN,
                kind.margin,
                0,
                0,
                Phase.CONTINUOUS,
                4,
                2,
                3,
                1 + book % 3,
                kind.lots * 2,
                kind.collar,
                kind.halt,
            ),
        )
        for book in range(1, kind.books + 1)
    ]
    for account in range(1, kind.accounts + 1):
        made += [(0, Command(Kind.LIMIT, account=account, type=limit, quantity=most)) for limit, most in limits.items()]
        made.append((0, Command(Kind.DEPOSIT, account=account, quantity=kind.money)))
    return rows(made)


def venue_flow(name: str, *, seed: int) -> Iterator[Timed]:
    """Give batches without end, that which opens the venue first. KeyError if there is no such flow."""
    kind = VENUE_FLOWS[name]
    stream, at_ns = _Stream(kind, Random(f"{name} {seed}")), _START_NS
    yield Timed(opening(kind), at_ns)
    while True:
        at_ns += stream.random.randint(0, 2 * kind.step_ns)
        yield Timed(rows([stream.one() for _ in range(stream.random.randint(1, kind.batch))]), at_ns)
