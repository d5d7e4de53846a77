"""The shop's checkout on virtual time, whole: services, bus, gateway and the same SQLite engine, run again exactly."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import simulated_shop
from simulated_shop import CARDS, CUSTOMERS

from archstone import simulation
from archstone.systems.shop.invariants import check

ENDS = {
    "tok_ok": ("confirmed", None),
    "tok_flaky": ("confirmed", None),
    "tok_timeout": ("confirmed", None),
    "tok_declined": ("cancelled", "payment declined: insufficient funds"),
    "tok_unknown": ("cancelled", "payment declined: unknown card"),
}


def elsewhere(folder: Path, *, seed: int, hash_seed: int, planted: bool = False) -> list[object]:
    """Run the shop in a process of its own and return what it prints."""
    command = [sys.executable, simulated_shop.__file__, str(seed), str(folder), *(["planted"] if planted else [])]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout)


FORMS = [*((seed, "saga") for seed in range(4)), *((seed, "choreography") for seed in range(3))]
"""Seeds, and who carries the orders to their ends."""


@pytest.mark.parametrize(("seed", "form"), FORMS)
def test_every_order_ends_as_its_card_says_and_the_books_are_right_under_any_order_of_callbacks(
    seed: int, form: str, tmp_path: Path
) -> None:
    ended = simulated_shop.play(seed, tmp_path, form)
    assert [(each.card, (each.status, each.reason)) for each in ended.outcomes] == [
        (card, ENDS[card]) for _ in CUSTOMERS for card in CARDS
    ]
    assert ended.faults == ()
    # A mail for each order, and one more for the one that was confirmed and then cancelled.
    assert ended.mails == len(ended.outcomes) + 1
    assert ended.revenue > 0
    # The parcels alone take longer than the test may.
    assert ended.virtual_s > simulated_shop.PARCELS_S


@pytest.mark.parametrize(("seed", "form"), FORMS)
def test_checkouts_that_a_stop_interrupts_end_after_the_next_start(seed: int, form: str, tmp_path: Path) -> None:
    outcomes = simulation.run(lambda: simulated_shop.stopped_scene(tmp_path, form), seed=seed)
    assert [(each.card, (each.status, each.reason)) for each in outcomes] == [(card, ENDS[card]) for card in CARDS]
    assert check(tmp_path) == []


def test_the_same_seed_gives_the_same_trace_in_two_processes_with_different_hash_seeds(tmp_path: Path) -> None:
    one = elsewhere(tmp_path / "one", seed=7, hash_seed=1)
    assert one == elsewhere(tmp_path / "a folder with another name", seed=7, hash_seed=2)
    # And here, after everything else that this process has done.
    assert one[0] == simulated_shop.play(7, tmp_path / "here").digest


def test_another_seed_gives_another_order(tmp_path: Path) -> None:
    one, other = (simulated_shop.play(seed, tmp_path / str(seed)) for seed in (7, 8))
    assert one.digest != other.digest
    # Ids are drawn in the order of arrival, so they show who came first.
    assert [each.order_id for each in one.outcomes] != [each.order_id for each in other.outcomes]


def test_a_planted_iteration_over_a_set_of_strings_in_a_handler_changes_the_trace(tmp_path: Path) -> None:
    one = elsewhere(tmp_path / "one", seed=7, hash_seed=1, planted=True)
    other = elsewhere(tmp_path / "two", seed=7, hash_seed=2, planted=True)
    assert one[0] != other[0]
    # Everything but the trace is the same: nothing else would have shown the fault.
    assert one[1:] == other[1:]


def test_the_trace_holds_every_callback_statement_message_and_span_and_no_path(tmp_path: Path) -> None:
    trace = simulation.Trace(keep=True)
    ended = simulated_shop.play(7, tmp_path, trace=trace)
    records = trace.records or []
    kinds = Counter(record.split(" ", 1)[0] for record in records)
    assert kinds["callback"] > 1_000
    assert kinds["sql"] > 1_000
    assert kinds["span"] > 300
    assert [record for record in records if str(tmp_path) in record or "0x" in record] == []
    # Messages go through the bus's own file: each is there with its whole payload, for every group that wants it.
    sent = [record for record in records if "INSERT INTO _archstone_bus_messages" in record]
    payload = f'"order_id":"{ended.outcomes[0].order_id}"'.encode().hex()
    for name in ("orders.order-placed", "orders.order-confirmed", "orders.order-cancelled"):
        assert [record for record in sent if name in record and payload in record]
    for what in ("POST /api/v1/orders", "orders.order-confirmed", "Payments.charge"):
        assert [record for record in records if record.startswith("span") and what in record], what
