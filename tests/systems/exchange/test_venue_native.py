"""The venue in C++ against the one in Python: the same events, and the same state at every look."""

import os
import subprocess
import sys
import threading
from itertools import islice
from random import Random
from time import thread_time

import numpy as np
import pytest
from hypothesis import given
from test_matching_invariants import FEWER
from test_venue_invariants import ACCOUNTS, HUGE, STEPS, forged, numbered, opened
from venues import SECOND

from archstone.systems.exchange.matching import (
    COMMAND,
    MAX_PRICE,
    Command,
    Commands,
    Events,
    Kind,
    Limit,
    Side,
    Told,
    commands_of,
)
from archstone.systems.exchange.venue import DumpError, NativeVenue, ReferenceVenue, Venue, order_id, venue
from archstone.systems.exchange.venue.flows import VENUE_FLOWS, rows, venue_flow

try:
    NativeVenue()
except ImportError:
    pytest.skip("archstone-matching is not built here: make native", allow_module_level=True)


def same_events(wanted: Events, got: Events, where: str, commands: np.ndarray) -> None:
    if wanted.tobytes() != got.tobytes():
        count = min(len(wanted), len(got))
        first = int(np.argmax([*(wanted[:count] != got[:count]), True]))
        at = int((wanted if first < len(wanted) else got)[first]["command"])
        raise AssertionError(f"{where}: {commands_of(commands)[at]} gave {got[first : first + 1]}")


def same_state(one: Venue, other: Venue, name: str) -> None:
    assert (len(one), one.digest()) == (len(other), other.digest())
    kind = VENUE_FLOWS[name]
    for book in range(1, kind.books + 1):
        for side in Side:
            assert one.depth(book, side, 5) == other.depth(book, side, 5)
    for account in range(1, kind.accounts + 1):
        assert one.standing(account) == other.standing(account)


def same(name: str, *, seed: int, commands: int, look_every: int) -> str:
    """Compare both over a flow, all events, and at random looks the states; each goes on from the other's dump."""
    slow, fast, chance = ReferenceVenue(), NativeVenue(), Random(seed)
    done = told = looks = 0
    for number, (batch, at_ns) in enumerate(venue_flow(name, seed=seed)):
        wanted, got = slow.apply(batch, at_ns), fast.apply(batch, at_ns)
        same_events(wanted, got, f"{name} {seed}, batch {number}", batch)
        done, told = done + len(batch), told + len(wanted)
        if done < commands and chance.randrange(look_every):
            continue
        same_state(slow, fast, name)
        dumps = slow.dump(), fast.dump()
        assert dumps[0] == dumps[1]
        slow, fast, looks = ReferenceVenue.load(dumps[1]), NativeVenue.load(dumps[0]), looks + 1
        if done >= commands:
            break
    return f"{name}: {done:,} commands, {told:,} events, {looks} looks, {len(slow)} live, digest {slow.digest():016x}"


@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_both_say_the_same(name: str) -> None:
    same(name, seed=1, commands=3_500, look_every=30)


@pytest.mark.slow
@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_both_say_the_same_for_long(name: str) -> None:
    """A million of each: `ARCHSTONE_FLOW=1000000`, see docs/exchange/venue.md."""
    print(same(name, seed=2, commands=int(os.environ.get("ARCHSTONE_FLOW", "40000")), look_every=200))


@FEWER
@given(STEPS)
def test_both_say_the_same_of_commands_that_hypothesis_makes(steps: list[tuple[int, tuple[int, Command]]]) -> None:
    slow, _ = opened()
    fast = NativeVenue.load(slow.dump())
    at_ns = 2_000_000_000
    for (wait_s, _), step in zip(steps, numbered([step for _, step in steps]), strict=True):
        at_ns += wait_s * 1_000_000_000
        commands = rows([step])
        same_events(slow.apply(commands, at_ns), fast.apply(commands, at_ns), "hypothesis", commands)
        assert slow.digest() == fast.digest()
    assert slow.dump() == fast.dump()
    for account in ACCOUNTS:
        assert slow.standing(account) == fast.standing(account)


