"""`archstone call`: an operation of a system, called as its operator."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archstone.cli.verbs import app
from archstone.errors import ArchstoneError, ConfigError
from archstone.runtime import running
from archstone.systems.shop.system import shop

pytestmark = [pytest.mark.real_time, pytest.mark.slow]


def test_an_operation_is_called_with_values_in_json_or_text(tmp_path: Path) -> None:
    async def begin() -> None:
        async with running(shop, data=tmp_path):
            pass

    asyncio.run(begin())

    def call(*words: str) -> object:
        done = CliRunner().invoke(app, ["call", "shop", *words, "--data", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    turned = call("BankDrill.turn", "mode=dead")
    assert isinstance(turned, dict)
    assert turned["mode"] == "dead"
    kept = call("BankDrill.bank")
    assert isinstance(kept, dict)
    assert kept["mode"] == "dead"
    page = call("Catalog.products", "limit=1")
    assert isinstance(page, dict)
    assert len(page["items"]) == 1
    with pytest.raises(ConfigError, match="write NAME=VALUE"):
        call("BankDrill.turn", "dead")
    with pytest.raises(ArchstoneError, match="no operation"):
        call("BankDrill.burn")
