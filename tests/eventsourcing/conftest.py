"""Fixtures of the tests of event sourcing: a database by URL, and a store in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archstone.data import Database
from archstone.eventsourcing import EventStore


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real_time)],
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/events.db"


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    async with Database(url, name="events") as db:
        yield db


@pytest.fixture
async def store(db: Database) -> EventStore:
    store = EventStore(db)
    await store.open()
    return store
