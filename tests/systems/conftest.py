"""What the tests of the shop share: its two databases, a shop that runs, and browsers of people in it.

Every test that starts a shop runs once more on PostgreSQL, as a slow one; a test that is marked `both_databases` does
so in `make test`. A test that has to do with SQLite itself is marked `sqlite_only`.
"""

import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from pages_browser import Browser, an_admin, registered
from shop_database import PLACE
from wiring import running

from archstone.runtime import Embedded
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.system import shop

STARTS = frozenset({"running", "running_shop", "served_shop", "shop_importing"})
"""What starts a shop, by name."""
PLACES = "shop_place"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_databases: starts a shop, and does so on PostgreSQL in `make test`, too")
    config.addinivalue_line("markers", "sqlite_only(why): starts a shop, and never does so on PostgreSQL")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if PLACES not in metafunc.fixturenames or "exchange" in metafunc.definition.path.parts:
        return
    if not starts_a_shop(metafunc):
        return
    marks = [mark.name for mark in metafunc.definition.iter_markers()]
    if "sqlite_only" not in marks:
        late = () if "both_databases" in marks else pytest.mark.slow
        metafunc.parametrize(PLACES, ["sqlite", pytest.param("postgresql", marks=late)], indirect=True, scope="module")


def starts_a_shop(metafunc: pytest.Metafunc) -> bool:
    """Whether the test, a fixture of its, or a function of its module that it calls names what starts a shop."""
    fixtures = [each for name in metafunc.fixturenames for each in metafunc._arg2fixturedefs.get(name, ())]
    todo: list[object] = [metafunc.function, *(each.func for each in fixtures)]
    seen: set[object] = set()
    while todo:
        function = inspect.unwrap(todo.pop())
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        names = named(function.__code__)
        if names & STARTS:
            return True
        todo += [function.__globals__[name] for name in names & function.__globals__.keys()]
    return False


def named(code: CodeType) -> set[str]:
    """Return the names that a function and those in it use."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_names, *(name for each in inner for name in named(each))}


@pytest.fixture(scope="module", autouse=True)
def shop_place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Say where shops keep their data, and return the name of the database."""
    place = getattr(request, "param", "sqlite")
    PLACE.use(request.getfixturevalue("postgres") if place == "postgresql" else None)
    yield place
    PLACE.use(None)


@pytest.fixture(autouse=True)
def databases_dropped() -> Iterator[None]:
    """Drop the databases that the test had: they are in memory."""
    known = PLACE.folders
    yield
    PLACE.forget(but=known)


@pytest.fixture(params=CheckoutForm, ids=lambda form: form.value)
def form(request: pytest.FixtureRequest) -> CheckoutForm:
    """Return each form of the checkout: who takes it promises the same of both."""
    return request.param


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    """Return a shop that runs."""
    async with running(shop, data=tmp_path) as run:
        yield run


@pytest.fixture
async def ann(run: Embedded) -> Browser:
    """Return the browser of a customer."""
    return await registered(Browser(run.asgi))


@pytest.fixture
async def root(run: Embedded) -> Browser:
    """Return the browser of an administrator."""
    return await an_admin(run)
