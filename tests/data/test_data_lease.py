"""Leases: one holds, another takes over when its beat stops, and who has lost it commits nothing."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from archstone.data import Database, Lease, LeaseLostError, standings
from archstone.errors import ConfigError


@pytest.fixture
async def db(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/x.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER)")
        yield db


def stop(lease: Lease) -> None:
    """Stop a holder as SIGSTOP does: it beats no more and gives nothing up."""
    assert lease._runner is not None
    lease._runner.cancel()


async def test_one_holds_it_and_the_next_gets_it_when_it_is_given_up(db: Database):
    async with AsyncExitStack() as stack:
        async with Lease(db, "x", owner="a") as first:
            assert await first.held() == 1
            second = await stack.enter_async_context(Lease(db, "x", owner="b"))
            await asyncio.sleep(60)
            assert (first.token, second.token) == (1, None)
        left_s = asyncio.get_running_loop().time()
        assert await second.held() == 2
        assert asyncio.get_running_loop().time() - left_s <= 1.0, "it waited for a beat that nobody owed"
        assert [row.owner for row in await standings(db, "x")] == ["b"]


async def test_a_holder_that_stops_is_replaced_within_its_time_and_cannot_commit(db: Database):
    loop = asyncio.get_running_loop()
    async with Lease(db, "x", owner="a", ttl_s=5.0) as first:
        assert await first.held() == 1
        async with Lease(db, "x", owner="b", ttl_s=5.0) as second:
            await asyncio.sleep(30)
            assert second.token is None
            stop(first)
            stopped_s = loop.time()
            assert await second.held() == 2
            assert loop.time() - stopped_s < 7.0
            assert first.token is None, "it does not trust itself either"
            with pytest.raises(LeaseLostError):
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1)")
                    await first.check(tx)
            async with db.transaction() as tx:
                await second.check(tx)
                await tx.execute("INSERT INTO t VALUES (2)")
            assert await db.all(int, "SELECT id FROM t") == [2]


async def test_giving_up_what_another_has_taken_changes_nothing(db: Database):
    async with Lease(db, "x", owner="b", ttl_s=5.0) as second:
        async with Lease(db, "y", owner="a") as first:
            await first.held()
            await second.held()
            first.name = "x"
        await asyncio.sleep(30)
        assert second.token == 1


async def test_a_lease_that_could_not_be_renewed_is_not_trusted(db: Database):
    async with Lease(db, "x", ttl_s=5.0) as lease:
        await lease.held()
        stop(lease)
        await asyncio.sleep(3.9)
        assert lease.token == 1
        await asyncio.sleep(0.2)
        assert lease.token is None


async def test_leases_are_listed_by_prefix(db: Database):
    async with Lease(db, "w/a", owner="a") as a, Lease(db, "w/b", owner="b") as b, Lease(db, "wz") as other:
        for lease in (a, b, other):
            await lease.held()
        assert [row.name for row in await standings(db, "w/")] == ["w/a", "w/b"]


async def test_a_lease_whose_taking_was_answered_late_is_trusted_from_when_it_was_asked(
    db: Database, monkeypatch: pytest.MonkeyPatch
):
    execute = db.execute

    async def late(sql: str, /, **params: object) -> int:
        changed = await execute(sql, **params)
        await asyncio.sleep(3.0)
        return changed

    async with Lease(db, "x", ttl_s=5.0) as lease:
        monkeypatch.setattr(db, "execute", late)
        assert await lease.held() == 1
        stop(lease)
        await asyncio.sleep(1.5)
        assert lease.token is None, "4.5 s after it was taken others may be about to take it over"


async def test_a_lease_of_a_database_that_is_away_is_left_without_an_error(db: Database, tmp_path: Path):
    other = Database(f"sqlite:///{tmp_path}/y.db")
    async with other:
        lease = Lease(other, "x", ttl_s=5.0)
        await lease.__aenter__()
        await lease.held()
    await lease.__aexit__(None, None, None)
    assert lease.token is None


@pytest.mark.parametrize("ttl_s", [0, -1, float("inf"), float("nan")])
async def test_a_wrong_time_is_told(db: Database, ttl_s: float):
    with pytest.raises(ConfigError, match="ttl_s="):
        Lease(db, "x", ttl_s=ttl_s)


@pytest.mark.real_time
async def test_two_processes_of_a_postgresql_share_a_lease_and_fence_each_other(postgres_url: str):
    async with Database(postgres_url) as one, Database(postgres_url) as two:
        await one.execute("CREATE TABLE t (id BIGINT)")
        async with Lease(one, "x", ttl_s=0.5) as first:
            assert await first.held() == 1
            async with Lease(two, "x", ttl_s=0.5) as second:
                async with one.transaction() as tx:
                    await first.check(tx)
                    stop(first)
                    taking = asyncio.create_task(second.held())
                    await asyncio.sleep(1.0)
                    assert not taking.done(), "the lease was taken while its holder was committing under it"
                    await tx.execute("INSERT INTO t VALUES (1)")
                assert await taking == 2
                with pytest.raises(LeaseLostError):
                    async with one.transaction() as tx:
                        await first.check(tx)
            assert await one.all(int, "SELECT id FROM t") == [1]
