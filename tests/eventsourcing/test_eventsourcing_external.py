"""Read models outside the database: written at least once, the same in effect.

The search server is a stand-in: `osmem-server` speaks the OpenSearch API and is no OpenSearch.
"""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from es_search import UserSearch
from es_users import User

from archstone import world
from archstone.eventsourcing import (
    Document,
    EventStore,
    External,
    ProjectionBehindError,
    Projector,
    TargetError,
    worker,
)
from archstone.eventsourcing.targets.opensearch import OpenSearchTarget

CHILD = Path(__file__).parent / "es_search.py"


class Cache:
    """A target like a cache: a dict that knows versions."""

    def __init__(self) -> None:
        self.entries: dict[str, Document] = {}
        self.written: list[int] = []
        self.fails_after = 0
        """Writes that are kept and then fail, as one does whose answer is lost."""

    async def write(self, documents: Sequence[Document]) -> None:
        for each in documents:
            self.written.append(each.version)
            if each.id not in self.entries or each.version > self.entries[each.id].version:
                self.entries[each.id] = each
        if self.fails_after:
            self.fails_after -= 1
            raise OSError("the answer is lost")


async def some_users(store: EventStore) -> int:
    for number in range(3):
        user = User.create(str(number), name="new", email="x@x")
        user.change_name(f"user {number}")
        await store.save(user)
    return await store.erase("2")


async def test_what_is_written_again_has_the_same_effect(store: EventStore) -> None:
    cache = Cache()
    cache.fails_after = 2
    position = await some_users(store)
    async with Projector(store, UserSearch(cache, store)) as projector:
        await projector.reached(position, timeout_s=60.0)
    assert {key: each.body for key, each in cache.entries.items()} == {
        "0": {"name": "user 0", "saves": 2},
        "1": {"name": "user 1", "saves": 2},
        "2": None,
    }
    assert len(cache.written) > len(set(cache.written))  # it was written again
    assert cache.entries["2"].version == position


async def test_a_batch_writes_each_document_once(store: EventStore) -> None:
    cache = Cache()
    position = await some_users(store)
    async with Projector(store, UserSearch(cache, store)) as projector:
        await projector.reached(position, timeout_s=5.0)
    assert len(cache.written) == 3


async def test_who_says_nothing_of_documents_is_told(store: EventStore) -> None:
    class Silent(External, name="silent", outside=tuple(UserSearch.outside)):
        pass

    position = await some_users(store)
    async with Projector(store, Silent(Cache())) as projector:
        with pytest.raises(ProjectionBehindError, match="Silent has no method document"):
            await projector.reached(position, timeout_s=1.0)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Give the URL of a stand-in for a search server."""
    try:
        wheel: Any = importlib.import_module("osmem_server")
    except ImportError:
        reason = "the wheel osmem-server is not installed, so there is no stand-in for OpenSearch"
        if os.environ.get("ARCHSTONE_REQUIRE_BACKENDS") == "1":
            pytest.fail(f"ARCHSTONE_REQUIRE_BACKENDS=1: {reason}")
        pytest.skip(reason)
    with wheel.OsmemServer.start() as running:
        yield running.url
    for pipe in (running.process.stdin, running.process.stdout, running.process.stderr):
        if pipe is not None:
            pipe.close()  # which the launcher leaves open


@pytest.fixture
async def target(server: str) -> AsyncIterator[OpenSearchTarget]:
    async with OpenSearchTarget(server, index=f"users-{world.new_id()}") as target:
        yield target


async def found(server: str, index: str) -> dict[str, tuple[int, Any]]:
    """Return all documents of an index by id, with their versions, as a search finds them."""
    async with httpx.AsyncClient(base_url=server) as client:
        await client.post(f"/{index}/_refresh")
        answer = await client.post(f"/{index}/_search", json={"query": {"match_all": {}}, "version": True, "size": 100})
    return {each["_id"]: (each["_version"], each["_source"]) for each in answer.json()["hits"]["hits"]}


@pytest.mark.real_time
async def test_a_search_server_keeps_the_newest_of_each_document(server: str, target: OpenSearchTarget) -> None:
    await target.write([Document("1", 5, {"name": "ann"}), Document("2", 6, {"name": "bob"})])
    await target.write([Document("1", 4, {"name": "old"}), Document("2", 6, {"name": "again"})])
    assert await found(server, target.index) == {"1": (5, {"name": "ann"}), "2": (6, {"name": "bob"})}
    await target.write([Document("2", 7, None), Document("3", 8, None)])
    await target.write([Document("2", 7, None), Document("2", 5, {"name": "from the grave"})][1:])
    assert await found(server, target.index) == {"1": (5, {"name": "ann"})}


@pytest.mark.real_time
async def test_a_search_server_that_refuses_or_is_away_is_told(server: str, target: OpenSearchTarget) -> None:
    async with httpx.AsyncClient(base_url=server) as client:
        mapping = {"mappings": {"properties": {"born": {"type": "date"}}}}
        await client.put(f"/{target.index}", json=mapping)
    with pytest.raises(TargetError, match="document '1' is refused with 400"):
        await target.write([Document("1", 1, {"born": "long ago"})])
    async with OpenSearchTarget("http://127.0.0.1:1", index="users") as nobody:
        with pytest.raises(TargetError) as caught:
            await nobody.write([Document("1", 1, {})])
    assert str(caught.value) == (
        "target 'users': it cannot be reached: ConnectionError; its projection tries again until it takes them"
    )
    with pytest.raises(TargetError, match="not open"):
        await nobody.write([])


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.parametrize("point", [worker.AFTER_OUTSIDE, worker.AFTER_EFFECTS, worker.AFTER_CHECKPOINT])
async def test_killed_between_effect_and_checkpoint_it_comes_to_the_same(
    server: str, tmp_path: Path, point: str
) -> None:
    index = f"killed-{world.new_id()}"

    def run(crash: str | None) -> int:
        environment = {**os.environ, **({world.CRASH_VARIABLE: f"{crash}:1"} if crash else {})}
        command = [sys.executable, CHILD, f"sqlite:///{tmp_path}/users.db", server, index]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        return done.returncode

    assert await asyncio.to_thread(run, point) == -signal.SIGKILL
    before = await found(server, index)
    assert await asyncio.to_thread(run, None) == 0
    after = await found(server, index)
    assert {key: body for key, (_, body) in after.items()} == {
        str(number): {"name": "named", "saves": 2} for number in range(5)
    }
    assert after == before  # it had all been written, and was written again
