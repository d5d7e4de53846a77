"""The example in examples/ works as it stands."""

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import httpx
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "outbox_in_fastapi.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outbox_in_fastapi", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real_time
async def test_an_order_placed_over_http_reaches_the_mailer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    example = load()
    transport = httpx.ASGITransport(app=example.app)
    async with (
        example.app.router.lifespan_context(example.app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        answer = await client.post("/orders/A1")
        assert answer.status_code == 201
        async with asyncio.timeout(10):
            while "mailing" not in (said := capsys.readouterr().out):
                await asyncio.sleep(0.01)
    assert said == "mailing about order_id='A1'\n"
    assert example.db.outbox_ready == []


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) < 40
