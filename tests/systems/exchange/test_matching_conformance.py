"""Both engines against what others made: tracebook-conformance (MIT), an engine with traces that look for mistakes.

Its engine and ours do the same; after each event the outcome, the trades and the whole queues must be equal. Its case
of pro-rata allocation is left out: our books trade by price and time alone.
"""

from pathlib import Path

import pytest

from archstone.systems.exchange.matching.book import Half
from archstone.systems.exchange.matching.native import NativeEngine

tracebook = pytest.importorskip(
    "tracebook.conformance", reason="tracebook-conformance is not installed: pip install tracebook-conformance"
)

from tracebook_adapter import Adapter, BothAdapter  # noqa: E402 - it needs the package

CASES = (
    "fifo-lifecycle", "order-instructions", "stp-cancel-resting", "stp-cancel-resting-deep", "stp-cancel-incoming",
    "multi-symbol", "tick-grid", "deep-cancellation",
)  # fmt: skip
LEFT_OUT = {"pro-rata-allocation"}
PROFILES = ("fifo-limit-v1", "fifo-full-v1", "fifo-partial-fill-v1")


@pytest.fixture
def adapter() -> type[Adapter]:
    """Return both engines, or the one in Python where the other is not built."""
    try:
        NativeEngine()
    except ImportError:
        return Adapter
    return BothAdapter


@pytest.fixture
def suite(tmp_path: Path) -> tracebook.ConformanceSuite:
    return tracebook.copy_bundled_conformance_suite(tmp_path / "suite")


def test_no_case_is_left_out_but_those_that_are_named(suite: tracebook.ConformanceSuite) -> None:
    assert {case.name for case in suite.cases} == {*CASES} | LEFT_OUT
    assert set(tracebook.campaign_profile_names()) == {*PROFILES}


@pytest.mark.parametrize("name", CASES)
def test_a_case_comes_to_the_same(suite: tracebook.ConformanceSuite, adapter: type[Adapter], name: str) -> None:
    [case] = (case for case in suite.cases if case.name == name)
    report = tracebook.run_conformance(case.load_events(), adapter, config=case.config)
    assert report.divergence is None
    assert report.compared_events == len(case.load_events())


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_traces_come_to_the_same(adapter: type[Adapter], profile: str) -> None:
    result = tracebook.run_qualification(adapter, profile, seed=7, traces=2, events_per_trace=200)
    assert result.campaign.failure is None
    assert result.qualified
    assert len(result.campaign.traces) == 2


def test_an_engine_whose_youngest_order_trades_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Half, "first", lambda self, price: [*self.at(price)][-1])
    result = tracebook.run_campaign(Adapter, profile="fifo-limit-v1", seed=7, traces=4, events_per_trace=200)
    assert result.failure is not None
    assert len(result.failure.minimization.events) <= 4
