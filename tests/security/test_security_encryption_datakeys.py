"""Data keys in a database: made once, kept for a time, rotated while processes go on, destroyed for good."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from archstone.data import Database
from archstone.errors import ConfigError
from archstone.security.encryption import (
    BrokenSealError,
    DataKeys,
    KeysDestroyedError,
    KeyService,
    KeyServiceBusyError,
    KeyServiceDeniedError,
    KeyServiceError,
    RootKeys,
    SealedColumn,
    UnknownSealKeyError,
    key_of,
    reseal,
)
from archstone.security.encryption.testing import KeyServiceConformance, KmsRules, StandInKms

KEEP_S = 300.0
phone = SealedColumn(str, "customers", "phone")


class TestRootKeys(KeyServiceConformance):
    @pytest.fixture
    def service(self) -> KeyService:
        return RootKeys.generate()


class TestStandInKms(KeyServiceConformance):
    @pytest.fixture
    def service(self) -> KeyService:
        return StandInKms()


class Unbound(RootKeys):
    async def wrap(self, key: bytes, *, context: str) -> bytes:
        return self.ring.seal(key, context="")

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        return self.ring.open(wrapped, context="")


class Plain(RootKeys):
    async def wrap(self, key: bytes, *, context: str) -> bytes:
        return key

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        return wrapped


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (Unbound, "test_a_wrapped_key_is_bound_to_its_context"),
        (Plain, "test_what_is_wrapped_does_not_hold_the_key"),
        (Plain, "test_wrapping_twice_gives_two_texts"),
        (Plain, "test_a_changed_byte_is_noticed"),
        (Plain, "test_a_cut_one_is_noticed"),
        (Plain, "test_what_was_just_wrapped_is_not_stale"),
    ],
)
async def test_the_suite_catches_broken_services(broken: type[RootKeys], caught_by: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await getattr(KeyServiceConformance(), caught_by)(broken.generate())


@pytest.fixture
def kms() -> StandInKms:
    return StandInKms()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[Database]:
    async with Database(f"sqlite:///{tmp_path}/a.db") as db:
        await db.execute("CREATE TABLE customers (id TEXT PRIMARY KEY, phone BLOB)")
        yield db


async def opened(db: Database, service: KeyService, **settings: float) -> DataKeys:
    keys = DataKeys(db, service, **settings)  # type: ignore[arg-type]
    await keys.open()
    return keys


@pytest.fixture
async def keys(db: Database, kms: StandInKms) -> DataKeys:
    return await opened(db, kms, keep_s=KEEP_S)


async def test_a_scope_has_a_key_of_its_own_that_every_process_finds(db: Database, kms: StandInKms) -> None:
    one, two = await opened(db, kms), await opened(db, kms)
    sealed = (await one.ring("a")).seal(b"text", context="x")
    assert (await two.ring("a")).open(sealed, context="x") == b"text"
    with pytest.raises(UnknownSealKeyError):
        (await two.ring("b")).open(sealed, context="x")


async def test_the_database_holds_no_key_in_the_clear(db: Database, keys: DataKeys) -> None:
    ring = await keys.ring("a")
    held = await db.all(tuple[bytes, str], "SELECT wrapped, name FROM _archstone_data_keys")
    assert [name for _, name in held] == [ring.sealing]
    secret = next(iter(ring._keys.values()))
    assert all(secret[at : at + 8] not in wrapped for wrapped, _ in held for at in range(25))


async def test_many_callers_ask_the_service_once(keys: DataKeys, kms: StandInKms) -> None:
    kms.rules = KmsRules(latency_s=0.2)
    rings = await asyncio.gather(*[keys.ring("a") for _ in range(50)])
    assert len({id(ring) for ring in rings}) == 1
    assert [asked.verb for asked in kms.asked] == ["wrap", "unwrap"]


async def test_a_caller_that_is_cancelled_fails_nobody_else(keys: DataKeys, kms: StandInKms) -> None:
    kms.rules = KmsRules(latency_s=1.0)
    first = asyncio.create_task(keys.ring("a"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(keys.ring("a"))
    await asyncio.sleep(0.1)
    first.cancel()
    assert (await second).seal(b"", context="x")


async def test_a_key_is_asked_for_again_when_its_time_is_over(keys: DataKeys, kms: StandInKms) -> None:
    await keys.ring("a")
    asked = len(kms.asked)
    await asyncio.sleep(KEEP_S - 1)
    await keys.ring("a")
    assert len(kms.asked) == asked
    await asyncio.sleep(2)
    await keys.ring("a")
    assert len(kms.asked) == asked + 1


async def test_scopes_in_memory_are_bounded(db: Database, kms: StandInKms) -> None:
    keys = await opened(db, kms, kept=3)
    for number in range(10):
        await keys.ring(f"person:{number}")
    assert len(keys._rings) == 3


@pytest.mark.parametrize("settings", [{"keep_s": 0}, {"keep_s": float("nan")}, {"kept": 0}])
def test_settings_are_checked(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        DataKeys(Database("sqlite:///never.db"), StandInKms(), **settings)  # type: ignore[arg-type]


async def test_an_outage_is_bridged_by_keys_in_memory_and_no_longer(keys: DataKeys, kms: StandInKms) -> None:
    ring = await keys.ring("a")
    kms.fault = "no answer within 2 s"
    assert await keys.ring("a") is ring
    await asyncio.sleep(KEEP_S + 1)
    with pytest.raises(KeyServiceError, match="stand-in: no answer within 2 s"):
        await keys.ring("a")
    kms.fault = None
    assert await keys.ring("a")


async def test_throttling_says_when_to_come_again(keys: DataKeys, kms: StandInKms) -> None:
    kms.rules = KmsRules(per_s=2)
    await keys.ring("a")  # wrap and unwrap
    with pytest.raises(KeyServiceBusyError) as refused:
        await keys.ring("b")
    await asyncio.sleep(refused.value.retry_after_s)
    assert await keys.ring("b")


async def test_a_service_that_denies_is_told_so(keys: DataKeys, kms: StandInKms) -> None:
    kms.grant("app", "unwrap")
    with pytest.raises(KeyServiceDeniedError, match="app may not wrap"):
        await keys.ring("a")
    kms.grant("app", "wrap", "unwrap")
    await keys.ring("a")
    kms.disable()
    with pytest.raises(KeyServiceDeniedError, match="the root key is disabled"):
        await keys.ring("b")
    kms.enable()
    assert await keys.ring("b")


async def test_a_lost_root_key_is_noticed_and_nothing_is_made_in_its_place(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "encryption.json"
    await (await opened(db, RootKeys.from_file(path))).ring("a")
    path.unlink()
    keys = await opened(db, RootKeys.from_file(path))
    with pytest.raises(UnknownSealKeyError, match="bring that key back if it was lost"):
        await keys.ring("a")
    assert len(await keys.states("a")) == 1


# Rotation


async def test_a_new_key_seals_only_when_every_process_knows_it(db: Database, kms: StandInKms) -> None:
    one, two = await opened(db, kms, keep_s=KEEP_S), await opened(db, kms, keep_s=KEEP_S)
    old = (await one.ring("a")).sealing
    await two.ring("a")
    await asyncio.sleep(KEEP_S)  # the first key has settled
    await two.ring("a")
    new = await one.rotate("a")
    for _ in range(40):
        # Whatever one seals, the other opens with what it has, at every moment of the changeover.
        sealed = [(await one.ring("a")).seal(b"1", context="x"), (await two.ring("a")).seal(b"2", context="x")]
        assert [(await two.ring("a")).open(sealed[0], context="x"), (await one.ring("a")).open(sealed[1], context="x")]
        await asyncio.sleep(KEEP_S / 20)
    assert {key_of(value) for value in sealed} == {new}
    assert (await one.ring("a")).ids == (new, old)


async def filled(db: Database, keys: DataKeys, rows: int) -> None:
    ring = await keys.ring("a")
    for number in range(rows):
        row = f"c{number:03}"
        await db.execute(
            "INSERT INTO customers VALUES (:id, :phone)", id=row, phone=phone.seal(f"+44 {number}", row=row, ring=ring)
        )
    await db.execute("INSERT INTO customers VALUES ('none', NULL)")


async def test_what_is_stored_is_sealed_again_in_batches_and_the_old_key_retired(db: Database, keys: DataKeys) -> None:
    await filled(db, keys, 25)
    old = (await keys.ring("a")).sealing
    new = await keys.rotate("a")
    assert await phone.keys_in(db) == {old: 25}
    assert not await keys.retire("a", old), "others may still seal with it"
    await asyncio.sleep(2 * KEEP_S + 1)
    steps = [step async for step in reseal(db, phone, await keys.ring("a"), limit=10)]
    assert [(step.seen, step.resealed, step.broken) for step in steps] == [(10, 10, ()), (20, 20, ()), (25, 25, ())]
    assert await phone.keys_in(db) == {new: 25}
    assert not await keys.retire("a", new), "the newest is never retired"
    assert await keys.retire("a", old)
    ring = await keys.ring("a")
    assert ring.ids == (new,)
    found = await db.all(tuple[str, bytes], "SELECT id, phone FROM customers WHERE phone IS NOT NULL ORDER BY id")
    assert [phone.open(sealed, row=row, ring=ring) for row, sealed in found] == [f"+44 {n}" for n in range(25)]
    assert [(state.name, state.ended_at is None) for state in await keys.states("a")] == [(new, True), (old, False)]


async def test_sealing_again_goes_on_where_it_was_interrupted_and_then_finds_nothing(
    db: Database, keys: DataKeys
) -> None:
    await filled(db, keys, 25)
    await keys.rotate("a")
    await asyncio.sleep(KEEP_S + 1)
    ring = await keys.ring("a")
    first = await anext(aiter(reseal(db, phone, ring, limit=10)))
    rest = [step async for step in reseal(db, phone, ring, limit=10, after=first.after)]
    assert rest[-1][:2] == (15, 15)
    assert [step.resealed async for step in reseal(db, phone, ring)] == [0]


async def test_a_row_that_changes_meanwhile_keeps_the_change(db: Database, keys: DataKeys) -> None:
    await filled(db, keys, 3)
    await keys.rotate("a")
    await asyncio.sleep(KEEP_S + 1)
    ring = await keys.ring("a")

    class Meddled:
        """Between reading and writing, somebody else changes a row."""

        transaction = db.transaction

        async def all(self, kind: type, sql: str, **params: object) -> list:
            rows = await db.all(kind, sql, **params)
            new = phone.seal("new number", row="c001", ring=ring)
            await db.execute("UPDATE customers SET phone = :phone WHERE id = 'c001'", phone=new)
            return rows

    steps = [step async for step in reseal(Meddled(), phone, ring)]  # type: ignore[arg-type]
    assert [(step.seen, step.resealed) for step in steps] == [(3, 2)]
    found = await db.one(bytes, "SELECT phone FROM customers WHERE id = 'c001'")
    assert phone.open(found, row="c001", ring=ring) == "new number"


async def test_a_broken_row_is_named_and_left_alone(db: Database, keys: DataKeys) -> None:
    await filled(db, keys, 5)
    moved = await db.one(bytes, "SELECT phone FROM customers WHERE id = 'c001'")
    await db.execute("UPDATE customers SET phone = :phone WHERE id = 'c003'", phone=moved)
    await keys.rotate("a")
    await asyncio.sleep(KEEP_S + 1)
    (step,) = [step async for step in reseal(db, phone, await keys.ring("a"))]
    assert (step.seen, step.resealed, step.broken) == (5, 4, ("c003",))
    assert await db.one(bytes, "SELECT phone FROM customers WHERE id = 'c003'") == moved


async def test_a_new_root_key_takes_the_data_keys_over(db: Database, kms: StandInKms) -> None:
    keys = await opened(db, kms)
    sealed = {scope: (await keys.ring(scope)).seal(b"a", context="x") for scope in ("a", "b", "c")}
    await keys.destroy("c")
    kms.rotate()
    assert await keys.rewrap() == 2
    assert await keys.rewrap() == 0
    kms._versions[1:] = []  # the old root key is gone
    fresh = await opened(db, kms)
    assert [(await fresh.ring(scope)).open(sealed[scope], context="x") for scope in ("a", "b")] == [b"a", b"a"]


async def test_the_keys_of_many_persons_cost_one_question_to_the_service(db: Database, kms: StandInKms) -> None:
    tables = await opened(db, kms)
    people = await opened(db, tables.service("people"))
    sealed = [(await people.ring(f"person:{n}")).seal(b"a", context="x") for n in range(20)]
    assert len(kms.asked) == 2
    again = await opened(db, (await opened(db, kms)).service("people"))
    assert {(await again.ring(f"person:{n}")).open(sealed[n], context="x") for n in range(20)} == {b"a"}
    await tables.rotate("people")
    await asyncio.sleep(KEEP_S + 1)
    await tables.ring("people")
    assert await people.rewrap(prefix="person:") == 20
    assert await people.rewrap(prefix="person:") == 0


class TestRingService(KeyServiceConformance):
    @pytest.fixture
    async def service(self, db: Database, kms: StandInKms) -> KeyService:
        return (await opened(db, kms)).service("people")


# Destruction


async def test_what_was_sealed_for_a_person_is_gone_with_their_keys(db: Database, keys: DataKeys) -> None:
    sealed = {who: (await keys.ring(f"person:{who}")).seal(b"text", context="x") for who in ("ann", "bob")}
    await keys.rotate("person:ann")
    await keys.destroy("person:ann")
    with pytest.raises(KeysDestroyedError, match="keys of 'person:ann' were destroyed"):
        await keys.ring("person:ann")
    with pytest.raises(KeysDestroyedError):
        await keys.rotate("person:ann")
    assert (await keys.ring("person:bob")).open(sealed["bob"], context="x") == b"text"
    left = await db.all(tuple[bytes | None], "SELECT wrapped FROM _archstone_data_keys WHERE scope = 'person:ann'")
    assert left == [(None,), (None,)]


async def test_a_scope_without_keys_can_be_destroyed_and_gets_none(keys: DataKeys) -> None:
    await keys.destroy("person:ann")
    await keys.destroy("person:ann")
    with pytest.raises(KeysDestroyedError):
        await keys.ring("person:ann")


async def test_a_key_that_is_being_unwrapped_while_it_is_destroyed_is_not_kept(db: Database, kms: StandInKms) -> None:
    await (await opened(db, kms)).ring("a")
    kms.rules = KmsRules(latency_s=5.0)
    keys = await opened(db, kms)
    asking = asyncio.create_task(keys.ring("a"))
    await asyncio.sleep(1)
    await keys.destroy("a")
    with pytest.raises(KeysDestroyedError):
        await asking
    with pytest.raises(KeysDestroyedError):
        await keys.ring("a")


async def test_another_process_stops_opening_within_the_time_that_keys_are_kept(db: Database, kms: StandInKms) -> None:
    one, two = await opened(db, kms, keep_s=KEEP_S), await opened(db, kms, keep_s=KEEP_S)
    await two.ring("a")
    await one.destroy("a")
    assert await two.ring("a"), "it has not asked since"
    await asyncio.sleep(KEEP_S)
    with pytest.raises(KeysDestroyedError):
        await two.ring("a")


async def test_a_destroyed_root_key_ends_everything(keys: DataKeys, kms: StandInKms) -> None:
    await keys.ring("a")
    kms.destroy()
    await asyncio.sleep(KEEP_S + 1)
    with pytest.raises(KeyServiceError, match="the root key was destroyed"):
        await keys.ring("a")


async def test_a_wrapped_key_that_is_moved_to_another_scope_does_not_open(db: Database, kms: StandInKms) -> None:
    keys = await opened(db, kms)
    await keys.ring("a")
    await keys.ring("b")
    await db.execute(
        "UPDATE _archstone_data_keys SET wrapped ="
        " (SELECT wrapped FROM _archstone_data_keys WHERE scope = 'a') WHERE scope = 'b'"
    )
    with pytest.raises(BrokenSealError):
        await (await opened(db, kms)).ring("b")


async def test_closing_waits_for_what_is_being_asked(keys: DataKeys, kms: StandInKms) -> None:
    kms.rules = KmsRules(latency_s=3.0)
    asking = asyncio.create_task(keys.ring("a"))
    await asyncio.sleep(1)
    await keys.close()
    assert (await asking).sealing
    assert keys._rings == {}


@pytest.mark.real_time
async def test_the_same_on_postgresql(postgres_url: str, kms: StandInKms) -> None:
    async with Database(postgres_url) as db:
        await db.execute("CREATE TABLE customers (id TEXT PRIMARY KEY, phone BYTEA)")
        one, two = await opened(db, kms, keep_s=0.001), await opened(db, kms, keep_s=0.001)
        rings = await asyncio.gather(one.ring("a"), two.ring("a"), one.ring("a"))
        assert len({ring.sealing for ring in rings}) == 1
        await filled(db, one, 5)
        old = (await one.ring("a")).sealing
        new = await one.rotate("a")
        await asyncio.sleep(0.01)
        assert [step.resealed async for step in reseal(db, phone, await two.ring("a"))] == [5]
        assert await phone.keys_in(db) == {new: 5}
        assert await one.retire("a", old)
        await one.destroy("a")
        with pytest.raises(KeysDestroyedError):
            await two.ring("a")
