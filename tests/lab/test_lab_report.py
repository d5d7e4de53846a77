"""Counting and telling: percentiles in bounded space, phases, health, recovery."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone.lab.histogram import Histogram
from archstone.lab.prober import Probe
from archstone.lab.record import Record
from archstone.lab.report import Phase, health_of, recovery_of, report_of

PHASES = (
    Phase(name="base", from_s=0, to_s=2, rate_per_s=10),
    Phase(name="surge", from_s=2, to_s=4, rate_per_s=100),
    Phase(name="recovery", from_s=4, to_s=9, rate_per_s=10),
)


@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_at_most_two_per_cent_above_the_true_one(values: list[float], ratio: float) -> None:
    ordered = sorted(values)
    rank = next(n for n in range(1, len(ordered) + 1) if n >= ratio * len(ordered))
    true = ordered[rank - 1]
    assert true * (1 - 1e-9) <= (Histogram(values).quantile_s(ratio) or 0) <= true * 1.0161


@given(st.lists(st.floats(0, 10)), st.lists(st.floats(0, 10)))
def test_histograms_add_up(one: list[float], other: list[float]) -> None:
    merged, whole = Histogram(one).merge(Histogram(other)), Histogram([*one, *other])
    assert merged.figures_ms() == whole.figures_ms()
    assert merged.count == len(one) + len(other)


def recorded() -> Record:
    record, chance = Record(), Random(1)
    record.trail_from_s = 4
    for phase in PHASES:
        count = int(phase.rate_per_s * len(phase.seconds))
        for number in range(count):
            due_s = phase.from_s + number / phase.rate_per_s
            slow = phase.name == "recovery" and due_s < 5.5
            kind = "checkout" if number % 10 == 0 else "browse"
            if phase.name == "surge" and kind == "browse" and chance.random() < 0.5:
                record.add(kind, due_s, outcome="shed", took_s=0.0005)
            else:
                record.add(kind, due_s, outcome="ok", took_s=0.3 if slow else 0.004)
    return record


def test_a_report_tells_each_phase_and_kind_and_when_it_was_as_before() -> None:
    probes = [Probe(100 + n * 0.05, f"/health/{('live', 'ready')[n % 2]}", 0.002, 200) for n in range(-20, 400)]
    report = report_of(recorded(), PHASES, probes, began_s=100, about={"system": "s", "outcome": {"oversold": 0}})
    base, surge, _ = report["phases"]
    assert base["all"]["due"] == base["all"]["ok"] == 20
    assert base["all"]["p95"] == pytest.approx(4, rel=0.02)
    assert surge["kinds"]["checkout"]["served_ratio"] == 1.0
    assert surge["kinds"]["browse"]["served_ratio"] == pytest.approx(0.5, abs=0.1)
    assert surge["all"]["shed"] == surge["kinds"]["browse"]["shed"] > 0
    assert surge["all"]["p99"] == pytest.approx(4, rel=0.02), "refusals are not times of answers"
    assert len(report["seconds"]) == 9
    assert report["recovery_s"] == pytest.approx(1.5, abs=0.15)
    assert report["health"]["/health/live"]["asked"] == 90
    assert report["health"]["/health/live"]["failed"] == 0


def test_what_does_not_recover_is_told_so() -> None:
    record = Record()
    record.trail_from_s = 0
    for number in range(100):
        record.add("browse", number / 10, outcome="shed", took_s=0.001)
    assert recovery_of(record, surge_end_s=0, base_p95_s=0.005) is None
    assert recovery_of(Record(), surge_end_s=0, base_p95_s=0.005) is None


def test_health_that_is_not_answered_is_counted() -> None:
    probes = [Probe(0.1, "/health/live", 5.0, 0), Probe(0.2, "/health/live", 0.001, 200)]
    told = health_of(probes, began_s=0, duration_s=1)["/health/live"]
    assert (told["asked"], told["failed"], told["max"]) == (2, 1, 5000)
    assert told["worst_by_second"] == [5000]
