import asyncio
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

SOURCE = Path(__file__).parents[2] / "examples" / "retry_alone.py"


@pytest.fixture
def example() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("example_retry_alone", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def client_of(example: ModuleType) -> "httpx.AsyncClient":
    return httpx.AsyncClient(transport=httpx.ASGITransport(example.app), base_url="http://shop")


async def test_a_supplier_who_fails_twice_is_asked_three_times(example: ModuleType) -> None:
    async with client_of(example) as client:
        answer = await client.get("/prices/lamp")
    assert (answer.status_code, answer.json()) == (200, {"sku": "lamp", "cents": 104})
    assert example.supplier_calls == 3


async def test_a_client_who_asks_too_often_hears_when_to_come_back(example: ModuleType) -> None:
    async with client_of(example) as client:
        answers = [await client.get("/prices/lamp") for _ in range(200)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert {answer.json()["type"] for answer in refused} == {"resilience.rate-limited"}
    assert {answer.status_code for answer in answers} == {200, 429}


async def test_an_answer_takes_two_seconds_at_most(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asleep(sku: str) -> int:
        await asyncio.sleep(60)
        return 0

    monkeypatch.setattr(example, "ask_supplier", asleep)
    async with client_of(example) as client:
        answer = await client.get("/prices/lamp")
    assert (answer.status_code, answer.json()["type"]) == (504, "resilience.out-of-time")


def test_archstone_takes_less_than_ten_lines() -> None:
    used = ["archstone", "limiter", "Retry(", "within(", "ArchstoneError", "retry_after_s"]
    lines = SOURCE.read_text().split('"""', 2)[2].splitlines()
    assert sum(any(word in line for word in used) for line in lines) < 10
