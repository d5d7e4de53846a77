"""The example of a SQLAlchemy session in examples/ works as it stands."""

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from sqlalchemy.exc import IntegrityError

EXAMPLE = Path(__file__).parents[2] / "examples" / "outbox_in_sqlalchemy.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outbox_in_sqlalchemy", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real_time
async def test_what_a_session_commits_reaches_the_mailer_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    example = load()
    transport = httpx.ASGITransport(app=example.app)
    said = ""
    async with (
        example.app.router.lifespan_context(example.app),
        httpx.AsyncClient(transport=transport, base_url="http://bistro") as client,
    ):
        assert (await client.post("/orders/A1")).status_code == 201
        with pytest.raises(IntegrityError):
            await client.post("/orders/A1")
        assert (await client.post("/orders/A2")).status_code == 201
        async with asyncio.timeout(10):
            while "A2" not in said:
                said += capsys.readouterr().out
                await asyncio.sleep(0.01)
    await example.engine.dispose()
    assert said == "mailing about order_id='A1'\nmailing about order_id='A2'\n"


def test_the_example_is_short():
    assert len([line for line in EXAMPLE.read_text().splitlines() if line.strip()]) < 40
