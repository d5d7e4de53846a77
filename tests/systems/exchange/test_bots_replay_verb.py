"""`archstone replay exchange FILE`."""

import json
from pathlib import Path

import pytest
from replay_samples import itch_bytes, lobster_files, recorded
from typer.testing import CliRunner

from archstone.cli import app
from archstone.errors import ConfigError
from archstone.systems.exchange.replaying import Messages


@pytest.fixture(scope="module")
def day() -> Messages:
    """What bots did in a while."""
    return recorded()


def run(*words: object):
    return CliRunner().invoke(app, ["replay", "exchange", *map(str, words)])


def test_a_lobster_file_is_replayed_and_compared(day, tmp_path: Path) -> None:
    file = lobster_files(tmp_path, day, levels=3)
    result = run(file, "--check", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["faults"] == 0
    assert found["compared"] == 2 * found["messages"] > 100
    assert found["trades"] == found["kinds"]["executed"] > 10
    assert found["messages_per_s"] > 0
    assert found["p50_us"] <= found["p99_us"] <= found["p99.9_us"]


def test_an_itch_file_is_replayed(day, tmp_path: Path) -> None:
    file = tmp_path / "day.NASDAQ_ITCH50"
    file.write_bytes(itch_bytes(day))
    result = run(file, "--batch", 50, "--check", "--symbol", "LAMP")
    assert result.exit_code == 0, result.output
    assert "faults  0" in result.stdout
    assert "messages_per_s" in result.stdout
    other = run(file, "--symbol", "CHAIR", "--json")
    assert json.loads(other.stdout)["messages"] == 0


def test_a_fault_is_told_and_ends_with_one(day, tmp_path: Path) -> None:
    file = lobster_files(tmp_path, day, levels=3)
    orderbook = file.with_name(file.name.replace("message", "orderbook"))
    lines = orderbook.read_text().splitlines()
    lines[30] = lines[31] if lines[30] != lines[31] else lines[32]
    orderbook.write_text("\n".join(lines) + "\n")
    result = run(file, "--check")
    assert result.exit_code == 1
    assert "fault message 31: " in result.stdout


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("none.itch", (), "there is no such file"),
        ("a_message_1.csv", ("--check",), "needs the orderbook file beside it"),
        ("a_message_1.csv", ("--symbol", "LAMP"), "leave --symbol out"),
        ("a_orderbook_1.csv", (), "name the file with _message_"),
        ("a_message_1.csv", ("--speed", "0"), "write a number above 0"),
    ],
)
def test_what_cannot_be_replayed_is_said(tmp_path: Path, name: str, words: tuple[str, ...], told: str) -> None:
    if name != "none.itch":
        (tmp_path / name).write_text("")
    result = run(tmp_path / name, *words)
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)
