"""What holds of a book after any commands: Hypothesis looks for some after which it does not, and long flows too."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archstone.systems.exchange.matching import (
    Command,
    Event,
    Flag,
    Kind,
    Phase,
    ReferenceEngine,
    SelfTrade,
    Side,
    TimeInForce,
    Told,
    Type,
)
from archstone.systems.exchange.matching.arrays import applied, commands_of, rows_of
from archstone.systems.exchange.matching.auction import crossing
from archstone.systems.exchange.matching.book import Half, Order
from archstone.systems.exchange.matching.flows import FLOWS, flow


class Ledger:
    """What events alone say of each order."""

    def __init__(self) -> None:
        self.open: dict[int, int] = {}
        self.traded: Counter[int] = Counter()

    def note(self, event: Event) -> None:
        match event.kind:
            case Told.ACCEPTED:
                assert event.id not in self.open
                self.open[event.id] = event.quantity
            case Told.REPLACED:
                self.open[event.id] = event.quantity
            case Told.CANCELED:
                assert self.open.pop(event.id) == event.left
            case Told.TRADED:
                assert event.quantity > 0
                for order, left in ((event.id, event.left), (event.other, event.other_left)):
                    self.open[order] -= event.quantity
                    assert self.open[order] == left >= 0
                    if not left:
                        del self.open[order]
            case Told.RESTED | Told.REFRESHED:
                assert 0 < event.quantity <= event.left == self.open[event.id]
            case _:
                pass


def check(book: ReferenceEngine, ledger: Ledger) -> None:
    """Check a book against its own rules and against what was told."""
    buys, sells = (book.depth(side, 1) for side in (Side.BUY, Side.SELL))
    if book.phase == Phase.CONTINUOUS and buys and sells:
        assert buys[0][0] < sells[0][0], "the book is crossed"
    assert len(book) == len(ledger.open)
    for order in book._live.values():
        assert order.left == ledger.open[order.id]
        if not order.trigger:
            assert 0 < order.shown <= (order.display or order.left)
        elif book.phase == Phase.CONTINUOUS and book.last:
            assert not book._sleeping[Side(order.side)].wakes(order, book.last)
    low, high = book.band
    assert not high or all(low <= each.price <= high for each in book._live.values() if each.type == Type.LIMIT)


def made(kind: Kind, **fields: st.SearchStrategy[int]) -> st.SearchStrategy[Command]:
    return st.fixed_dictionaries(fields).map(lambda given: Command(kind, **given))


def weighted(*choices: tuple[int, st.SearchStrategy[Command]]) -> st.SearchStrategy[Command]:
    """Draw from strategies by weight: `one_of` counts a strategy that it is given twice once."""
    each = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.integers(0, len(each) - 1).flatmap(each.__getitem__)


def sensible(command: Command) -> Command:
    """Mend what no order can mean, so that most are taken."""
    market = command.type == Type.MARKET
    protected = market and command.flags == Flag.PROTECTED
    waits = not market and command.tif not in {TimeInForce.IOC, TimeInForce.FOK}
    flags = command.flags if protected or (command.flags == Flag.POST_ONLY and waits and not command.trigger) else 0
    price = 0 if market and not protected else max(1, command.price)
    return command._replace(flags=flags, price=price, display=min(command.display, command.quantity) if waits else 0)


PRICES = st.integers(1, 8)
NEW = made(
    Kind.NEW,
    id=st.integers(1, 12),
    account=st.integers(1, 3),
    side=st.sampled_from(Side),
    type=st.sampled_from([Type.LIMIT, Type.LIMIT, Type.LIMIT, Type.MARKET]),
    tif=st.sampled_from([TimeInForce.GTC, TimeInForce.GTC, *TimeInForce]),
    flags=st.sampled_from([0, 0, 0, Flag.POST_ONLY, Flag.PROTECTED]),
    stp=st.sampled_from(SelfTrade),
    price=st.integers(0, 8),
    quantity=st.integers(1, 9),
    display=st.sampled_from([0, 0, 1, 2]),
    trigger=st.sampled_from([0] * 20 + [*range(1, 9)]),
)
CANCEL = made(Kind.CANCEL, id=st.integers(1, 12), account=st.integers(1, 3))
REPLACE = made(
    Kind.REPLACE, id=st.integers(1, 12), account=st.integers(1, 3), price=st.integers(0, 8), quantity=st.integers(1, 9)
)
COMMANDS = weighted(
    (12, NEW.map(sensible)),
    (1, NEW),
    (2, CANCEL),
    (4, REPLACE),
    (1, made(Kind.MASS_CANCEL, account=st.integers(1, 3), side=st.integers(0, 2))),
    (1, made(Kind.PHASE, type=st.sampled_from([Phase.CONTINUOUS] * 4 + [Phase.AUCTION] * 2 + [*Phase]))),
    (1, made(Kind.BAND, price=PRICES, trigger=PRICES) | made(Kind.BAND)),
)
SEQUENCES = st.lists(COMMANDS, min_size=10, max_size=40)
"""Without a least length they would have five commands, most of the time."""
FEWER = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
"""Long examples, on machines that do something else."""


@FEWER
@given(SEQUENCES)
def test_a_book_is_never_crossed_and_no_lot_is_lost(commands: list[Command]) -> None:
    book, ledger = ReferenceEngine(), Ledger()
    for command in commands:
        before = book.digest()
        events = book.apply(command)
        for event in events:
            ledger.note(event)
        check(book, ledger)
        if [each.kind for each in events] == [Told.REJECTED]:
            assert book.digest() == before


@FEWER
@given(SEQUENCES)
def test_the_same_commands_give_the_same_events_one_at_a_time_and_as_an_array(commands: list[Command]) -> None:
    one, other = ReferenceEngine(), ReferenceEngine()
    rows = rows_of(commands)
    assert commands_of(rows) == commands
    events = one.apply_batch(rows)
    again = applied(other.apply, rows)
    assert events.tobytes() == again.tobytes()
    assert one.digest() == other.digest()


@pytest.mark.parametrize("name", FLOWS)
def test_flows_reach_all_that_can_happen_and_keep_the_rules(name: str) -> None:
    book, ledger, seen = ReferenceEngine(), Ledger(), Counter[Told]()
    for number, command in enumerate(islice(flow(name, seed=1), 6_000)):
        for event in book.apply(command):
            ledger.note(event)
            seen[Told(event.kind)] += 1
        if number % 50 == 0:
            check(book, ledger)
    of_a_book = {each for each in Told if each < Told.OPENED}
    always = of_a_book - {Told.UNCROSSED, Told.PHASED, Told.BANDED, Told.REFERRED}
    assert set(seen) == (of_a_book if name == "auction" else always)
    assert seen[Told.TRADED] > 300


class Counted(Half):
    """It counts how often somebody looks at a price."""

    looks = 0

    def at(self, price: int) -> Iterator[Order]:
        self.looks += 1
        return super().at(price)


def test_an_auction_looks_at_each_price_twice_however_many_there_are() -> None:
    buys, sells = halves = [Counted(side) for side in Side]
    for price in range(1, 401):
        for half in halves:
            half.add(Order(price, 1, half.side, 0, 0, 0, 0, price, left=1, display=0, trigger=0))
    assert crossing(buys, sells, 0) == (201, 200, -1)
    assert [half.looks for half in halves] == [800, 800]
