import math
import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.observability import MetricError, Registry
from archstone.observability.metrics import MAX_LABEL_SETS


def test_metrics_are_shown_in_prometheus_text_format_sorted() -> None:
    registry = Registry()
    requests = registry.counter("http_requests", "Requests\nby \\ method.", ("method", "path"))
    requests.labels("GET", '/a"b\\c\nd').inc()
    requests.labels("GET", "/").inc(2.5)
    registry.gauge("depth", "Depth.").set(-3)
    waits = registry.histogram("wait_seconds", "Waits.", buckets=(0.1, 1))
    for value in (0.05, 0.1, 0.5, 7):
        waits.observe(value)
    assert registry.render() == (
        "# HELP depth Depth.\n"
        "# TYPE depth gauge\n"
        "depth -3\n"
        "# HELP http_requests_total Requests\\nby \\\\ method.\n"
        "# TYPE http_requests_total counter\n"
        'http_requests_total{method="GET",path="/"} 2.5\n'
        'http_requests_total{method="GET",path="/a\\"b\\\\c\\nd"} 1\n'
        "# HELP wait_seconds Waits.\n"
        "# TYPE wait_seconds histogram\n"
        'wait_seconds_bucket{le="0.1"} 2\n'
        'wait_seconds_bucket{le="1"} 3\n'
        'wait_seconds_bucket{le="+Inf"} 4\n'
        "wait_seconds_sum 7.65\n"
        "wait_seconds_count 4\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (0.1, "0.1"), (1e300, "1e+300"), (3.0, "3")],
)
def test_every_number_can_be_shown(value: float, text: str) -> None:
    registry = Registry()
    registry.gauge("x", "X.").set(value)
    assert registry.render().splitlines()[-1] == f"x {text}"


def test_a_second_declaration_that_agrees_gives_the_same_metric() -> None:
    registry = Registry()
    assert registry.counter("a", "A.", ("x",)) is registry.counter("a_total", "A again.", ("x",))


@pytest.mark.parametrize("again", ["gauge", "labels", "buckets"])
def test_a_second_declaration_that_disagrees_is_refused(again: str) -> None:
    registry = Registry()
    registry.histogram("a", "A.", ("x",))
    with pytest.raises(MetricError, match="it is already a histogram with"):
        if again == "gauge":
            registry.gauge("a", "A.", ("x",))
        elif again == "labels":
            registry.histogram("a", "A.", ("y",))
        else:
            registry.histogram("a", "A.", ("x",), buckets=(1, 2))


def test_all_faults_of_a_declaration_are_named_at_once() -> None:
    with pytest.raises(MetricError) as raised:
        Registry().histogram("9 lives", "No.", ("__x", "le", "a", "a"), buckets=(1, 1, math.inf))
    assert str(raised.value) == (
        "metric '9 lives': the name must match [a-zA-Z_:][a-zA-Z0-9_:]*; "
        "the label '__x' must match (?!__)[a-zA-Z_][a-zA-Z0-9_]*; "
        "the label 'le' is the format's own in a histogram: take another; "
        "the labels ('__x', 'le', 'a', 'a') must differ; "
        "the buckets (1, 1, inf) must be finite and rise"
    )
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_label_sets_are_bounded_and_the_rest_is_counted_as_other() -> None:
    registry = Registry()
    seen = registry.counter("seen", "Seen.", ("user", "path"))
    for number in range(MAX_LABEL_SETS + 5):
        seen.labels(f"u{number}", "/").inc()
    assert len(seen.children()) == MAX_LABEL_SETS + 1
    assert seen.labels("other", "other").value == 5
    assert seen.overflowed == 5
    seen.labels("u3", "/").inc()
    assert seen.labels("u3", "/").value == 2


def test_labels_must_be_as_many_as_the_names() -> None:
    registry = Registry()
    plain, labelled = registry.counter("plain", "P."), registry.counter("labelled", "L.", ("a",))
    with pytest.raises(ValueError, match="has the labels"):
        plain.labels("x")
    with pytest.raises(ValueError, match="has the labels"):
        labelled.labels()
    with pytest.raises(ValueError, match="has labels: call"):
        labelled.inc()


def test_values_of_labels_may_be_anything_that_has_a_text() -> None:
    seen = Registry().counter("seen", "Seen.", ("status",))
    seen.labels(200).inc()
    seen.labels("200").inc()
    assert [(values, child.value) for values, child in seen.children()] == [(("200",), 2.0)]


@pytest.mark.parametrize("amount", [-0.1, math.nan])
def test_a_counter_never_falls(amount: float) -> None:
    with pytest.raises(ValueError, match="a counter grows"):
        Registry().counter("a", "A.").inc(amount)


def test_a_gauge_goes_both_ways_and_can_be_asked_for() -> None:
    gauge = Registry().gauge("g", "G.")
    gauge.inc(5)
    gauge.dec(2)
    assert gauge.value == 3
    gauge.watch(lambda: 42)
    assert gauge.value == 42
    gauge.watch(None)
    assert gauge.value == 3


def test_a_gauge_that_cannot_be_read_does_not_hide_the_other_metrics() -> None:
    registry = Registry()
    registry.gauge("broken", "B.").watch(lambda: 1 / 0)
    registry.counter("well", "W.").inc()
    assert "broken NaN" in registry.render()
    assert "well_total 1" in registry.render()


@pytest.mark.real_time
def test_counting_is_exact_across_threads() -> None:
    registry = Registry()
    counted, waits = registry.counter("c", "C.", ("x",)), registry.histogram("h", "H.")

    def count() -> None:
        for _ in range(20_000):
            counted.labels("a").inc()
            waits.observe(0.1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.labels("a").value == 80_000
    assert waits.labels().count == 80_000


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.floats(0, 1))
def test_a_percentile_is_in_the_bucket_of_the_true_one(values: list[float], ratio: float) -> None:
    bounds = (1.0, 2.0, 5.0, 10.0, 50.0)
    waits = Registry().histogram("h", "H.", buckets=bounds)
    for value in values:
        waits.observe(value)
    found = waits.percentile(ratio)
    true = sorted(values)[max(0, math.ceil(ratio * len(values)) - 1)]
    lower = max((bound for bound in bounds if bound < true), default=0.0)
    upper = min((bound for bound in bounds if bound >= true), default=bounds[-1])
    assert found is not None
    assert min(lower, bounds[-1]) - 1e-9 <= found <= upper + 1e-9


def test_a_percentile_of_nothing_is_none_and_its_ratio_is_checked() -> None:
    waits = Registry().histogram("h", "H.")
    assert waits.percentile(0.99) is None
    assert waits.percentile(0) is None
    for ratio in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match="must be in"):
            waits.percentile(ratio)


def test_nan_is_counted_last() -> None:
    waits = Registry().histogram("h", "H.", buckets=(1,))
    waits.observe(math.nan)
    assert waits.labels().cumulative() == (0, 1)
