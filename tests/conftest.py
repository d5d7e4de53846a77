"""How tests run: `async def` tests and fixtures on virtual time, on one loop per test.

A test runs in the order of arrival (as asyncio promises) unless it is marked `simulated(seed=7)` or pytest is
given `--seed`; then ready callbacks run in an order drawn from the seed and the test's name. Tasks that a test
leaves behind fail it. A test with the parameter "postgresql" has virtual time beside a real server. The marker
`real_time` gives a test a real loop, for subprocesses, sockets and threads.

Async fixtures (`async def`, with `return` or one `yield`) have function scope and share loop and world with their
test; the part before and the part after `yield` run in one task.
"""

import asyncio
import functools
import inspect
import itertools
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Protocol, Self

import pytest

from archstone import simulation

pytest_plugins = ["postgres", "valkey_for_tests"]

STAGE = pytest.StashKey["StageOfTest"]()


class StageOfTest(Protocol):
    """A loop on which the fixtures and the body of one test run."""

    def run(self, main: Coroutine[Any, Any, Any]) -> Any: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


class RealStage:
    """A real loop, with the same care for tasks left behind."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(main)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        async def leaked() -> list[str]:
            for _ in range(10):
                await asyncio.sleep(0)
            mine = asyncio.current_task()
            return sorted(str(task.get_coro()) for task in asyncio.all_tasks() if task is not mine)

        left = self._runner.run(leaked())
        self._runner.close()
        if left and not any(error):
            raise simulation.LeakedTasksError(left)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="run every async test in an order drawn from this seed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each worker begin with one of those that take longest.

    Begun last it would run alone, while the other processors have nothing to do; so would the second of two on one
    worker. A worker first gets an even share of what has not been deselected, one after another.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    longest = [item for item in items if item.get_closest_marker("longest")]
    others = iter([item for item in items if not item.get_closest_marker("longest")])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        share = (len(items) - len(ordered)) // (workers - worker)
        first = longest[worker::workers]
        ordered += [*first, *itertools.islice(others, max(0, share - len(first)))]
    items[:] = [*ordered, *others]


def stage_of(item: pytest.Item) -> StageOfTest:
    """Return the stage of a test, made when first asked for."""
    if STAGE not in item.stash:
        item.stash[STAGE] = new_stage(item)
        item.stash[STAGE].__enter__()
    return item.stash[STAGE]


def new_stage(item: pytest.Item) -> StageOfTest:
    if item.get_closest_marker("real_time"):
        return RealStage()
    if getattr(item, "callspec", None) is not None and "postgresql" in item.callspec.params.values():
        from postgres_stage import PostgresStage  # it declares crash points of an engine that else nobody uses

        return PostgresStage()
    marker = item.get_closest_marker("simulated")
    options: dict[str, Any] = {} if marker is None else dict(marker.kwargs)
    seed = item.config.getoption("--seed")
    if seed is not None:
        options.setdefault("seed", f"{seed}/{item.nodeid}")
    if ("call", "simulation") not in [section[:2] for section in item._report_sections]:
        item.add_report_section("call", "simulation", f"seed: {options.get('seed', 'none, order of arrival')}")
    return simulation.Stage(**options)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test on its stage; give each example of an `async def` property a stage of its own."""
    hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    if hypothesis is not None and inspect.iscoroutinefunction(hypothesis.inner_test):
        # Every example gets a stage of its own.
        hypothesis.inner_test = per_example(pyfuncitem, hypothesis.inner_test)
        return None
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    stage_of(pyfuncitem).run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    if not any(inspect_async(definition) for definition in definitions(pyfuncitem)):
        # Nothing else needs the loop: close it now, so that a leak is a failure of the test itself.
        close_stage(pyfuncitem)
    return True


def per_example(item: pytest.Item, test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with new_stage(item) as stage:
            stage.run(test(*args, **kwargs))

    return run


def definitions(item: pytest.Function) -> list[pytest.FixtureDef[Any]]:
    return [definition for found in item._fixtureinfo.name2fixturedefs.values() for definition in found]


def inspect_async(definition: pytest.FixtureDef[Any]) -> bool:
    return inspect.iscoroutinefunction(definition.func) or inspect.isasyncgenfunction(definition.func)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> object | None:
    """Set up an async fixture on the stage of the test that asks for it."""
    if not inspect_async(fixturedef):
        return None
    if fixturedef.scope != "function":
        pytest.fail(
            f"async fixture {fixturedef.argname!r} has scope {fixturedef.scope!r}; async fixtures have scope 'function'"
        )
    stage = stage_of(request.node)
    values = {name: request.getfixturevalue(name) for name in fixturedef.argnames}
    made = bound(fixturedef.func, request)(**values)
    if inspect.isasyncgen(made):
        value, end = stage.run(held(made))
        fixturedef.addfinalizer(lambda: stage.run(end()))
    else:
        value = stage.run(made)
    fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
    return fixturedef


def bound(function: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a fixture that is a method bound to the instance of the test, as pytest does."""
    instance = request.instance
    if instance is not None and "." in function.__qualname__ and not inspect.ismethod(function):
        return function.__get__(instance)
    return function


async def held(generator: AsyncGenerator[Any, None]) -> tuple[Any, Callable[[], Coroutine[Any, Any, None]]]:
    """Run a generator to its `yield` in a task that also runs the rest of it; return the value and what ends it."""
    started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        try:
            value = await anext(generator)
        except BaseException as error:  # raised where the fixture is set up
            started.set_exception(error)
            return
        started.set_result(value)
        await over.wait()
        async for _ in generator:
            pytest.fail("an async fixture yields once")

    task = asyncio.create_task(hold(), name="async fixture")

    async def end() -> None:
        over.set()
        await task

    return await started, end


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Close the stage after the last fixture; tasks left behind are an error of the test."""
    try:
        return (yield)
    finally:
        close_stage(item)


def close_stage(item: pytest.Item) -> None:
    stage = item.stash.get(STAGE, None)
    if stage is not None:
        del item.stash[STAGE]
        stage.__exit__(None, None, None)
