"""The example of sealed customers does what it says, and its file shows nothing."""

import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "sealed_customers.py"


async def test_a_customer_is_sealed_found_and_erased(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("example_sealed_customers", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    await module.main(tmp_path)
    said = capsys.readouterr().out
    assert "opened:      {'street': '1 High Street', 'city': 'Oxford'}" in said
    assert "erased:      keys of 'customer:1' were destroyed" in said
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir() if "customers.db" in path.name)
    assert b"High Street" not in held
    assert b"example.com" not in held
