"""Where the shops of the tests keep their data: on SQLite, or in a PostgreSQL database per data folder.

A test that starts a shop is run on both (`tests/systems/conftest.py`). It says nothing of it: whoever starts one asks
here where the data of its folder is. Shops begin with all tables, copied from what was migrated once.
"""

import asyncio
import atexit
import json
import shutil
import tempfile
from collections.abc import Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from postgres import GivenServer, PostgresServer

from archstone.data import Database
from archstone.runtime import DataFolder, Embedded, Settings, database_url
from archstone.systems.shop import invariants
from archstone.systems.shop.catalog.index import Entry
from archstone.systems.shop.catalog.indexes.tsvector import vector
from archstone.systems.shop.system import shop

__all__ = ["PLACE", "environment_of", "faults_in", "index_is_whole", "one", "settings_of"]


T = TypeVar("T")


class Place:
    """SQLite files in the folder, unless it has a server."""

    def __init__(self) -> None:
        self._server: PostgresServer | GivenServer | None = None
        self._templates: dict[int, str] = {}
        self._urls: dict[Path, str] = {}

    def use(self, server: PostgresServer | GivenServer | None) -> None:
        """Let shops that start from now on keep their data on `server`; None: in their folders."""
        self.forget()
        self._server = server

    @property
    def folders(self) -> frozenset[Path]:
        """The folders that have a database."""
        return frozenset(self._urls)

    def forget(self, *, but: Collection[Path] = ()) -> None:
        """Drop the databases of all folders but some."""
        for folder in self.folders.difference(but):
            url = self._urls.pop(folder)
            if self._server is not None:
                self._server.drop_database(url)

    def furnish(self, folder: Path) -> None:
        """Put the tables into the folder of a shop that is about to begin; one with anything in it is left as it is."""
        if self._server is None and not (folder.exists() and any(folder.iterdir())):
            folder.mkdir(parents=True, exist_ok=True)
            for file in furnished():
                shutil.copyfile(file, folder / file.name)

    def url(self, folder: Path) -> str:
        """Return the setting `database_url` of the shop in a folder; empty where it keeps its data there."""
        server = self._server
        if server is None:
            return ""
        if id(server) not in self._templates:
            self._templates[id(server)] = _migrated(server.new_database())
        if folder not in self._urls:
            self._urls[folder] = server.new_database(template=self._templates[id(server)])
        return self._urls[folder]


PLACE = Place()


def settings_of(folder: Path) -> dict[str, str]:
    """Return the settings that tell a process where the data of its folder is, for its environment."""
    return {"DATABASE_URL": url} if (url := PLACE.url(folder)) else {}


def environment_of(folder: Path) -> dict[str, str]:
    """Return the environment variables that tell a process where the data of its folder is."""
    return {f"ARCHSTONE_{name}": value for name, value in settings_of(folder).items()}


def one(folder: Path, service: str, sql: str, row: type[T] = int) -> T:
    """Return the one row that a statement finds in the data of a shop, which does not run."""

    async def read() -> T:
        async with Database(database_url(PLACE.url(folder), DataFolder(folder, shop.name), service)) as db:
            return await db.one(row, sql)

    return in_thread(read())


def faults_in(folder: Path) -> list[str]:
    """Return what is false about the shop in a folder, which does not run."""
    return invariants.check(folder, PLACE.url(folder))


async def index_is_whole(db: Database) -> None:
    """Check that the catalog's index holds the words of the products, and nothing else."""
    if db.dialect == "sqlite":
        await db.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
        return
    products = await db.all(Entry, "SELECT id, name, category, description FROM products")
    wanted = await db.all(
        tuple[int, str],
        "SELECT key::bigint, value::tsvector::text FROM json_each_text(CAST(CAST(:words AS TEXT) AS JSON))",
        words=json.dumps({entry.id: vector(entry) for entry in products}),
    )
    assert sorted(wanted) == await db.all(tuple[int, str], "SELECT id, words::text FROM search ORDER BY id")


@cache
def furnished() -> tuple[Path, ...]:
    """Return the files of a shop that was opened and never acted; not those that hold a key, or when it was opened."""
    folder = Path(tempfile.mkdtemp(prefix="archstone-shop-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _opened(folder, "")
    names = [*(service.service_info.name for service in shop.services), "bank", "programs"]
    return (folder / "format.json", *(folder / f"{name}.db" for name in names))


def _migrated(url: str) -> str:
    """Make every table of the shop, and return the name of the database: to be copied is quicker than to migrate."""
    with tempfile.TemporaryDirectory() as folder:
        _opened(Path(folder), url)
    return url.rpartition("/")[2]


def _opened(folder: Path, url: str) -> None:
    """Open a shop, which makes its tables, and close it."""

    async def opened() -> None:
        async with Embedded(shop, folder, Settings(database_url=url)):
            pass

    in_thread(opened())


def in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` does, on a loop of its own: whoever asks may be on another one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
