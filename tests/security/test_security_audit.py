"""An audit log: records with what they tell, one chain, what it keeps out, what it drops, and what it lets go."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from archstone import context, world
from archstone.context import Call, Denied, Principal
from archstone.data import Database, MisuseError, Transaction
from archstone.errors import ConfigError
from archstone.security import AUDIT_SCHEMA, AnchorError, AuditLog, Audits, FileAnchor

KEY = b"k" * 32

pytestmark = pytest.mark.simulated(limit_s=None)


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database, None]:
    url = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with Database(url, schemas=(AUDIT_SCHEMA,)) as opened:
        yield opened


@pytest.fixture
async def log(db: Database) -> AsyncGenerator[AuditLog, None]:
    made = AuditLog(db, name="users", key=KEY)
    await made.open()
    yield made
    await made.close()


async def numbers(log: AuditLog) -> list[int]:
    return [each.number for each in await log.entries()]


async def test_a_record_says_who_did_what_to_what_when_whence_and_with_what_outcome(log: AuditLog) -> None:
    with context.enter(Call(principal=Principal("ann", frozenset()))):
        context.set_whence("192.0.2.7")
        await log.record("users.role-granted", subject="bob", details={"role": "admin", "times": 2})
    context.set_whence("")
    [record] = await log.entries()
    assert (record.who, record.action, record.subject, record.whence, record.outcome) == (
        "ann", "users.role-granted", "bob", "192.0.2.7", "done",
    )  # fmt: skip
    assert json.loads(record.details) == {"role": "admin", "times": 2}
    assert abs(record.at - world.now_us()) < 60_000_000


async def test_a_record_in_a_transaction_is_there_if_and_only_if_that_commits(db: Database, log: AuditLog) -> None:
    with pytest.raises(KeyError):
        async with db.transaction() as tx:
            await log.record("users.one", tx=tx)
            raise KeyError
    assert await numbers(log) == []
    async with db.transaction() as tx:
        await log.record("users.one", tx=tx)
        await log.record("users.two", tx=tx)
    assert await numbers(log) == [2, 1]
    assert (await log.verify()).holds


async def test_many_at_once_make_one_chain(db: Database, log: AuditLog) -> None:
    async def change(number: int) -> None:
        async def work(tx: Transaction) -> None:
            await log.record("users.changed", subject=str(number), tx=tx)

        await db.run(work)

    await asyncio.gather(*(change(n) for n in range(10)), *(log.record("users.read") for _ in range(10)))
    assert await numbers(log) == list(range(20, 0, -1))
    verdict = await log.verify()
    assert (verdict.holds, verdict.records, verdict.first, verdict.last) == (True, 20, 1, 20)


async def test_a_note_needs_nobody_who_waits_and_outlives_a_rollback(db: Database, log: AuditLog) -> None:
    with pytest.raises(PermissionError):
        async with db.transaction() as tx:
            await tx.execute("DELETE FROM _archstone_audit")
            log.note("roles.denied", outcome="denied")
            raise PermissionError
    await log.close()
    assert [(each.action, each.outcome) for each in await log.entries()] == [("roles.denied", "denied")]


async def test_a_record_without_the_transaction_that_is_open_is_refused(db: Database, log: AuditLog) -> None:
    async with db.transaction() as tx:
        await tx.execute("DELETE FROM _archstone_audit")
        with pytest.raises(MisuseError):
            await log.record("users.one")


async def test_notes_that_find_no_room_are_counted_in_the_log(db: Database) -> None:
    log = AuditLog(db, name="small", notes_waiting=3)
    for _ in range(10):
        log.note("roles.denied", outcome="denied")
    await log.close()
    [dropped] = await log.entries(action="audit.dropped")
    assert json.loads(dropped.details) == {"notes": 7}
    assert len(await log.entries(action="roles")) == 3


@pytest.mark.parametrize("action", ["", "denied", "Roles.denied", "roles.", "roles denied", "a." + "b" * 70])
async def test_an_action_has_a_form(db: Database, action: str) -> None:
    with pytest.raises(ConfigError, match="words of lower case letters"):
        AuditLog(db).note(action)


async def test_what_is_told_is_bounded_and_holds_no_secret(log: AuditLog) -> None:
    told: dict[str, object] = {"password": "hunter2", "url": "https://a:hunter2@b/", "long": "x" * 1000, "none": None}
    await log.record("users.changed", subject="a\nb\x1b[31m" + "s" * 500, who="w" * 500, details=told)
    [record] = await log.entries()
    details = json.loads(record.details)
    assert "hunter2" not in record.details
    assert (details["password"], len(details["long"]), details["none"]) == ("[redacted]", 200, None)
    assert (len(record.subject), len(record.who)) == (200, 200)
    assert record.subject.isprintable()
    with pytest.raises(ConfigError, match="17 details"):
        await log.record("users.changed", details={str(n): n for n in range(17)})


async def test_records_are_found_by_what_they_say(log: AuditLog) -> None:
    await log.record("users.signed-in", who="ann", subject="ann")
    await log.record("users.signed-in", who="bob", subject="bob", outcome="failed")
    await log.record("usersx.other", who="ann")
    assert [each.who for each in await log.entries(action="users")] == ["bob", "ann"]
    assert [each.number for each in await log.entries(who="ann")] == [3, 1]
    assert [each.number for each in await log.entries(outcome="failed")] == [2]
    assert [each.number for each in await log.entries(subject="bob")] == [2]
    assert [each.number for each in await log.entries(before=3, limit=1)] == [2]


async def test_what_is_too_old_is_deleted_and_the_chain_goes_on(db: Database) -> None:
    log = AuditLog(db, name="kept", key=KEY, keep_s=60.0)
    old = world.now_us() - 120_000_000
    for number in range(5):
        await log.record("users.old", subject=str(number))
    await db.execute("UPDATE _archstone_audit SET at = :old WHERE log = 'kept'", old=old)
    assert not (await log.verify()).holds  # that was a change, of course
    await log.record("users.new")
    assert await db.run(log.sweep) == 5
    verdict = await log.verify()
    assert (verdict.holds, verdict.first, verdict.last) == (True, 6, 7)
    assert [each.action for each in await log.entries()] == ["audit.pruned", "users.new"]
    assert await db.run(log.sweep) == 0
    assert await AuditLog(db, name="kept", key=KEY).verify() == verdict


async def test_a_log_without_records_holds(log: AuditLog) -> None:
    verdict = await log.verify()
    assert (verdict.holds, verdict.records, verdict.first, verdict.last) == (True, 0, 1, 0)


async def test_an_anchor_moves_with_the_log_and_not_with_one_that_was_touched(db: Database, tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "anchor.json", key=KEY)
    log = AuditLog(db, name="anchored", key=KEY, anchor=anchor)
    assert await log.anchor() is not None
    assert await anchor.kept("anchored") is None
    await log.record("users.one")
    head = await log.anchor()
    assert head is not None
    assert await anchor.kept("anchored") == head
    await db.execute("UPDATE _archstone_audit SET hash = :other WHERE log = 'anchored'", other=bytes(32))
    await log.record("users.two")
    assert await log.anchor() == head
    assert await anchor.kept("anchored") == head
    assert (tmp_path / "anchor.json").stat().st_mode & 0o777 == 0o600


async def test_an_anchor_that_was_changed_says_so(tmp_path: Path, db: Database) -> None:
    anchor = FileAnchor(tmp_path / "anchor.json", key=KEY)
    log = AuditLog(db, name="a", key=KEY, anchor=anchor)
    await log.record("users.one")
    await log.anchor()
    text = (tmp_path / "anchor.json").read_text()
    for broken in (text.replace(": [1", ": [0"), "{", "[]", '{"a": [1]}', '{"a": ["x", "y", "z"]}'):
        (tmp_path / "anchor.json").write_text(broken)
        with pytest.raises(AnchorError):
            await log.verify()


async def test_what_roles_refuse_is_recorded_for_who_is_signed_in(tmp_path: Path) -> None:
    async with Audits(f"sqlite:///{tmp_path}/audit.db", keep_s=60.0) as audits:
        audits.denied(Denied("Orders.refund", "orders:refund", Principal("ann"), "no permission", "17"))
        audits.denied(Denied("Orders.refund", "orders:refund", Principal(), "not signed in"))
        await asyncio.sleep(1)
        [record] = await audits.system.entries()
        assert (record.action, record.outcome, record.who, record.subject) == (
            "roles.denied", "denied", "ann", "Orders.refund",
        )  # fmt: skip
        assert json.loads(record.details) == {"requires": "orders:refund", "why": "no permission", "row": "17"}
        await asyncio.sleep(60)
        assert await audits.sweep() == 1
        assert (await audits.system.verify()).holds


async def test_a_system_has_a_log_of_its_own_and_one_for_each_service(tmp_path: Path, db: Database) -> None:
    async with Audits(f"sqlite:///{tmp_path}/audit.db", key=KEY) as audits:
        audits.system.note("roles.denied", outcome="denied")
        mine = audits.of(db, "users")
        assert audits.of(db, "users") is mine
        await mine.record("users.one")
        assert [log.name for log in audits.logs] == ["system", "users"]
        assert (await mine.verify()).holds
    async with Audits(f"sqlite:///{tmp_path}/audit.db", key=KEY) as audits:
        assert [each.action for each in await audits.system.entries()] == ["roles.denied"]
