"""Read models in a cache: the newest document stays, whoever writes last."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from es_search import UserSearch
from es_users import User

from archstone import world
from archstone.cache import BYTES, Cache, Lease, Write
from archstone.cache.stores.memory import MemoryStore
from archstone.cache.stores.tiers import Tiers
from archstone.eventsourcing import Document, EventStore, Projector, TargetError
from archstone.eventsourcing.targets.cache import CacheTarget

SERVED = pytest.mark.real_time


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=SERVED), pytest.param("tiers", marks=SERVED)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | list[str]:
    """What a cache is made from, of each kind."""
    if request.param == "memory":
        return "memory:"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cache.db"
    far = f"{request.getfixturevalue('redis_url')}?prefix=target-{world.new_id()}"
    return far if request.param == "redis" else ["memory:", far]


@pytest.fixture
async def cache(where: str | list[str]) -> AsyncIterator[Cache]:
    async with Cache(where) as cache:
        yield cache


@pytest.fixture
def target(cache: Cache) -> CacheTarget:
    return CacheTarget(cache, "user:")


async def test_only_what_is_newer_is_written(target: CacheTarget) -> None:
    assert await target.get("1") is None
    await target.write([Document("1", 5, {"name": "ann"}), Document("2", 6, {"name": "bob"})])
    await target.write([Document("1", 4, {"name": "old"}), Document("2", 6, {"name": "again"})])
    assert await target.get("1") == Document("1", 5, {"name": "ann"})
    assert await target.get("2") == Document("2", 6, {"name": "bob"})
    await target.write([Document("1", 7, {"name": "ann b."})])
    assert await target.get("1") == Document("1", 7, {"name": "ann b."})


async def test_a_deleted_document_does_not_come_back(target: CacheTarget) -> None:
    await target.write([Document("1", 5, None)])
    await target.write([Document("1", 4, {"name": "from the grave"})])
    assert await target.get("1") == Document("1", 5, None)


async def test_of_many_who_write_at_once_the_newest_stays(where: str | list[str]) -> None:
    versions = [*range(1, 9)]
    Random(3).shuffle(versions)
    async with AsyncExitStack() as stack:
        one = other = await stack.enter_async_context(Cache(where))
        if "redis" in str(where):
            other = await stack.enter_async_context(Cache(where))
        targets = [CacheTarget(one, "user:"), CacheTarget(other, "user:")]
        await asyncio.gather(
            *(targets[version % 2].write([Document("1", version, {"v": version})]) for version in versions)
        )
        far = one.store if isinstance(where, str) else one.store._far  # type: ignore[attr-defined]
        [entry] = await far.read(["user:1"], BYTES)
        assert entry is not None
        assert entry.value == b'[8,{"v":8}]'


class Overtaken(MemoryStore):
    """In which another runner writes version 9 between a runner's look and its write, once."""

    async def overtake(self, key: str) -> None:
        await super().write({key: Write(b'[9,{"name":"newer"}]', BYTES)})

    async def fill(self, lease: Lease, write: Write) -> bool:
        await self.overtake(lease.key)
        return await super().fill(lease, write)

    async def write(self, writes: Mapping[str, Write]) -> None:
        for key in writes:
            await self.overtake(key)
        await super().write(writes)


async def test_a_runner_that_hangs_between_look_and_write_puts_nothing_old_there() -> None:
    async with Cache(Overtaken()) as cache:
        target = CacheTarget(cache, "user:")
        await target.write([Document("1", 5, {"name": "older"})])
        assert await target.get("1") == Document("1", 9, {"name": "newer"})


class Unheard(MemoryStore):
    """A far store whose announcements do not arrive, though they seem to."""

    def listen(
        self, heard: Callable[[Sequence[str], Sequence[str]], None], *, live: Callable[[bool], None]
    ) -> asyncio.Task[None]:
        live(True)
        return asyncio.create_task(asyncio.sleep(0))


async def test_what_lies_near_and_is_stale_decides_nothing() -> None:
    far = Unheard()
    async with Cache(Tiers(far)) as cache:
        target = CacheTarget(cache, "user:")
        await target.write([Document("1", 4, {"name": "old"})])
        assert await target.get("1") == Document("1", 4, {"name": "old"})  # and lies near now
        await far.write({"user:1": Write(b'[9,{"name":"newer"}]', BYTES)})
        await target.write([Document("1", 5, {"name": "older"})])
        [entry] = await far.read(["user:1"], BYTES)
        assert entry is not None
        assert entry.value == b'[9,{"name":"newer"}]'


@pytest.mark.parametrize("where", ["memory:"])
async def test_others_who_never_let_go_and_what_is_no_json_are_told(cache: Cache, target: CacheTarget) -> None:
    await cache.store.claim("user:1", BYTES, lease_s=60.0, refresh=True)
    with pytest.raises(TargetError, match="others keep writing document '1'"):
        await target.write([Document("1", 1, {}), Document("2", 1, {})])
    with pytest.raises(TargetError, match="document '3' is no JSON"):
        await target.write([Document("3", 1, {"name": object()})])
    await target.write([Document("2", 2, {"after": "a failure"})])
    assert await target.get("2") == Document("2", 2, {"after": "a failure"})


async def test_a_cache_that_is_away_is_told() -> None:
    pytest.importorskip("redis")
    async with Cache("redis://127.0.0.1:1") as cache:
        target = CacheTarget(cache, "user:")
        assert await target.get("1") is None
        with pytest.raises(TargetError, match="failed at"):
            await target.write([Document("1", 1, {})])


async def test_a_projection_fills_a_cache(store: EventStore, target: CacheTarget) -> None:
    for number in range(3):
        user = User.create(str(number), name="new", email="x@x")
        user.change_name(f"user {number}")
        await store.save(user)
    position = await store.erase("2")
    async with Projector(store, UserSearch(target, store)) as projector:
        await projector.reached(position, timeout_s=20.0)
    found = [await target.get(str(number)) for number in range(3)]
    assert [each and each.body for each in found] == [
        {"name": "user 0", "saves": 2},
        {"name": "user 1", "saves": 2},
        None,
    ]
    assert found[2] == Document("2", position, None)
