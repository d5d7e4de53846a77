"""API keys: their form, their life, what is counted and what a crash forgets."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import context
from archstone.context import Principal, Program
from archstone.data import Database, Schema
from archstone.errors import ConfigError
from archstone.security import (
    ApiKeyError,
    ApiKeys,
    AuditLog,
    SigningKeys,
    TooManyApiKeysError,
    UnknownApiKeyError,
    well_formed,
)
from archstone.security.apikeyrows import API_KEY_SCHEMA

pytestmark = pytest.mark.simulated(limit_s=None)

PEPPER = SigningKeys((b"p" * 32,))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/keys.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    async with Database(url) as opened:
        yield opened


@pytest.fixture
async def keys(db: Database) -> AsyncIterator[ApiKeys]:
    async with ApiKeys(db, pepper=PEPPER, most_each=3) as opened:
        yield opened


async def test_a_key_opens_what_it_was_made_for(keys: ApiKeys) -> None:
    made = await keys.create("ann", name="nightly export", scopes=["orders:read", "carts:read"])
    found = await keys.verify(made.text)
    principal = found.principal({"customer"})
    assert (principal.id, principal.roles) == ("ann", frozenset({"customer"}))
    assert principal.scopes == frozenset({"orders:read", "carts:read"})
    assert found.name == "nightly export"
    assert made.text.startswith(found.hint)
    assert len(found.hint) == 8


async def test_a_key_says_by_what_somebody_is_asked_for_and_keeps_its_limit(keys: ApiKeys) -> None:
    made = await keys.create("ann", name="x", scopes=[], per_minute=6_000)
    assert (await keys.verify(made.text)).principal().by == Program(f"key:{made.key.id}", 6_000)
    new = await keys.rotate(made.key.id, owner="ann")
    assert (await keys.verify(new.text)).per_minute == 6_000
    assert (await keys.create("ann", name="x", scopes=[])).key.per_minute is None
    for bad in (0, 6_001):
        with pytest.raises(ConfigError, match=rf"per_minute={bad} must be in \[1, 6000\]"):
            await keys.create("ann", name="x", scopes=[], per_minute=bad)


async def test_a_key_of_before_has_no_limit_of_its_own(db: Database) -> None:
    await db.ensure(Schema(API_KEY_SCHEMA.block, API_KEY_SCHEMA.versions[:1]))
    async with ApiKeys(db, pepper=PEPPER) as keys:
        made = await keys.create("ann", name="x", scopes=[])
        assert (await keys.verify(made.text)).per_minute is None


async def test_what_becomes_of_a_key_is_on_record_with_its_change(db: Database) -> None:
    log = AuditLog(db, name="programs", key=b"k" * 32)
    async with ApiKeys(db, pepper=PEPPER, audit=log) as keys:
        ann = Principal("ann", frozenset(), frozenset(), Program("client:helper"))
        with context.enter(context.Call(principal=ann)):
            old = await keys.create("ann", name="x", scopes=["orders:read"], per_minute=60)
            new = await keys.rotate(old.key.id, owner="ann")
            assert not await keys.revoke(new.key.id, owner="eve")
            assert await keys.revoke(new.key.id, owner="ann")
            assert not await keys.revoke(new.key.id, owner="ann")
        assert await keys.revoke_text(old.text)
        assert await keys.revoke_all("ann") == 0
    assert (await log.verify()).holds
    found = list(reversed(await log.entries()))
    assert [(each.outcome, each.who, each.action, each.subject) for each in found] == [
        ("done", "ann", "keys.made", old.key.id),
        ("done", "ann", "keys.rotated", new.key.id),
        ("done", "ann", "keys.revoked", new.key.id),
        ("done", "", "keys.revoked", old.key.id),
    ]
    assert json.loads(found[1].details) == {
        "owner": "ann", "scopes": "orders:read", "per_minute": 60, "replaces": old.key.id, "by": "client:helper",
    }  # fmt: skip
    assert old.text not in str(found)


async def test_a_key_that_has_ended_and_is_sent_all_the_same_is_on_record_once_a_minute(db: Database) -> None:
    log = AuditLog(db, name="programs", key=b"k" * 32)
    async with ApiKeys(db, pepper=PEPPER, audit=log) as keys:
        late, gone = [await keys.create("ann", name="x", scopes=[], lifetime_s=life_s) for life_s in (60, 600)]
        await keys.revoke(gone.key.id, owner="ann")
        await asyncio.sleep(60)
        for at in range(20):
            for each in (late, gone):
                with pytest.raises(ApiKeyError):
                    await keys.verify(each.text)
            await asyncio.sleep(1 if at < 10 else 6)
        with pytest.raises(ApiKeyError):  # nobody's: strangers, who could fill the log, are not recorded
            await keys.verify("ask_" + "0" * 44)
        await log.record("test.done")
    found = [each for each in reversed(await log.entries()) if each.outcome == "denied"]
    told = [(each.action, each.subject, json.loads(each.details)) for each in found]
    dead = [
        ("keys.refused", late.key.id, {"owner": "ann", "why": "expired"}),
        ("keys.refused", gone.key.id, {"owner": "ann", "why": "revoked"}),
    ]
    assert told == dead * 2


async def test_a_scanner_finds_keys_and_knows_real_ones(keys: ApiKeys) -> None:
    made = await keys.create("ann", name="x", scopes=[])
    text = f"curl -H 'X-API-Key: {made.text}' # and ask_{'0' * 44}"
    found = re.findall(ApiKeys.LEAKED, text)
    assert found == [made.text, "ask_" + "0" * 44]
    assert [well_formed(each) for each in found] == [True, False]


async def test_a_key_goes_on_for_a_while_beside_its_successor(keys: ApiKeys) -> None:
    old = await keys.create("ann", name="x", scopes=["orders:read"])
    new = await keys.rotate(old.key.id, owner="ann", overlap_s=60)
    assert (new.key.name, new.key.scopes, new.key.replaces) == ("x", "orders:read", old.key.id)
    for each in (old, new):
        await keys.verify(each.text)
    await asyncio.sleep(60)
    with pytest.raises(ApiKeyError, match="expired"):
        await keys.verify(old.text)
    await keys.verify(new.text)
    with pytest.raises(UnknownApiKeyError):
        await keys.rotate(old.key.id, owner="ann")


async def test_uses_are_counted_together_and_written_now_and_then(keys: ApiKeys, db: Database) -> None:
    made = await keys.create("ann", name="x", scopes=[])
    before = db.statistics()
    for _ in range(500):
        await keys.verify(made.text)
    assert (await keys.keys_of("ann"))[0].uses == 0
    await asyncio.sleep(10.1)
    assert (await keys.keys_of("ann"))[0].uses == 500
    assert db.statistics().members - before.members <= 1
    last = (await keys.keys_of("ann"))[0].last_used_us
    assert last is not None


async def test_a_crash_forgets_the_counts_of_ten_seconds_and_closing_none(db: Database) -> None:
    async with ApiKeys(db, pepper=PEPPER) as first:
        made = await first.create("ann", name="x", scopes=[])
        await first.verify(made.text)
    async with ApiKeys(db, pepper=PEPPER) as second:
        assert (await second.keys_of("ann"))[0].uses == 1
        await second.verify(made.text)
        await asyncio.sleep(10.1)
        await second.verify(made.text)
        second._uses.clear()  # a process that dies
    async with ApiKeys(db, pepper=PEPPER) as third:
        assert (await third.keys_of("ann"))[0].uses == 2


async def test_counts_that_could_not_be_written_are_kept(keys: ApiKeys, db: Database) -> None:
    made = await keys.create("ann", name="x", scopes=[])
    real, away = db.many, True

    async def many(sql: str, rows: object) -> int:
        if away:
            raise OSError("away")
        return await real(sql, rows)

    db.many = many
    await keys.verify(made.text)
    await asyncio.sleep(15)
    away = False
    await asyncio.sleep(10)
    assert (await keys.keys_of("ann"))[0].uses == 1


async def test_many_different_keys_are_written_before_their_time(db: Database) -> None:
    async with ApiKeys(db, pepper=PEPPER, most_counted=2) as keys:
        made = [await keys.create("ann", name="x", scopes=[]) for _ in range(2)]
        for each in made:
            await keys.verify(each.text)
        await asyncio.sleep(0.1)
        assert [each.uses for each in await keys.keys_of("ann")] == [1, 1]


async def test_one_has_so_many_and_gets_another_when_one_ends(keys: ApiKeys) -> None:
    made = [await keys.create("ann", name="x", scopes=[], lifetime_s=100) for _ in range(3)]
    with pytest.raises(TooManyApiKeysError, match="there are 3 already"):
        await keys.create("ann", name="x", scopes=[])
    await keys.create("bob", name="x", scopes=[])
    assert await keys.revoke(made[0].key.id, owner="ann")
    assert not await keys.revoke(made[0].key.id, owner="ann")
    await keys.create("ann", name="x", scopes=[])


async def test_a_key_that_was_found_by_a_scanner_is_ended_by_its_text(keys: ApiKeys) -> None:
    made = await keys.create("ann", name="x", scopes=[])
    assert await keys.revoke_text(made.text)
    assert not await keys.revoke_text(made.text)
    assert not await keys.revoke_text("nonsense")
    with pytest.raises(ApiKeyError, match="revoked"):
        await keys.verify(made.text)


async def test_all_keys_of_somebody_end(keys: ApiKeys) -> None:
    made = [await keys.create("ann", name="x", scopes=[]) for _ in range(2)]
    assert await keys.revoke_all("ann") == 2
    for each in made:
        with pytest.raises(ApiKeyError, match="revoked"):
            await keys.verify(each.text)


async def test_the_pepper_can_be_changed(db: Database) -> None:
    async with ApiKeys(db, pepper=PEPPER) as keys:
        made = await keys.create("ann", name="x", scopes=[])
    both = PEPPER.rotated()
    async with ApiKeys(db, pepper=both) as keys:
        await keys.verify(made.text)
    async with ApiKeys(db, pepper=SigningKeys((both.keys[0],))) as keys:
        with pytest.raises(ApiKeyError, match="unknown"):
            await keys.verify(made.text)


async def test_keys_that_ended_a_while_ago_are_swept(keys: ApiKeys) -> None:
    await keys.create("ann", name="x", scopes=[], lifetime_s=60)
    await asyncio.sleep(3_600)
    assert await keys.sweep() == 0
    assert await keys.sweep(keep_s=3_600) == 0
    await asyncio.sleep(60)
    assert await keys.sweep(keep_s=3_600) == 1


@pytest.mark.parametrize(
    "said",
    [{"name": ""}, {"name": "x" * 101}, {"scopes": ["a b"]}, {"scopes": [""]}, {"scopes": [str(n) for n in range(51)]}],
)
async def test_what_a_key_cannot_be(keys: ApiKeys, said: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        await keys.create("ann", **{"name": "x", "scopes": [], **said})


def test_settings_are_checked(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/keys.db")
    for said in (
        {"prefix": "A"},
        {"prefix": "a"},
        {"longest_s": 0},
        {"flush_s": 0},
        {"most_each": 0},
        {"most_counted": 0},
    ):
        with pytest.raises(ConfigError):
            ApiKeys(db, pepper=PEPPER, **said)


@given(text=st.text(max_size=60) | st.from_regex(r"ask_[0-9A-Za-z]{44}", fullmatch=True))
def test_any_text_is_answered(text: str) -> None:
    assert well_formed(text) in {True, False}
