"""The example, as its docstring says."""

import importlib.util
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

SOURCE = Path(__file__).parents[2] / "examples" / "cache_in_fastapi.py"


async def test_the_example_reads_once_and_again_after_a_change():
    spec = importlib.util.spec_from_file_location("example_cache_in_fastapi", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(module.app), base_url="http://shop") as client,
    ):
        answers = [await client.get("/products/lamp") for _ in range(3)]
        assert [answer.json() for answer in answers] == [{"cents": 990}] * 3
        assert module.database_reads == 1
        await client.put("/products/lamp/price/1200")
        assert (await client.get("/products/lamp")).json() == {"cents": 1200}
        assert module.database_reads == 2
