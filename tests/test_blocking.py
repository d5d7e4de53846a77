import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from archstone import blocking, context, world
from archstone.blocking import BlockingCallError
from archstone.resilience import Bulkhead, BulkheadFullError, Coalesce, RateLimit, RateLimitedError


@pytest.fixture(autouse=True)
def closed_afterwards():
    yield
    blocking.close()
    assert [thread for thread in threading.enumerate() if thread.name == "archstone.blocking"] == []


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_a_coroutine_function_is_called_and_waited_for() -> None:
    assert blocking.call(double, 4) == 8
    assert blocking.plain(double)(number=5) == 10
    assert blocking.plain(double).__name__ == "double"


def test_its_error_comes_out() -> None:
    async def fails() -> None:
        raise KeyError("lamp")

    with pytest.raises(KeyError, match="lamp"):
        blocking.call(fails)


def test_threads_share_one_loop_and_so_the_state_of_a_block() -> None:
    begun = []
    go = threading.Event()

    flights = Coalesce().bind("threads")

    @flights
    async def load(key: str) -> int:
        begun.append(key)
        await asyncio.to_thread(go.wait)
        return len(begun)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(blocking.call, load, "lamp") for _ in range(8)]
        while flights.statistics().joined < 7:
            blocking.call(asyncio.sleep, 0)
        go.set()
        assert {answer.result() for answer in answers} == {1}
    assert begun == ["lamp"]


def test_limits_and_bulkheads_serve_threads() -> None:
    limiter, compartment = RateLimit(0.001, burst=20).bind("threads"), Bulkhead(1).bind("threads")
    take = blocking.plain(limiter.turn)

    def taken(number: int) -> bool:
        try:
            take("ann")
        except RateLimitedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(taken, range(100))) == 20
    blocking.call(compartment.enter)
    with pytest.raises(BulkheadFullError):
        blocking.call(compartment.enter)


def test_the_call_of_the_caller_goes_along() -> None:
    async def inside() -> tuple[str | None, world.World]:
        return context.current().correlation_id, world.current()

    class Mine(world.World):
        pass

    mine = Mine()
    with context.enter(context.Call(correlation_id="c1")), world.use(mine):
        assert blocking.call(inside) == ("c1", mine)


@pytest.mark.real_time
async def test_it_is_refused_where_a_loop_runs() -> None:
    with pytest.raises(BlockingCallError, match=r"'double' on the thread of an event loop"):
        blocking.call(double, 1)
    assert await asyncio.to_thread(blocking.call, double, 3) == 6


def test_what_is_entered_stays_open_until_it_is_left() -> None:
    seen = []

    @asynccontextmanager
    async def opened(name: str):
        task = asyncio.current_task()
        seen.append(f"{name} in")
        yield name
        seen.append(f"{name} out")
        assert asyncio.current_task() is task

    first, second = opened("first"), opened("second")
    assert [blocking.enter(first), blocking.enter(second)] == ["first", "second"]
    blocking.leave(first)
    assert seen == ["first in", "second in", "first out"]
    with pytest.raises(LookupError):
        blocking.leave(first)
    blocking.close()
    assert seen[-1] == "second out"

    @asynccontextmanager
    async def broken():
        raise ConnectionError
        yield

    with pytest.raises(ConnectionError):
        blocking.enter(broken())


def test_a_caller_that_is_interrupted_cancels_its_coroutine(monkeypatch: pytest.MonkeyPatch) -> None:
    import concurrent.futures

    cancelled = threading.Event()

    async def hangs() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupted(self, timeout=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(concurrent.futures.Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            blocking.call(hangs)
    assert blocking.call(double, 1) == 2
    assert cancelled.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_has_a_loop_of_its_own() -> None:
    assert blocking.call(double, 1) == 2
    child = os.fork()
    if child == 0:
        os._exit(blocking.call(double, 21))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert blocking.call(double, 2) == 4


def test_a_wsgi_view_uses_limits_and_policies() -> None:
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location(
        "example_blocking", Path(__file__).parents[1] / "examples" / "blocking_threads.py"
    )
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    def get(path: str) -> tuple[str, bytes]:
        said = []
        body = example.app({"REMOTE_ADDR": "::1", "PATH_INFO": path}, lambda status, headers: said.append(status))
        return said[0], b"".join(body)

    assert get("/lamp") == ("200 OK", b"104")
    assert {get("/broken") for _ in range(8)} == {("200 OK", b"100")}
    assert example.asked == ["lamp", *["broken"] * 5]
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for status, _ in pool.map(get, ["/lamp"] * 200)]
    assert "429 Too Many Requests" in statuses
