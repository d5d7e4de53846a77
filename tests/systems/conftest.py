"""What the tests of the shop's pages share: a shop that runs, and browsers of people in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pages_browser import Browser, an_admin, registered

from archstone.runtime import Embedded, running
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.system import shop


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
