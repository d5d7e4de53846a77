"""The venue in C++ against the one in Python: the same events, and the same state at every look."""

import os
import threading
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from test_venue_invariants import ACCOUNTS, STEPS, numbered, opened

from archstone.systems.exchange.matching import COMMAND, Command, Events, Kind, Side, commands_of
from archstone.systems.exchange.venue import DumpError, NativeVenue, ReferenceVenue, Venue, venue
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


def same(name: str, *, seed: int, batches: int, look_every: int) -> None:
    """Compare both over a flow; at each look each goes on from the other's dump."""
    slow, fast = ReferenceVenue(), NativeVenue()
    for number, (commands, at_ns) in enumerate(islice(venue_flow(name, seed=seed), batches)):
        wanted, got = slow.apply(commands, at_ns), fast.apply(commands, at_ns)
        same_events(wanted, got, f"{name} {seed}, batch {number}", commands)
        if number % look_every == 0:
            same_state(slow, fast, name)
            dumps = slow.dump(), fast.dump()
            assert dumps[0] == dumps[1]
            slow, fast = ReferenceVenue.load(dumps[1]), NativeVenue.load(dumps[0])
    same_state(slow, fast, name)


@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_both_say_the_same(name: str) -> None:
    same(name, seed=1, batches=150, look_every=30)


@pytest.mark.slow
@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_both_say_the_same_for_long(name: str) -> None:
    """`ARCHSTONE_FLOW=1000000` for about a million commands of each."""
    commands = int(os.environ.get("ARCHSTONE_FLOW", "40000"))
    same(name, seed=2, batches=commands // 25, look_every=200)


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


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError, match="dtype COMMAND"):
        NativeVenue().apply(np.zeros(3, "u1"), 0)
