"""What other packages bring is found by name, in every port that takes it."""

from pathlib import Path

import pytest

from archstone.cache.errors import UnknownStoreError
from archstone.cache.registry import find_store
from archstone.data import EngineOptions, UnknownEngineError
from archstone.data.engine import find_engine
from archstone.errors import ConfigError
from archstone.messaging.errors import UnknownBrokerError
from archstone.messaging.registry import find_broker
from archstone.plugins import Implementations
from archstone.resilience import store as resilience
from archstone.systems.shop.payments.provider import find_provider

GROUPS = ("brokers", "cache_stores", "databases", "payment_providers", "resilience_stores")
ENTRIES = "\n".join(f"[archstone.{group}]\ncarrier = pigeons:{group}\nsqlite = pigeons:never\n" for group in GROUPS)
MODULE = "\n".join(f"def {group}(*args):\n    return '{group}', *args\n" for group in GROUPS)


OPTIONS = EngineOptions(name="test", hold_limit_s=1.0, snapshot_limit_s=1.0, commit_in_thread=None)


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package beside ours."""
    about = tmp_path / "pigeons-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "pigeons.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plugged")
def test_every_port_finds_what_is_plugged_in_by_its_scheme() -> None:
    assert find_broker("carrier:loft") == ("brokers", "carrier:loft")
    assert find_store("carrier:loft") == ("cache_stores", "carrier:loft")
    assert find_engine("carrier:loft", OPTIONS) == ("databases", "carrier:loft", OPTIONS)
    assert resilience.find_store("carrier:loft", 1.0) == ("resilience_stores", "carrier:loft", 1.0)
    assert find_provider("carrier")(Path(), {}) == ("payment_providers", Path(), {})


@pytest.mark.usefixtures("plugged")
def test_what_is_not_there_is_told_with_what_is() -> None:
    for find, error in (
        (lambda: find_broker("owl:"), UnknownBrokerError),
        (lambda: find_store("owl:"), UnknownStoreError),
        (lambda: find_engine("owl:", OPTIONS), UnknownEngineError),
        (lambda: resilience.find_store("owl:", 1.0), resilience.UnknownStoreError),
        (lambda: find_provider("owl"), ConfigError),
    ):
        with pytest.raises(error, match="carrier"):
            find()


@pytest.mark.usefixtures("plugged")
def test_a_name_of_ours_stays_ours() -> None:
    found = Implementations[object]("archstone.brokers", {"sqlite": "archstone.messaging.broker:Broker.__name__"})
    assert found.find("sqlite") == "Broker"
    assert found.names() == ["carrier", "sqlite"]
    assert found.find("owl") is None
