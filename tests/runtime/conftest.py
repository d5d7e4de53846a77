"""What all tests of the runtime share."""

import pytest


@pytest.fixture(autouse=True)
def room_for_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count everything under its own labels: all tests in one process make more label sets than a system may."""
    monkeypatch.setattr("archstone.observability.metrics.MAX_LABEL_SETS", 1_000_000)
