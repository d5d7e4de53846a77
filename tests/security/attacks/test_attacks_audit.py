"""Whoever can write to the database of an audit log, and what gives them away. The weak variant is the same table read
without the chain, or a chain without key or anchor: there, nobody notices."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from archstone.data import Database
from archstone.security import AUDIT_SCHEMA, AuditLog, AuditRecord, FileAnchor, auditentry
from archstone.security.auditchain import BEGINNING, Head, link

KEY = b"k" * 32
INSERT = (
    "INSERT INTO _archstone_audit (log, number, at, who, action, subject, whence, outcome, details, before, hash)"
    " VALUES (:log, :number, :at, :who, :action, :subject, :whence, :outcome, :details, :before, :hash)"
)

pytestmark = pytest.mark.simulated(limit_s=None)
Tamper = Callable[[Database], Awaitable[object]]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[Database, None]:
    async with Database(f"sqlite:///{tmp_path}/x.db", schemas=(AUDIT_SCHEMA,)) as opened:
        yield opened


@pytest.fixture
async def log(db: Database, tmp_path: Path) -> AuditLog:
    made = AuditLog(db, name="users", key=KEY, anchor=FileAnchor(tmp_path / "anchor.json", key=KEY))
    for number in range(1, 7):
        await made.record("users.changed", who="mallory", subject=str(number))
    await made.anchor()
    return made


async def found(log: AuditLog) -> list[str]:
    return [each.what for each in (await log.verify()).faults]


async def unnoticed_without_chain(db: Database) -> bool:
    """Weak: whether a log that is only a table shows nothing: every row can be read, and its fields are well-formed."""
    rows = await db.all(AuditRecord, "SELECT number, at, who, action, subject, whence, outcome, details, before, hash"
                                     " FROM _archstone_audit WHERE log = 'users'")  # fmt: skip
    return all(json.loads(row.details) == {} and row.action for row in rows)


async def rewritten(db: Database, key: bytes, *, after: int = 0, drop: int = 0) -> None:
    """Make a chain anew with a key, without one record."""
    rows = await db.all(AuditRecord, "SELECT number, at, who, action, subject, whence, outcome, details, before, hash"
                                     " FROM _archstone_audit WHERE log = 'users' ORDER BY number")  # fmt: skip
    await db.execute("DELETE FROM _archstone_audit WHERE log = 'users'")
    at = BEGINNING
    for row in (row for row in rows if row.number != drop):
        before, at = at, link("users", key, at, row.entry)
        await db.execute(INSERT, log="users", number=at.number, before=before.hash, hash=at.hash, **row.entry._asdict())
    await db.execute("UPDATE _archstone_audit_head SET number = :number, hash = :hash", number=at.number, hash=at.hash)


async def test_attack_a_record_is_changed(db: Database, log: AuditLog) -> None:
    await db.execute("UPDATE _archstone_audit SET who = 'ann' WHERE number = 3")
    assert await found(log) == ["changed: its hash is not that of what it says"]
    assert await unnoticed_without_chain(db)


async def test_attack_a_record_is_taken_out(db: Database, log: AuditLog) -> None:
    await db.execute("DELETE FROM _archstone_audit WHERE number = 3")
    assert await found(log) == ["missing: 3"]
    assert await unnoticed_without_chain(db)


async def test_attack_a_record_is_taken_out_and_the_rest_renumbered(db: Database, log: AuditLog) -> None:
    await db.execute("DELETE FROM _archstone_audit WHERE number = 3")
    for number in (4, 5, 6):
        await db.execute("UPDATE _archstone_audit SET number = :new WHERE number = :old", new=number - 1, old=number)
    await db.execute("UPDATE _archstone_audit_head SET number = 5")
    assert "changed: its hash is not that of what it says" in await found(log)
    assert await unnoticed_without_chain(db)


async def test_attack_two_records_change_places(db: Database, log: AuditLog) -> None:
    for old, new in ((3, 30), (4, 3), (30, 4)):
        await db.execute("UPDATE _archstone_audit SET number = :new WHERE number = :old", new=new, old=old)
    assert "does not follow the record before it: one of the two was changed or moved" in await found(log)
    assert await unnoticed_without_chain(db)


async def test_attack_the_end_is_cut_off_and_the_head_set_back(db: Database, log: AuditLog) -> None:
    [last] = await db.all(Head, "SELECT number, hash FROM _archstone_audit WHERE number = 4")
    await db.execute("DELETE FROM _archstone_audit WHERE number > 4")
    await db.execute("UPDATE _archstone_audit_head SET number = 4, hash = :hash", hash=last.hash)
    assert await found(log) == ["the anchor knows 6 records: the end was cut off"]
    assert (await AuditLog(db, name="users", key=KEY).verify()).holds  # weak: without an anchor nobody sees it


async def test_attack_the_end_is_cut_off_and_grows_again(db: Database, log: AuditLog) -> None:
    [last] = await db.all(Head, "SELECT number, hash FROM _archstone_audit WHERE number = 4")
    await db.execute("DELETE FROM _archstone_audit WHERE number > 4")
    await db.execute("UPDATE _archstone_audit_head SET number = 4, hash = :hash", hash=last.hash)
    for _ in range(5):
        await log.record("users.harmless")
    await log.anchor()  # which must not take the new end for the truth
    assert await found(log) == ["is not the record that the anchor knows: the log was written anew"]
    assert (await AuditLog(db, name="users", key=KEY).verify()).holds  # weak: without an anchor


async def test_attack_a_record_is_forged_without_the_key(db: Database, log: AuditLog) -> None:
    [last] = await log.entries(limit=1)
    forged = last.entry._replace(who="ann", action="users.role-granted")
    at = link("users", b"", Head(last.number, last.hash), forged)
    await db.execute(INSERT, log="users", number=7, before=last.hash, hash=at.hash, **forged._asdict())
    await db.execute("UPDATE _archstone_audit_head SET number = 7, hash = :hash", hash=at.hash)
    assert await found(log) == ["changed: its hash is not that of what it says"]
    await rewritten(db, b"")
    assert (await AuditLog(db, name="users", key=b"").verify()).holds  # weak: a chain without a key is anybody's


async def test_attack_the_whole_chain_is_written_anew_with_a_stolen_key(db: Database, log: AuditLog) -> None:
    await rewritten(db, KEY, drop=3)
    await log.record("users.harmless")  # as many as before
    assert await found(log) == ["is not the record that the anchor knows: the log was written anew"]
    assert (await AuditLog(db, name="users", key=KEY).verify()).holds  # weak: without an anchor


async def test_attack_a_record_comes_from_another_log(db: Database, log: AuditLog) -> None:
    other = AuditLog(db, name="orders", key=KEY)
    for number in range(1, 7):
        await other.record("users.changed", who="ann", subject=str(number))
    await db.execute("DELETE FROM _archstone_audit WHERE log = 'users'")
    await db.execute("UPDATE _archstone_audit SET log = 'users'")
    faults = await found(log)
    assert faults.count("changed: its hash is not that of what it says") == 6
    assert await unnoticed_without_chain(db)


async def test_attack_the_beginning_is_deleted_as_if_it_were_too_old(db: Database, log: AuditLog) -> None:
    [third] = await db.all(Head, "SELECT number, hash FROM _archstone_audit WHERE number = 3")
    await db.execute("DELETE FROM _archstone_audit WHERE number <= 3")
    await db.execute("UPDATE _archstone_audit_head SET base_number = 3, base_hash = :hash", hash=third.hash)
    assert await found(log) == ["records up to 3 are gone and no record tells that they were pruned"]
    assert await unnoticed_without_chain(db)


async def test_attack_a_name_forges_a_line_of_the_list(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ann\n7  2026-01-01  root  users.role-granted\x1b[2K\r"

    async def lines() -> list[str]:
        await log.record("users.renamed", subject=name)
        [record] = await log.entries(limit=1)
        return f"{record.number}  {record.subject}".splitlines()

    [line] = await lines()
    assert "\x1b" not in line
    monkeypatch.setattr(auditentry, "_plain", lambda text: text)  # weak: writes what it is given
    assert len(await lines()) == 2


async def test_attack_a_flood_of_denials_fills_the_memory(db: Database) -> None:
    async def waiting(log: AuditLog) -> int:
        for number in range(5_000):
            log.note("roles.denied", subject=str(number), outcome="denied")
        found = len(log._notes)
        await log.close()
        return found

    bounded = AuditLog(db, name="flood", notes_waiting=100)
    assert await waiting(bounded) == 100
    assert (await bounded.verify()).records == 101  # the last tells of the others
    assert await waiting(AuditLog(db, name="weak", notes_waiting=10**9)) == 5_000


async def test_attack_secrets_are_read_from_the_audit_log(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(db, name="secrets")
    told = {"new_password": "hunter2hunter2", "header": "Authorization: Bearer abcdefghijkl", "iban": "none"}

    async def read() -> list[bool]:
        await log.record("users.changed", details=told)
        [record] = await log.entries(limit=1)
        return [each in record.details for each in ("hunter2hunter2", "abcdefghijkl")]

    assert await read() == [False, False]
    # Weak: looks neither at names nor at values.
    monkeypatch.setattr(auditentry, "speaks_of_a_secret", lambda name: False)
    monkeypatch.setattr(auditentry, "scrub", str)
    assert await read() == [True, True]
