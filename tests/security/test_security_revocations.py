"""Revocations: known here at once, elsewhere in a moment, and refused rather than guessed when there is no news."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from archstone import world
from archstone.context import Principal
from archstone.data import Database
from archstone.errors import BackendError, ConfigError
from archstone.security import (
    Claims,
    DatabaseRevocations,
    Revocations,
    RevocationsStaleError,
    RevocationStore,
    Revoked,
    SigningKeys,
    TokenError,
    Tokens,
)

pytestmark = pytest.mark.simulated(limit_s=None)

KEYS = SigningKeys((b"k" * 32,))


def tokens(revocations: Revocations) -> Tokens:
    return Tokens(KEYS, issuer="shop", audience="shop-api", is_revoked=revocations.is_revoked)


def claims(who: str = "ann", *, token: str = "t", grant: str = "g", issued_us: int | None = None) -> Claims:
    issued = world.now_us() if issued_us is None else issued_us
    return Claims(Principal(who), token, issued, issued + 900_000_000, "c", grant)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseRevocations]:
    url = f"sqlite:///{tmp_path}/tokens.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    async with Database(url) as db:
        made = DatabaseRevocations(db)
        await made.open()
        yield made


class Shared:
    """A store of which others may write, as on PostgreSQL."""

    shared = True

    def __init__(self, store: DatabaseRevocations) -> None:
        self.add, self.since, self.listen = store.add, store.since, store.listen


async def test_one_token_a_grant_or_all_of_somebody(store: DatabaseRevocations) -> None:
    async with Revocations(store) as revocations:
        one, other = claims(token="1", grant="a"), claims(token="2", grant="b")
        bob = claims("bob", token="3", grant="c")
        await revocations.revoke(one)
        assert [revocations.is_revoked(each) for each in (one, other, bob)] == [True, False, False]
        await revocations.revoke_grant("b")
        assert [revocations.is_revoked(each) for each in (one, other, bob)] == [True, True, False]
        await revocations.revoke_subject("bob")
        assert revocations.is_revoked(bob)


async def test_what_is_issued_later_is_good(store: DatabaseRevocations) -> None:
    async with Revocations(store) as revocations:
        issuer = tokens(revocations)
        before = issuer.issue(Principal("ann")).text
        await revocations.revoke_subject("ann")
        await asyncio.sleep(1)
        after = issuer.issue(Principal("ann")).text
        with pytest.raises(TokenError, match="revoked"):
            issuer.verify(before)
        assert issuer.verify(after).principal.id == "ann"


async def test_another_process_hears_of_it(store: DatabaseRevocations) -> None:
    here_only = Shared(store)
    async with Revocations(here_only) as here, Revocations(here_only) as there:
        await here.revoke(claims())
        assert here.is_revoked(claims())
        await asyncio.sleep(1.1)
        assert there.is_revoked(claims())


async def test_what_a_transaction_ends_is_refused_from_its_commit_on(store: DatabaseRevocations) -> None:
    db = store._db
    async with Revocations(Shared(store), refresh_s=20, stale_s=60) as here, Revocations(Shared(store)) as there:
        one, other = claims(token="1", grant="a"), claims(token="2", grant="b")
        async with db.transaction() as tx:
            await here.revoke_grants(["a"], tx=tx)
            assert not here.is_revoked(one)  # it may still be rolled back
        assert [here.is_revoked(each) for each in (one, other)] == [True, False]
        await asyncio.sleep(1.1)
        assert [there.is_revoked(each) for each in (one, other)] == [True, False]


async def test_what_a_transaction_that_is_rolled_back_has_ended_goes_on(store: DatabaseRevocations) -> None:
    async with Revocations(store) as revocations:
        with pytest.raises(KeyError):
            async with store._db.transaction() as tx:
                await revocations.revoke_grants(["g"], tx=tx)
                raise KeyError
        assert not revocations.is_revoked(claims())
    async with Revocations(store) as later:
        assert not later.is_revoked(claims())


async def test_a_process_that_starts_later_knows(store: DatabaseRevocations) -> None:
    async with Revocations(store) as first:
        await first.revoke_subject("ann")
    async with Revocations(store) as second:
        assert second.is_revoked(claims())


async def test_what_committed_late_is_not_missed(store: DatabaseRevocations) -> None:
    """A asks at 10 s; B, which began at 9 s, commits at 11 s, with its own instant: A still finds it."""
    async with Revocations(Shared(store)) as revocations:
        begun_us = world.now_us()
        await asyncio.sleep(30)
        await store.add([Revoked("subject:ann", begun_us + 30_000_000, begun_us + 900_000_000)])
        await store._db.execute("UPDATE _archstone_revocations SET added_at = :at", at=begun_us)
        await asyncio.sleep(2)
        assert revocations.is_revoked(claims(issued_us=begun_us))


async def test_entries_end_with_the_tokens_that_they_are_about(store: DatabaseRevocations) -> None:
    async with Revocations(store, lifetime_s=900) as revocations:
        await revocations.revoke_subject("ann")
        await asyncio.sleep(899)
        assert await store.sweep() == 0
        await asyncio.sleep(3)
        assert await store.sweep() == 1
        await revocations.revoke_subject("bob")
        assert list(revocations._entries) == ["subject:bob"]


class Flaky:
    """A store in memory that can be away."""

    def __init__(self) -> None:
        self.entries: list[Revoked] = []
        self.away = False
        self.shared = True

    async def add(self, entries: Sequence[Revoked], *, tx: object = None) -> None:
        if self.away:
            raise BackendError("away")
        self.entries += entries

    async def since(self, at_us: int) -> Sequence[Revoked]:
        if self.away:
            raise BackendError("away")
        return list(self.entries)

    def listen(self, news: object) -> object:
        return lambda: None


async def test_without_news_every_token_is_refused_until_there_are_some() -> None:
    store = Flaky()
    async with Revocations(store, stale_s=10) as revocations:
        store.away = True
        await asyncio.sleep(9)
        assert not revocations.is_revoked(claims())
        await asyncio.sleep(3)
        with pytest.raises(RevocationsStaleError) as caught:
            revocations.is_revoked(claims())
        assert caught.value.status == 503
        store.away = False
        await asyncio.sleep(1.1)
        assert not revocations.is_revoked(claims())


async def test_it_does_not_start_without_knowing() -> None:
    store = Flaky()
    store.away = True
    with pytest.raises(BackendError):
        async with Revocations(store):
            pass
    with pytest.raises(RevocationsStaleError):
        Revocations(store).is_revoked(claims())


async def test_if_the_store_fails_this_process_refuses_the_token_all_the_same() -> None:
    store = Flaky()
    async with Revocations(store) as revocations:
        store.away = True
        with pytest.raises(BackendError):
            await revocations.revoke(claims())
        assert revocations.is_revoked(claims())


async def test_too_many_revocations_refuse_all_that_was_issued_so_far() -> None:
    async with Revocations(Flaky(), limit=3) as revocations:
        bystander = claims("bob", token="b", grant="h")
        for number in range(3):
            await revocations.revoke(claims(token=str(number)))
        assert not revocations.is_revoked(bystander)
        await revocations.revoke(claims(token="more"))
        assert revocations.is_revoked(bystander)
        await asyncio.sleep(1)
        assert not revocations.is_revoked(claims("bob", token="c", grant="h"))


@pytest.mark.parametrize(
    "said", [{"lifetime_s": 0}, {"refresh_s": 0}, {"refresh_s": 30.0, "stale_s": 30.0}, {"limit": 0}]
)
def test_settings_are_checked(said: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Revocations(Flaky(), **said)


@pytest.mark.real_time
async def test_redis_tells_other_processes(redis_url: str) -> None:
    from archstone.security.revocation_stores.redis import RedisRevocations

    name = world.new_id()
    stores = [RedisRevocations(redis_url, name=name) for _ in range(2)]
    assert all(isinstance(each, object) for each in stores)
    store: RevocationStore = stores[0]
    async with Revocations(store, refresh_s=0.02) as here, Revocations(stores[1], refresh_s=0.02) as there:
        await here.revoke_subject("ann")
        for _ in range(500):
            if there.is_revoked(claims(issued_us=0)):
                break
            await asyncio.sleep(0.01)
        assert there.is_revoked(claims(issued_us=0))
        assert not there.is_revoked(claims("bob", issued_us=0, grant="h"))
    for each in stores:
        await each.close()


@pytest.mark.real_time
async def test_a_redis_that_is_away_is_named_without_its_password() -> None:
    from archstone.security.revocation_stores.redis import RedisRevocations

    store = RedisRevocations("redis://user:secret@127.0.0.1:1/0", timeout_s=0.2)
    with pytest.raises(BackendError) as caught:
        await store.since(0)
    assert "secret" not in f"{caught.value}{store!r}"
    await store.close()