def test_records_of_random_bytes_are_survived_and_mean_the_same() -> None:
    random = np.random.default_rng(4)
    slow, _ = opened()
    fast = NativeVenue.load(slow.dump())
    kinds = [*Kind, 0, 99]
    for _ in range(20):
        commands = np.frombuffer(random.bytes(64 * 100), COMMAND).copy()
        commands["kind"] = random.choice(kinds, 100)
        commands["book"] &= 3
        for name, mask in (("account", 7), ("side", 3), ("type", 3), ("tif", 3), ("flags", 3), ("stp", 3)):
            commands[name] &= np.where(random.random(100) < 0.9, mask, 255).astype(commands[name].dtype)
        for name in ("price", "quantity", "display", "trigger"):
            commands[name] = np.where(random.random(100) < 0.9, commands[name] & 15, commands[name])
        commands["id"] = np.where(
            random.random(100) < 0.9,
            commands["account"].astype("u8") << np.uint64(32) | commands["id"] & np.uint64(2**12 - 1),
            commands["id"],
        )
        same_events(slow.apply(commands, 5), fast.apply(commands, 5), "random", commands)
        assert slow.digest() == fast.digest()


class TestDumps:
    @pytest.fixture
    def dump(self) -> bytes:
        venue = NativeVenue()
        for commands, at_ns in islice(venue_flow("many", seed=3), 12):
            venue.apply(commands, at_ns)
        return venue.dump()

    def test_damage_is_refused_wherever_it_is(self, dump: bytes) -> None:
        for at in [*range(40), *range(40, len(dump), 97)]:
            broken = bytearray(dump)
            broken[at] ^= 1 << at % 8
            with pytest.raises(DumpError):
                NativeVenue.load(bytes(broken))

    def test_records_that_cannot_be_are_refused_though_their_checksum_fits(self, dump: bytes) -> None:
        from archstone.systems.exchange.venue.state import body_of, wrapped

        body, digest = body_of(dump)
        assert NativeVenue.load(wrapped(body, digest)).dump() == dump
        for at in range(0, len(body), 61):
            broken = bytearray(body)
            broken[at] ^= 0x80
            with pytest.raises(DumpError):
                NativeVenue.load(wrapped(bytes(broken), digest))
        for other in (body[:-8], body + bytes(8)):
            with pytest.raises(DumpError, match="record"):
                NativeVenue.load(wrapped(other, digest))


@pytest.mark.parametrize("what", HUGE)
def test_what_no_account_can_have_is_refused_and_what_it_just_can_is_not(what: str) -> None:
    with pytest.raises(DumpError, match="a record that cannot be"):
        NativeVenue.load(forged(**HUGE[what]))
    dump = forged(**HUGE[what], less=2**62 - 2**47 if what == "lots" else 1)
    fast, slow = NativeVenue.load(dump), ReferenceVenue.load(dump)
    sale = rows([(1, Command(Kind.NEW, order_id(1, 1), 1, Side.SELL, price=2**31 - 1, quantity=2**31 - 1))])
    assert fast.apply(sale, SECOND).tobytes() == slow.apply(sale, SECOND).tobytes()
    assert (fast.standing(1), fast.digest()) == (slow.standing(1), slow.digest())


def test_one_thread_at_a_time() -> None:
    fast = NativeVenue()
    flow = [*islice(venue_flow("quiet", seed=5), 400)]
    commands = np.concatenate([commands for commands, _ in flow])
    refused = list[str]()

    def work() -> None:
        for _ in range(20):
            try:
                fast.apply(commands, flow[0].at_ns)
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refused) <= {"it is in use by another thread"}
    assert len(fast) == len(NativeVenue.load(fast.dump()))


def test_the_fastest_that_is_installed_is_taken() -> None:
    one = venue()
    assert type(one) is NativeVenue
    assert type(venue(one.dump())) is NativeVenue


def test_a_venue_of_other_rules_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archstone_matching.RULES", 1)
    with pytest.raises(ImportError, match="version 1 of the rules, not 2"):
        NativeVenue()
    assert type(venue()) is ReferenceVenue


