"""The engine in C++ against the one in Python: the same events, and the same book at every look."""

import os
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_matching_invariants import COMMANDS

from archstone.systems.exchange.matching import COMMAND, Command, ReferenceEngine, Side, commands_of, rows_of
from archstone.systems.exchange.matching.flows import FLOWS, flow
from archstone.systems.exchange.matching.native import NativeEngine

pytest.importorskip("archstone_matching", reason="archstone-matching is not built here: make native")


def same(name: str, *, seed: int, commands: int, look_every: int) -> None:
    """Compare both engines over a flow, their events all the way and their books now and then."""
    source, slow, fast = flow(name, seed=seed), ReferenceEngine(), NativeEngine(capacity=0)
    for _ in range(commands // look_every):
        rows = rows_of(islice(source, look_every))
        wanted, got = slow.apply_batch(rows), fast.apply_batch(rows)
        if wanted.tobytes() != got.tobytes():
            first = int(np.argmax(wanted[: len(got)] != got[: len(wanted)]))
            raise AssertionError(f"{name} {seed}: {commands_of(rows)[wanted[first]['command']]} gave {got[first]}")
        assert (len(slow), slow.digest()) == (len(fast), fast.digest())
        assert slow.depth(Side.BUY, 5) == fast.depth(Side.BUY, 5)


@pytest.mark.parametrize("name", FLOWS)
def test_both_say_the_same(name: str) -> None:
    same(name, seed=1, commands=10_000, look_every=500)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_both_say_the_same_for_long(name: str) -> None:
    """`ARCHSTONE_FLOW=1000000` for a million of each, which takes the engine in Python some minutes."""
    same(name, seed=2, commands=int(os.environ.get("ARCHSTONE_FLOW", "60000")), look_every=5_000)


@given(st.lists(COMMANDS, max_size=60))
def test_both_say_the_same_of_commands_that_hypothesis_makes(commands: list[Command]) -> None:
    slow, fast = ReferenceEngine(), NativeEngine(capacity=0)
    for command in commands:
        assert fast.apply(command) == slow.apply(command)
        assert fast.digest() == slow.digest()


def test_prices_far_apart_are_found() -> None:
    from orders import buy, sell

    commands = [sell(1, 1, 2**31 - 1), sell(2, 1, 5), sell(3, 1, 400_000), sell(4, 1, 1_000_000), buy(9, 4, 2**31 - 1)]
    slow, fast = ReferenceEngine(), NativeEngine()
    assert [fast.apply(each) for each in commands] == [slow.apply(each) for each in commands]
    assert len(fast) == 0


def test_what_no_record_holds_is_refused() -> None:
    book = NativeEngine()
    [event] = book.apply(Command(1, 1, 1, 300, price=1, quantity=1))
    assert event == ReferenceEngine().apply(Command(1, 1, 1, 300, price=1, quantity=1))[0]
    with pytest.raises(TypeError, match="dtype COMMAND"):
        book.apply_batch(np.zeros(3, "u1"))
    assert len(book.apply_batch(np.zeros(0, COMMAND))) == 0
