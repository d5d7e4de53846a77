"""The examples of sagas, run as they stand."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.real_time
async def test_a_trip_is_booked_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example = load("saga_in_fastapi")
    transport = httpx.ASGITransport(app=example.app)
    async with (
        example.app.router.lifespan_context(example.app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        booked = await client.post("/trips/ann")
        refused = await client.post("/trips/bob?flight=full")
    assert booked.json() == {"booked": "a room for ann, a seat for ann"}
    assert "refused" in refused.json()
    assert capsys.readouterr().out.splitlines() == ["flight cancelled for bob", "hotel cancelled for bob"]


@pytest.mark.real_time
async def test_orders_of_a_customer_wait_for_each_other_and_to_be_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    await load("saga_waits").main()
    assert capsys.readouterr().out.splitlines() == [
        "fetched o1",
        "o1 for 500 cents",
        "fetched o2",
        "o2 for 700 cents",
    ]
