"""What holds of a venue after any commands, and of what it becomes when it is dumped and loaded."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_matching_invariants import COMMANDS, FEWER, made, weighted
from venues import SECOND, Desk, total

from archstone.systems.exchange.matching import Command, Events, Kind, Limit, Reason, Side, Told
from archstone.systems.exchange.venue import DumpError, ReferenceVenue, order_id, venue
from archstone.systems.exchange.venue.accounts import Account
from archstone.systems.exchange.venue.flows import VENUE_FLOWS, rows, venue_flow

BOOKS, ACCOUNTS = (1, 2), (1, 2, 3)


def check(venue: ReferenceVenue, paid_in: int, *, limits: bool) -> None:
    """Check all sums. `limits`: no limit was ever made smaller, so none is passed."""
    accounts, markets = venue.state.accounts, venue.state.markets
    assert total(venue, accounts) == (paid_in, {})
    bound, live, lots = Counter[int](), Counter[int](), Counter[tuple[int, int, int]]()
    for market in markets.values():
        queues = market.engine.queues()
        assert {each.id: each.left for queue in queues for each in queue} == {
            key: each.left for key, each in market.orders.items()
        }
        for order in market.orders.values():
            lots[market.book, order.account, order.side] += order.left
            live[order.account] += 1
            if order.side == Side.BUY:
                bound[order.account] += order.price * order.left * market.value
    assert {account for _, account, _ in lots} <= set(accounts)
    for number, account in accounts.items():
        assert account.reserved == bound[number]
        assert account.orders == live[number]
        for book, holding in account.holdings.items():
            assert (holding.buying, holding.selling) == (lots[book, number, Side.BUY], lots[book, number, Side.SELL])
        if limits:
            within_limits(account)


def within_limits(account: Account) -> None:
    most = account.limits[Limit.POSITION]
    for holding in account.holdings.values():
        assert -most <= holding.position - holding.selling
        assert holding.position + holding.buying <= most
    assert account.payable >= 0
    assert account.orders <= account.limits[Limit.ORDERS]


def paid(events: Events) -> int:
    return int(events["quantity"][events["kind"] == Told.DEPOSITED].sum())


def numbered(commands: list[tuple[int, Command]]) -> list[tuple[int, Command]]:
    """Make the ids of orders those of their accounts, most of them new."""
    given, numbers = list[tuple[int, Command]](), Counter[int]()
    for book, command in commands:
        account, number = command.account or 1, command.id
        if command.kind == Kind.NEW and command.id != 7:
            number = numbers[account] = numbers[account] + 1
        if command.kind in {Kind.NEW, Kind.CANCEL, Kind.REPLACE}:
            given.append((book, command._replace(id=order_id(account, number))))
        else:
            given.append((book, command))
    return given


OPERATIONS = st.one_of(
    made(Kind.TICK),
    made(Kind.KILL, account=st.sampled_from([1, 1, 2, 2, 3, 3, 0]), type=st.sampled_from([0, 0, 0, 1])),
    made(Kind.DEPOSIT, id=st.integers(0, 4), account=st.integers(1, 3), quantity=st.integers(-60, 60)),
    made(Kind.REFERENCE, price=st.integers(1, 8)),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 20]),
        st.tuples(st.sampled_from(BOOKS), weighted((15, COMMANDS), (1, OPERATIONS))),
    ),
    min_size=10,
    max_size=40,
)


def opened() -> tuple[ReferenceVenue, int]:
    venue = ReferenceVenue()
    commands = [
        (
            book,
            Command(
                Kind.OPEN, 1_500, type=1, price=book, tif=40, flags=10, stp=10, quantity=8, display=7_000, trigger=8_000
            ),
        )
        for book in BOOKS
    ]
    for account in ACCOUNTS:
        limits = {Limit.CREDIT: 20, Limit.POSITION: 15, Limit.VALUE: 90, Limit.RATE: 10, Limit.ORDERS: 2}
        commands += [(0, Command(Kind.LIMIT, account=account, type=each, quantity=to)) for each, to in limits.items()]
        commands.append((0, Command(Kind.DEPOSIT, account=account, quantity=100)))
    return venue, paid(venue.apply(rows(commands), SECOND))


@FEWER
@given(STEPS)
def test_no_limit_is_passed_and_nothing_is_lost(steps: list[tuple[int, tuple[int, Command]]]) -> None:
    venue, money = opened()
    at_ns = 2 * SECOND
    for (wait_s, _), step in zip(steps, numbered([step for _, step in steps]), strict=True):
        at_ns += wait_s * SECOND
        money += paid(venue.apply(rows([step]), at_ns))
        check(venue, money, limits=True)


@FEWER
@given(STEPS)
def test_what_is_refused_changes_nothing_but_what_counts_tries(steps: list[tuple[int, tuple[int, Command]]]) -> None:
    venue, _ = opened()
    for _, step in zip(steps, numbered([step for _, step in steps]), strict=True):
        before = {number: (each.last_number, each.second, each.sent) for number, each in venue.state.accounts.items()}
        digest = venue.digest()
        events = venue.apply(rows([step]), SECOND)
        if events["kind"].tolist() == [Told.REJECTED]:
            for number, (last, second, sent) in before.items():
                account = venue.state.accounts[number]
                account.last_number, account.second, account.sent = last, second, sent
            assert venue.digest() == digest


@FEWER
@given(STEPS, st.integers(0, 40))
def test_a_venue_loaded_from_a_dump_goes_on_as_the_one_that_was_dumped(
    steps: list[tuple[int, tuple[int, Command]]], where: int
) -> None:
    venue, _ = opened()
    given_ = numbered([step for _, step in steps])
    venue.apply(rows(given_[:where]), 2 * SECOND)
    dump = venue.dump()
    other = ReferenceVenue.load(dump)
    assert (other.digest(), other.dump(), len(other)) == (venue.digest(), dump, len(venue))
    for account in ACCOUNTS:
        assert other.standing(account) == venue.standing(account)
    one, two = (each.apply(rows(given_[where:]), 15 * SECOND) for each in (venue, other))
    assert one.tobytes() == two.tobytes()
    assert other.digest() == venue.digest()


@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_flows_reach_all_that_can_happen_and_keep_the_rules(name: str) -> None:
    venue, money, seen = ReferenceVenue(), 0, Counter[tuple[Told, Reason]]()
    for number, (commands, at_ns) in enumerate(islice(venue_flow(name, seed=2), 120)):
        events = venue.apply(commands, at_ns)
        money += paid(events)
        for kind, reason in zip(events["kind"].tolist(), events["reason"].tolist(), strict=True):
            seen[Told(kind), Reason(reason)] += 1
        if number % 20 == 0:
            check(venue, money, limits=False)
            other = ReferenceVenue.load(venue.dump())
            assert other.digest() == venue.digest()
            venue = other
    refused = {reason for told, reason in seen if told == Told.REJECTED}
    wanted = {Reason.NUMBER, Reason.UNKNOWN, Reason.FIELD}
    wanted |= {
        "tight": {Reason.CREDIT, Reason.QUANTITY, Reason.POSITION, Reason.RATE, Reason.COLLAR, Reason.ORDERS}
    }.get(name, set())
    wanted |= {"many": {Reason.KILL, Reason.PHASE, Reason.BAND}}.get(name, set())
    assert refused >= wanted
    assert (name in {"crash", "many"}) <= (seen[Told.PHASED, Reason.BREAKER] > 2)
    assert seen[Told.TRADED, Reason.NONE] > 100


class TestDumps:
    @pytest.fixture
    def dump(self) -> bytes:
        venue = ReferenceVenue()
        for commands, at_ns in islice(venue_flow("many", seed=3), 12):
            venue.apply(commands, at_ns)
        assert len(venue) > 10
        return venue.dump()

    def test_damage_is_refused_wherever_it_is(self, dump: bytes) -> None:
        for at in [*range(40), *range(40, len(dump), 97)]:
            broken = bytearray(dump)
            broken[at] ^= 1 << at % 8
            with pytest.raises(DumpError):
                ReferenceVenue.load(bytes(broken))

    def test_what_is_cut_or_longer_is_refused(self, dump: bytes) -> None:
        for broken in (b"", dump[:7], dump[:23], dump[:100], dump[:-1], dump + b"\0"):
            with pytest.raises(DumpError):
                ReferenceVenue.load(broken)

    def test_another_version_says_so(self, dump: bytes) -> None:
        other = bytearray(dump)
        other[8] = 9
        with pytest.raises(DumpError, match="version 9, not 2"):
            ReferenceVenue.load(bytes(other))

    def test_records_that_do_not_add_up_are_refused_though_their_checksum_fits(self, dump: bytes) -> None:
        from archstone.systems.exchange.venue.state import body_of, wrapped

        body, digest = body_of(dump)
        for broken in (body[:-8], body + bytes(8), body[:12] + b"\xff" + body[13:]):
            with pytest.raises(DumpError):
                ReferenceVenue.load(wrapped(broken, digest))
        with pytest.raises(DumpError, match="digest"):
            ReferenceVenue.load(wrapped(body, digest ^ 1))

    def test_queues_keep_their_order(self) -> None:
        desk = Desk(ReferenceVenue())
        desk.open()
        desk.accounts(1, 2, 3)
        desk.sell(101, 5, 10, display=2), desk.sell(201, 5, 10), desk.buy(102, 3, 10)
        desk = Desk(ReferenceVenue.load(desk.venue.dump()))
        assert desk.buy(301, 7, 10) == ["301x201 4@10", "301x101 2@10", "~101 1@10", "301x101 1@10"]


@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_the_stream_alone_tells_what_the_venue_has(name: str) -> None:
    """`invariants` knows the events, and nothing of the code here."""
    from archstone.systems.exchange.invariants import Watch, disagreements
    from archstone.systems.exchange.sequencer import Batch

    watch, one, next_number = Watch(), venue(), 1
    for commands, at_ns in islice(venue_flow(name, seed=9), 80):
        commands["sequence"] = range(next_number, next_number + len(commands))
        watch.note(Batch(next_number, at_ns, commands, one.apply(commands, at_ns)))
        next_number += len(commands)
    assert watch.faults == []
    assert disagreements(watch, one) == []


def test_an_empty_batch_is_nothing() -> None:
    assert len(ReferenceVenue().apply(np.zeros(0, rows([(1, Command(Kind.TICK))]).dtype), SECOND)) == 0


HUGE = {
    "cash": {"cash": 2**125},
    "debt": {"cash": -(2**125) - 1},
    "paid in": {"paid_in": -(2**125) - 1},
    "lots": {"positions": {1: 2**62}},
    "lots by value": {"positions": {1: 2**50, 2: 2**50}},  # each with a value of 2**30 and a margin of 2**13
    "owed by value": {"positions": {1: -(2**50), 2: -(2**50)}},
}
"""What no account can have, each just beyond what it can."""


def forged(*, cash: int = 0, paid_in: int = 0, positions: dict[int, int] | None = None, less: int = 0) -> bytes:
    """Return the dump, with a digest and a checksum that fit, of a venue whose account has that."""
    desk = Desk(ReferenceVenue())
    for desk.book in BOOKS:
        desk.open(value=2**30, margin=2**13)
    desk.accounts(1, 2)
    assert isinstance(desk.venue, ReferenceVenue)
    account = desk.venue.state.accounts[1]
    toward_0 = [number + (less if number < 0 else -less) for number in (cash, paid_in)]
    account.cash, account.paid_in = toward_0
    for book, lots in (positions or {}).items():
        account.holding(book).position = lots + (less if lots < 0 else -less)
    return desk.venue.dump()


@pytest.mark.parametrize("what", HUGE)
def test_what_no_account_can_have_is_refused_and_what_it_just_can_is_not(what: str) -> None:
    with pytest.raises(DumpError, match=r"a record that cannot be: .*account 1"):
        ReferenceVenue.load(forged(**HUGE[what]))
    dump = forged(**HUGE[what], less=2**62 - 2**47 if what == "lots" else 1)
    assert ReferenceVenue.load(dump).dump() == dump