def test_margin_of_all_that_can_be_owed_at_the_highest_price_is_counted_by_both() -> None:
    slow, _ = opened()
    account, market = slow.state.accounts[1], slow.state.markets[1]
    market.value, market.margin, market.collar, market.engine.last = MAX_PRICE, 10_000, 0, MAX_PRICE
    account.limits = dict.fromkeys(Limit, 2**63 - 1)
    lots = 1 << 49  # more, at this value and margin, no dump may hold
    account.holding(1).position, slow.state.accounts[2].holding(1).position = -lots, lots
    owed = lots * MAX_PRICE**2
    sale = rows([(1, Command(Kind.NEW, order_id(1, 1), 1, Side.SELL, price=1, quantity=1))])
    for cash, kinds in ((2 * owed - 2**64, [Told.REJECTED]), (2 * owed + 2**64, [Told.ACCEPTED, Told.RESTED])):
        account.cash = cash
        fast, wanted = NativeVenue.load(slow.dump()), ReferenceVenue.load(slow.dump()).apply(sale, 5 * 10**9)
        assert wanted["kind"].tolist() == kinds
        assert fast.apply(sale, 5 * 10**9).tobytes() == wanted.tobytes()


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError, match="dtype COMMAND"):
        NativeVenue().apply(np.zeros(3, "u1"), 0)


def test_every_second_row_of_an_array_is_taken_like_any_other() -> None:
    flow = np.concatenate([commands for commands, _ in islice(venue_flow("quiet", seed=6), 20)])
    slow, fast = ReferenceVenue(), NativeVenue()
    assert slow.apply(flow[::2], 5).tobytes() == fast.apply(flow[::2], 5).tobytes()


def orders(numbers: np.ndarray, *, account: int = 1) -> Commands:
    """Buys of one lot at 1, with these numbers."""
    found = np.repeat(rows([(1, Command(Kind.NEW, 0, account, Side.BUY, price=1, quantity=1))]), len(numbers))
    found["id"] = np.uint64(account << 32) | numbers.astype("u8")
    return found


def took_s(commands: Commands, *before: Commands) -> float:
    """Return the least processor time of three runs. What is compared below differs a hundredfold or more."""
    found = list[float]()
    for _ in range(3):
        fast = NativeVenue()
        credit = [Command(Kind.LIMIT, account=account, type=Limit.CREDIT, quantity=2**62) for account in (1, 2)]
        fast.apply(rows([(1, Command(Kind.OPEN, type=1, price=1)), *((0, each) for each in credit)]), 5)
        for each in before:
            fast.apply(each, 5)
        begun_s = thread_time()
        fast.apply(commands, 5)
        found.append(thread_time() - begun_s)
    return min(found)


def test_a_mass_cancel_of_who_has_nothing_does_not_look_at_all_who_have() -> None:
    canceling = np.repeat(rows([(1, Command(Kind.MASS_CANCEL, account=2))]), 5_000)
    assert took_s(canceling, orders(np.arange(1, 20_001))) < 10 * took_s(canceling)


def test_ids_chosen_to_lie_in_one_place_do_not() -> None:
    """Multiplied by the golden ratio, as the hash once did, all of these begin with the same twelve bits."""
    numbers = np.arange(1, 2**26, dtype="u8")
    chosen = numbers[numbers * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(52) == 0]
    assert len(chosen) > 15_000
    assert took_s(orders(chosen)) < 10 * took_s(orders(np.arange(1, len(chosen) + 1)))


STARVED = """
import resource
import numpy as np
from test_venue_native import orders
from archstone.systems.exchange.matching import Command, Kind, Limit
from archstone.systems.exchange.venue import NativeVenue
from archstone.systems.exchange.venue.flows import rows

venue = NativeVenue()
venue.apply(rows([(1, Command(Kind.OPEN, type=1, price=1))]), 5)
venue.apply(rows([(0, Command(Kind.LIMIT, account=1, type=Limit.CREDIT, quantity=2**62))]), 5)
batch = orders(np.arange(1, 50_001))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
for _ in range(1_000):
    try:
        venue.apply(batch, 5)
    except MemoryError:
        break
    batch["id"] += len(batch)
for ask in (lambda: venue.apply(batch, 5), venue.digest, venue.dump, lambda: len(venue)):
    try:
        ask()
    except RuntimeError as error:
        print(error)
"""


def test_without_memory_it_is_torn_and_says_so_from_then_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARVED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    torn = "memory ran out within a command, and its state is torn: make it again from the log"
    assert done.stdout.splitlines() == [torn] * 4
