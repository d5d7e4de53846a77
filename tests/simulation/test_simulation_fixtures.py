"""Async tests and fixtures share one loop and one world; leaks and markers behave as conftest says."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import world

seen: ContextVar[str] = ContextVar("seen", default="")


@pytest.fixture
async def clock() -> float:
    await asyncio.sleep(5)
    return world.monotonic()


@pytest.fixture
async def queue(clock: float) -> AsyncGenerator[asyncio.Queue[float], None]:
    filled: asyncio.Queue[float] = asyncio.Queue()
    filled.put_nowait(clock)
    # Entered and left in one task, so that what needs that (a timeout, a task group) works around a yield.
    async with asyncio.timeout(1_000), asyncio.TaskGroup() as group:
        worker = group.create_task(asyncio.sleep(500))
        yield filled
        worker.cancel()


@pytest.fixture
def plain(queue: asyncio.Queue[float]) -> int:
    return queue.qsize()


async def test_async_fixtures_share_loop_and_clock_with_the_test(queue: asyncio.Queue[float], plain: int) -> None:
    assert plain == 1
    assert await queue.get() == 5.0
    assert world.monotonic() == 5.0


class TestMethods:
    @pytest.fixture
    async def own(self) -> "TestMethods":
        return self

    async def test_async_fixtures_may_be_methods(self, own: "TestMethods") -> None:
        assert isinstance(own, TestMethods)


@pytest.mark.real_time
async def test_real_time_runs_on_a_real_loop(clock_is_real: bool) -> None:
    assert clock_is_real
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print()", stdout=subprocess.DEVNULL)
    assert await process.wait() == 0


@pytest.fixture
async def clock_is_real() -> bool:
    return not getattr(world.current(), "simulated", False)


@pytest.mark.simulated(seed=5)
async def test_a_marked_test_draws_its_order_from_its_seed() -> None:
    first = world.random().random()
    await asyncio.sleep(0)
    assert first == 0.400536595920681


@given(number=st.integers())
async def test_properties_may_be_async(number: int) -> None:
    await asyncio.sleep(1)
    assert world.monotonic() == 1.0
    assert isinstance(number, int)


LEAKY = """
import asyncio, pytest

async def test_leaks():
    asyncio.create_task(asyncio.sleep(9))

@pytest.fixture
async def thing():
    yield asyncio.create_task(asyncio.sleep(9))

async def test_leaks_through_a_fixture(thing):
    pass

@pytest.mark.real_time
async def test_leaks_for_real():
    asyncio.create_task(asyncio.sleep(9))

async def test_fails_with_its_seed():
    raise KeyError
"""


SUPPORT = Path(__file__).parents[1] / "support"


def test_leaks_fail_and_failures_tell_their_seed(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text((Path(__file__).parents[1] / "conftest.py").read_text())
    (tests / "test_leaky.py").write_text(LEAKY)
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {SUPPORT}\nmarkers = real_time: x\n    simulated: x\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--seed", "7", "-p", "no:cacheprovider", str(tests)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 failed, 1 passed, 1 error" in ran.stdout, ran.stdout
    assert ran.stdout.count("tasks were still pending when the run ended") >= 3
    assert "seed: 7/tests/test_leaky.py::test_fails_with_its_seed" in ran.stdout
