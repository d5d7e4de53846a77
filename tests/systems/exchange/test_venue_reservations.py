"""Whatever way an order ends, what was reserved for it is given back: on both venues, after every command."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Step
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from test_venue_invariants import check
from venues import SECOND, events_of

from archstone.systems.exchange.entry.cancelling import cancels
from archstone.systems.exchange.matching import (
    Command,
    Commands,
    Event,
    Flag,
    Kind,
    Limit,
    Phase,
    Reason,
    SelfTrade,
    Side,
    Told,
    Type,
)
from archstone.systems.exchange.venue import NativeVenue, ReferenceVenue, Venue, order_id
from archstone.systems.exchange.venue.flows import rows

BOOKS, ACCOUNTS, MONEY = (1, 2), (1, 2, 3), 3_000
BURST = 6

WAYS = {
    "filled on arrival",
    "filled where it waited",
    "filled in part, then cancelled",
    "filled in an auction",
    "left over by an auction",
    "not there any more when trading halted",
    "an iceberg's next part",
    "a stop that woke",
    "replaced to less",
    "replaced to more",
    *(f"replaced, {reason.name}" for reason in (Reason.COLLAR, Reason.CREDIT)),
    *(f"its own order, {choice.name}" for choice in SelfTrade if choice),
    *(
        f"cancelled, {reason.name}"
        for reason in (
            Reason.USER, Reason.MASS, Reason.UNFILLED, Reason.NOT_IN_FULL, Reason.SELF_TRADE, Reason.DAY, Reason.BAND,
            Reason.KILL,
        )
    ),
}  # fmt: skip
"""What must have happened by the end of the test, or it has shown nothing."""


def both() -> list[Venue]:
    """Return the venue in Python and, where it is built, the one in C++."""
    try:
        return [ReferenceVenue(), NativeVenue()]
    except ImportError:
        return [ReferenceVenue()]


OPEN = (Phase.AUCTION, Phase.CONTINUOUS)
THEN: dict[str, Callable[["Orders", int, int], None]] = {
    "nothing": lambda self, one, two: None,
    "a cancel": lambda self, one, two: self.cancel(one),
    "a mass cancel": lambda self, one, two: self.mass_cancel(one, two),
    "a lost connection": lambda self, one, two: self.disconnect(one),
    "a kill": lambda self, one, two: self.kill(one),
    "a band": lambda self, one, two: self.band(one, two),
    "a halt": lambda self, one, two: self.enter(one, (Phase.HALTED,)),
    "a close": lambda self, one, two: self.enter(one, (Phase.CLOSED, *OPEN)),
    "an auction": lambda self, one, two: self.enter(one, (Phase.AUCTION,)),
    "an auction's end": lambda self, one, two: self.enter(one, OPEN),
    "a halt's end": lambda self, one, two: self.enter(one, OPEN),
    "a while": lambda self, one, two: self.wait(one, two),
}
"""What comes after some orders."""


class Orders(RuleBasedStateMachine):
    """Orders of a few accounts, which begin and end in all ways that there are."""

    seen: set[str] = set()

    def __init__(self) -> None:
        super().__init__()
        self.venues = both()
        self.at_ns = 1_000 * SECOND
        self.numbers = dict.fromkeys(ACCOUNTS, 0)
        self.partly: set[int] = set()
        terms = {"type": 1, "tif": 40, "flags": 5, "stp": 5, "display": 4_000, "trigger": 3_000}
        self.tell([(book, Command(Kind.OPEN, price=book, **terms)) for book in BOOKS])
        for account in ACCOUNTS:
            self.tell([(0, Command(Kind.LIMIT, account=account, type=Limit.CREDIT, quantity=500))])
            self.tell([(0, Command(Kind.DEPOSIT, account=account, quantity=MONEY))])

    @property
    def reference(self) -> ReferenceVenue:
        assert isinstance(self.venues[0], ReferenceVenue)
        return self.venues[0]

    def tell(self, commands: list[tuple[int, Command]] | Commands) -> list[Event]:
        given = rows(commands) if isinstance(commands, list) else commands
        told, *others = (venue.apply(given, self.at_ns) for venue in self.venues)
        for other in others:
            assert other.tobytes() == told.tobytes()
        events = events_of(told)
        self.note(events)
        return events

    def note(self, events: Iterable[Event]) -> None:
        for event in events:
            match event.kind:
                case Told.TRADED:
                    self._note_trade(event)
                case Told.CANCELED:
                    self.seen.add(f"cancelled, {Reason(event.reason).name}")
                    if event.id in self.partly and event.reason == Reason.USER:
                        self.seen.add("filled in part, then cancelled")
                case Told.REFRESHED:
                    self.seen.add("an iceberg's next part")
                case Told.TRIGGERED:
                    self.seen.add("a stop that woke")
                case Told.PHASED if event.reason == Reason.BREAKER and event.quantity == Phase.HALTED:
                    self.seen.add("not there any more when trading halted")
                case _:
                    pass

    def _note_trade(self, event: Event) -> None:
        ways = ("filled on arrival", "filled where it waited") if event.side else ("filled in an auction",) * 2
        for way, key, left in zip(ways, (event.id, event.other), (event.left, event.other_left), strict=True):
            if left:
                self.partly.add(key)
            else:
                self.seen.add(way)

    @initialize(end=st.sampled_from(["cancel", "mass", "disconnect", "kill", "kill each"]))
    def choose(self, end: str) -> None:
        self.end = end

    @rule(
        orders=st.binary(min_size=8 * BURST, max_size=8 * BURST),
        replaces=st.binary(min_size=3 * BURST, max_size=3 * BURST),
        then=st.sampled_from([*THEN]),
        dice=st.binary(min_size=2, max_size=2),
    )
    def go_on(self, orders: bytes, replaces: bytes, then: str, dice: bytes) -> None:
        """Let some orders come and some change, and then something else happen."""
        self.at_ns += SECOND
        for at in range(0, len(orders), 8):
            self.order(*orders[at : at + 8])
        for at in range(0, len(replaces), 3):
            self.replace(*replaces[at : at + 3])
        THEN[then](self, *dice)

    def order(self, where: int, who: int, price: int, lots: int, tif: int, own: int, kind: int, trigger: int) -> None:
        book, account, side = BOOKS[where % 2], ACCOUNTS[who % 3], Side(1 + where // 2 % 2)
        stp, given = SelfTrade(own % 4), Command(Kind.NEW, side=side, price=8 + price % 5, quantity=1 + lots % 9)
        match kind % 8:
            case 0:
                given = given._replace(display=1 + given.quantity // 4)
            case 1:
                given = given._replace(flags=Flag.POST_ONLY)
            case 2:
                given = given._replace(type=Type.MARKET, price=0)
            case 3:
                given = given._replace(type=Type.MARKET, price=0, trigger=9 + trigger % 3)
            case 4:
                given = given._replace(trigger=9 + trigger % 3, tif=tif % 4)
            case 5:
                given = given._replace(tif=tif % 4)
            case _:
                given = given._replace(tif=tif % 2)
        self.numbers[account] += 1
        key = order_id(account, self.numbers[account])
        told = self.tell([(book, given._replace(id=key, account=account, stp=stp))])
        if stp and any(each.reason == Reason.SELF_TRADE for each in told):
            self.seen.add(f"its own order, {stp.name}")

    def some(self, which: int) -> tuple[int, int, int]:
        """Return book, id and open lots of one of the live orders."""
        markets = self.reference.state.markets.values()
        live = [(market.book, key, each.left) for market in markets for key, each in market.orders.items()]
        return live[which % len(live)] if live else (1, order_id(1, 1), 0)

    def replace(self, which: int, price: int, lots: int) -> None:
        book, key, before = self.some(which)
        price, lots = (7 + price % 7) % 13, 300 if lots > 240 else 1 + lots % 12
        for event in self.tell([(book, Command(Kind.REPLACE, key, key >> 32, price=price, quantity=lots))]):
            if event.kind == Told.REJECTED:
                self.seen.add(f"replaced, {Reason(event.reason).name}")
            if event.kind == Told.REPLACED:
                self.seen.add("replaced to less" if event.quantity < before else "replaced to more")

    def cancel(self, which: int, _: int = 0) -> None:
        book, key, _ = self.some(which)
        self.tell([(book, Command(Kind.CANCEL, key, key >> 32))])

    def mass_cancel(self, where: int, who: int) -> None:
        self.tell([(BOOKS[where % 2], Command(Kind.MASS_CANCEL, account=ACCOUNTS[who % 3], side=where // 2 % 3))])

    def disconnect(self, who: int, _: int = 0) -> None:
        self.tell(cancels(ACCOUNTS[who % 3], BOOKS))

    def kill(self, who: int, _: int = 0) -> None:
        self.tell([(0, Command(Kind.KILL, account=who % 4, type=on)) for on in (1, 0)])

    def band(self, where: int, low: int) -> None:
        band = Command(Kind.BAND, price=8 + low % 5, trigger=8 + low % 5 + low // 5 % 3)
        self.tell([(BOOKS[where % 2], command) for command in (band, Command(Kind.BAND))])

    def enter(self, where: int, phases: tuple[Phase, ...]) -> None:
        book = BOOKS[where % 2]
        for phase in phases:
            gathered = self.reference.state.markets[book].engine.phase == Phase.AUCTION
            told = self.tell([(book, Command(Kind.PHASE, type=phase))])
            if gathered and any(each.reason == Reason.UNFILLED for each in told):
                self.seen.add("left over by an auction")

    def wait(self, seconds: int, _: int) -> None:
        self.at_ns += seconds % 60 * SECOND
        self.tell([(book, Command(Kind.TICK)) for book in BOOKS])

    # What must hold

    @invariant()
    def what_is_reserved_is_what_is_open(self) -> None:
        check(self.reference, MONEY * len(ACCOUNTS), limits=False)
        for account in self.reference.state.accounts.values():
            assert account.payable >= 0
        for other in self.venues[1:]:
            assert other.digest() == self.reference.digest()

    def teardown(self) -> None:
        """End all that is open, in the way that was chosen, and see that nothing is reserved any more."""
        ends: dict[str, Callable[[], object]] = {
            "cancel": lambda: [self.cancel(0) for _ in range(len(self.reference))],
            "mass": lambda: [self.mass_cancel(book, who) for book in range(2) for who in range(3)],
            "disconnect": lambda: [self.disconnect(who) for who in range(3)],
            "kill": lambda: self.kill(0),
            "kill each": lambda: [self.kill(account) for account in ACCOUNTS],
        }
        ends[getattr(self, "end", "kill")]()
        self.what_is_reserved_is_what_is_open()
        for venue in self.venues:
            again = ReferenceVenue.load(venue.dump())  # type: ignore[attr-defined]
            for account in ACCOUNTS:
                assert (len(venue), venue.standing(account).reserved) == (0, 0)
                found = again.state.accounts[account]
                assert (found.reserved, found.orders) == (0, 0)
                assert not any(each.buying or each.selling for each in found.holdings.values())


ALWAYS_THE_SAME = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True, database=None, phases=[Step.generate]
)
"""And not made smaller where it fails, which takes minutes: the long test does that."""


def test_nothing_stays_reserved_whatever_way_orders_end() -> None:
    Orders.seen.clear()
    run_state_machine_as_test(Orders, settings=ALWAYS_THE_SAME)
    assert WAYS - Orders.seen == set()


FOR_LONG = settings(
    max_examples=150, stateful_step_count=50, deadline=None,
    suppress_health_check=[HealthCheck.large_base_example, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
"""A step is a burst of orders, so that no example is small."""


@pytest.mark.slow
def test_nothing_stays_reserved_for_long() -> None:
    run_state_machine_as_test(Orders, settings=FOR_LONG)
