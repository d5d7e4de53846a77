"""What `archstone surge` says when it cannot do what was asked."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from archstone.cli import app
from archstone.cli.surge import _duration_s, _traffic_of
from archstone.errors import ConfigError
from archstone.systems.shop.system import shop


def failed(*words: str) -> str:
    result = CliRunner().invoke(app, ["surge", "shop", *words])
    assert isinstance(result.exception, ConfigError), result.output
    return str(result.exception)


def test_nothing_that_runs_is_told_with_what_to_do(tmp_path: Path) -> None:
    told = failed("--data", str(tmp_path))
    assert told == (f"no shop runs on {tmp_path}: start it with `archstone up shop`, or say where it runs with --url")


def test_a_file_that_is_no_report_is_told(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"format": "other"}'):
        (tmp_path / "earlier.json").write_text(text)
        assert "no report of a surge (archstone-surge/1)" in failed("--compare", str(tmp_path / "earlier.json"))
    assert "no report of a surge" in failed("--compare", str(tmp_path / "not-there.json"))


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("2m", 120), ("45", 45), ("60m", 3600)])
def test_a_time_is_read(text: str, seconds: int) -> None:
    assert _duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "0s", "61m", "1h", "-5s", "1.5s"])
def test_a_time_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="write a time from 1s to 60m"):
        _duration_s(text)


def test_the_load_model_stands_beside_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for called, module in (
        ("shop", "archstone.systems.shop.traffic"),
        ("mine.app.system:it", "mine.app.traffic"),
        ("single:it", "traffic"),
    ):
        monkeypatch.setattr(shop, "called", called)
        assert _traffic_of(shop) == module
