"""The engine in C++ against the one in Python: the same events, and the same book at every look."""

import os
from itertools import islice
from random import Random

import numpy as np
import pytest
from hypothesis import given
from test_matching_invariants import FEWER, SEQUENCES

from archstone.systems.exchange.matching import COMMAND, Command, ReferenceEngine, Side, commands_of, rows_of
from archstone.systems.exchange.matching.flows import FLOWS, flow
from archstone.systems.exchange.matching.native import NativeEngine

pytest.importorskip("archstone_matching", reason="archstone-matching is not built here: make native")


def same(name: str, *, seed: int, commands: int, look_every: int) -> str:
    """Compare both engines over a flow, in batches of any size: all events, the books after each; say what was."""
    source, chance = flow(name, seed=seed), Random(seed)
    slow, fast = ReferenceEngine(), NativeEngine(capacity=0)
    done = told = looks = 0
    while done < commands:
        rows = rows_of(islice(source, min(chance.randint(1, 2 * look_every), commands - done)))
        wanted, got = slow.apply_batch(rows), fast.apply_batch(rows)
        if wanted.tobytes() != got.tobytes():
            first = int(np.argmax([*(wanted[: len(got)] != got[: len(wanted)]), True]))
            at = int((wanted if first < len(wanted) else got)[first]["command"])
            raise AssertionError(f"{name} {seed}: {commands_of(rows)[at]} gave {got[first : first + 1]}")
        assert (len(slow), slow.digest()) == (len(fast), fast.digest())
        for side in Side:
            levels = chance.randint(0, 30)
            assert slow.depth(side, levels) == fast.depth(side, levels)
        done, told, looks = done + len(rows), told + len(wanted), looks + 1
    return f"{name}: {done:,} commands, {told:,} events, {looks} looks, {len(slow)} live, digest {slow.digest():016x}"


@pytest.mark.parametrize("name", FLOWS)
def test_both_say_the_same(name: str) -> None:
    same(name, seed=1, commands=10_000, look_every=500)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_both_say_the_same_for_long(name: str) -> None:
    """A million of each: `ARCHSTONE_FLOW=1000000`, see docs/exchange/venue.md."""
    print(same(name, seed=2, commands=int(os.environ.get("ARCHSTONE_FLOW", "60000")), look_every=2_500))


def test_what_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that lets accounts trade with themselves."""
    monkeypatch.setattr(ReferenceEngine, "_is_self_trade", lambda self, taker, maker: False)
    with pytest.raises(AssertionError, match="quiet 1: Command"):
        same("quiet", seed=1, commands=10_000, look_every=500)


@FEWER
@given(SEQUENCES)
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
