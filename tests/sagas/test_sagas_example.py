"""The example of a saga in a FastAPI application, run as it stands."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "saga_in_fastapi.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("saga_in_fastapi", EXAMPLE)
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
    example = load()
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
