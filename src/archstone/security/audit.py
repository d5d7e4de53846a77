"""An audit log: who did what to what, when, from where, with what outcome, and a chain that shows if it was touched.

    audit = AuditLog(db, name="users", key=key)
    await audit.open()
    await audit.record("users.role-granted", subject=user_id, details={"role": "admin"}, tx=tx)  # with the change
    await audit.record("users.signed-in", subject=user_id)                                      # alone, then durable
    audit.note("roles.denied", subject="Orders.refund", outcome="denied")                       # soon, never waits
    verdict = await audit.verify()

Promise: a record given a transaction exists if and only if that commits. One without is durable when `record` returns.
A note is written within moments; at most `notes_waiting` wait, and how many found no room is a record as well. Nothing
is changed afterwards; a record that is changed, moved, taken out or put in is found by `verify`, and so is an end that
was cut off where an anchor has seen it. No secrets: values under names that speak of one, and what looks like one, are
replaced before they are stored. Everything is bounded.

All records of one log are one chain, so transactions that record come one after another: on PostgreSQL one that meets
another is lost and runs again (`Database.run`). Notes and records without a transaction are written together.

Not a log for debugging (`archstone.observability`), and no proof against who has the database *and* the key: send
anchors elsewhere. Source: NIST SP 800-92; OWASP Logging Vocabulary Cheat Sheet (what to record).
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from archstone import context, world
from archstone.context import Call
from archstone.data import Database, Transaction
from archstone.errors import ConfigError
from archstone.observability import counter, get_logger
from archstone.security import audittables as tables
from archstone.security.anchor import Anchor
from archstone.security.auditchain import (
    BEGINNING,
    PRUNED,
    AuditFault,
    AuditRecord,
    ChainCheck,
    Entry,
    Head,
    Outcome,
    link,
    pruned_details,
)
from archstone.security.auditentry import made_entry

__all__ = ["AuditLog", "AuditTransaction", "AuditVerdict"]

T = TypeVar("T")

_NAME_LIMIT: Final = 200
_PAGE: Final = 1_000
_BATCH: Final = 500
_log = get_logger("archstone.security.audit")
_dropped = counter("archstone_audit_dropped", "Notes for an audit log that found no room.", ("log",))


class AuditTransaction(Protocol):
    """An open transaction, as far as it is needed here: `Transaction` of data, or a service's `self.tx`."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...

    def first(self, row: type[T], sql: str, /, **params: object) -> Awaitable[T | None]:
        """Return the first row, or None."""
        ...


class AuditVerdict(NamedTuple):
    """What came of checking a log."""

    log: str
    records: int
    first: int
    """Number of the oldest record that is kept; one more than the last if there is none."""
    last: int
    anchored: int | None
    """Number of the newest record that an anchor knows. None: there is no anchor."""
    faults: tuple[AuditFault, ...]
    """At most 100."""

    @property
    def holds(self) -> bool:
        """Whether nobody has touched it, as far as the chain and the anchor can tell."""
        return not self.faults


class _Ends(NamedTuple):
    number: int
    hash: bytes
    base_number: int
    base_hash: bytes

    @property
    def head(self) -> Head:
        return Head(self.number, bytes(self.hash))

    @property
    def base(self) -> Head:
        return Head(self.base_number, bytes(self.base_hash))


class AuditLog:
    """One chain of records in one database. Several logs in one database have several names."""

    def __init__(
        self,
        db: Database,
        *,
        name: str = "audit",
        key: bytes = b"",
        anchor: Anchor | None = None,
        keep_s: float | None = None,
        notes_waiting: int = 10_000,
    ) -> None:
        """Describe a log; nothing is read or written.

        Args:
            db: Where it is kept.
            name: Of the log; part of what is hashed, so that no record can be moved to another log.
            key: Of the hashes, 32 bytes, kept outside the database. Empty: whoever can write to the database can also
                write a whole chain anew, and only an anchor shows it.
            anchor: Remembers heads elsewhere. None: nobody does, and an end that is cut off is not seen.
            keep_s: Seconds that a record is kept at least, above 0; `sweep` deletes older ones. None: for ever.
            notes_waiting: Notes that may wait to be written, at least 1.

        Raises:
            ConfigError: One of these is out of range.
        """
        faults = [
            *([] if name and len(name) <= _NAME_LIMIT else [f"name={name!r} must have 1 to {_NAME_LIMIT} characters"]),
            *([] if keep_s is None or keep_s > 0 else [f"keep_s={keep_s} must be above 0"]),
            *([] if notes_waiting >= 1 else [f"notes_waiting={notes_waiting} must be at least 1"]),
        ]
        if faults:
            raise ConfigError("AuditLog: " + "; ".join(faults))
        self.db = db
        self.name = name
        self._key = key
        self._anchor = anchor
        self._keep_s = keep_s
        self._limit = notes_waiting
        self._notes: list[tuple[Entry, asyncio.Future[None] | None]] = []
        self._lost = 0
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Create the tables if they are not there."""
        await self.db.ensure(tables.AUDIT_SCHEMA)

    async def close(self) -> None:
        """Write what waits, and let the anchor remember the end."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        await self.anchor()

    async def record(
        self,
        action: str,
        *,
        outcome: Outcome = "done",
        subject: str = "",
        details: Mapping[str, object] | None = None,
        who: str | None = None,
        whence: str | None = None,
        tx: AuditTransaction | None = None,
    ) -> None:
        """Write a record.

        Args:
            action: What was done, such as `users.signed-in`: words of lower case letters with dots, at most 64.
            outcome: What came of it.
            subject: To whom or what; texts longer than 200 characters are cut.
            details: More, at most 16 values; what speaks of a secret is replaced.
            who: None: the principal of the running call, and in the details the program that acts for it.
            whence: The address. None: that of the running call.
            tx: The transaction of what is told. None: the record is a transaction of its own, and durable when this
                returns. Cancelled, it may have been written.

        Raises:
            ConfigError: The action is no such word, or there are too many details.
            MisuseError: `tx` is None and a transaction of this database is open here: it would wait for itself.
        """
        entry = made_entry(action, outcome=outcome, subject=subject, details=details, who=who, whence=whence)
        if tx is not None:
            await self._append(tx, [entry])
            return
        if (open_tx := context.current().tx) is not None:
            self.db.refuse_inside(open_tx)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._write_soon(entry, done)
        await done

    def note(
        self,
        action: str,
        *,
        outcome: Outcome = "done",
        subject: str = "",
        details: Mapping[str, object] | None = None,
        who: str | None = None,
        whence: str | None = None,
    ) -> None:
        """Write a record soon, in a transaction of its own, without waiting for it: for denials and failures.

        It may be called where a transaction is open that is about to be rolled back. A crash loses those of the last
        moments; those that find no room are counted, and a record `audit.dropped` says how many there were.

        Raises:
            ConfigError: As `record`.
        """
        entry = made_entry(action, outcome=outcome, subject=subject, details=details, who=who, whence=whence)
        if len(self._notes) >= self._limit:
            self._lost += 1
            _dropped.labels(self.name).inc()
            return
        self._write_soon(entry, None)

    async def entries(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        who: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        outcome: Outcome | None = None,
    ) -> Sequence[AuditRecord]:
        """Return records that fit everything given, newest first, at most `limit`.

        Args:
            limit: At least 1.
            before: Only those with a lower number. None: from the newest on.
            who: Id of a principal.
            action: An action, or the words that it begins with: `users` finds `users.signed-in`.
            subject: To whom or what.
            outcome: What came of it.
        """
        return await self.db.all(
            AuditRecord, tables.NEWEST, log=self.name, before=2**62 if before is None else before, who=who,
            action=action, subject=subject, outcome=outcome, limit=limit,
        )  # fmt: skip

    async def verify(self) -> AuditVerdict:
        """Follow the chain from its oldest record to its newest. Records that are written meanwhile are left out."""
        ends = await self._ends()
        known = None if self._anchor is None else await self._anchor.kept(self.name)
        # What was pruned is not there to be compared with.
        anchors = (known,) if known is not None and known.number >= ends.base.number else ()
        check = ChainCheck(self.name, self._key, ends.base, anchors)
        records = 0
        while page := await self._onward(check.at.number, ends.number):
            check.follow(page)
            records += len(page)
            await asyncio.sleep(0)
        check.end(ends.head)
        again = await self._ends()
        if again.base != ends.base:  # pruned meanwhile: what is missing is not missing
            return await self.verify()
        return AuditVerdict(
            self.name, records, ends.base.number + 1, check.at.number, None if known is None else known.number,
            tuple(check.faults),
        )  # fmt: skip

    async def anchor(self) -> Head | None:
        """Let the anchor remember the newest record, if the log still leads to what it remembers. None: no anchor.

        Call it every minute or so: what was anchored cannot be cut off unseen. If the log was touched the anchor is
        left as it is, since it is the evidence, and an error is logged.
        """
        if self._anchor is None:
            return None
        ends, known = await self._ends(), await self._anchor.kept(self.name)
        if known is not None and not await self._leads_to(known, ends):
            _log.error("audit log does not lead to its anchor", log=self.name, anchored=known.number, last=ends.number)
            return known
        if ends.number and (known is None or ends.number > known.number):
            await self._anchor.keep(self.name, ends.head)
        return ends.head

    async def sweep(self, tx: AuditTransaction, *, limit: int = 1_000) -> int:
        """Delete at most `limit` records older than `keep_s`, oldest first, and return how many.

        What was deleted is told by a record, with the hash at which the chain begins from now on: without it, `verify`
        takes what is missing for a fault.
        """
        if self._keep_s is None:
            return 0
        ends = await tx.first(_Ends, tables.ENDS, log=self.name)
        if ends is None:
            return 0
        old = await tx.first(
            tuple[int | None], tables.OLD, log=self.name, before=world.now_us() - round(self._keep_s * 1_000_000),
            most=ends.base.number + limit,
        )  # fmt: skip
        number = old[0] if old is not None else None
        last = None if number is None else await tx.first(Head, tables.HASH_OF, log=self.name, number=number)
        if last is None:
            return 0
        base = Head(last.number, bytes(last.hash))
        await tx.execute(tables.SET_BASE, log=self.name, number=base.number, hash=base.hash)
        deleted = await tx.execute(tables.DELETE, log=self.name, number=base.number)
        await self._append(tx, [Entry(world.now_us(), "", PRUNED, self.name, "", "done", pruned_details(base))])
        return deleted

    async def _append(self, tx: AuditTransaction, entries: Sequence[Entry]) -> None:
        count = {"log": self.name, "count": len(entries)}
        head = await tx.first(Head, tables.TAKE_HEAD, **count)
        if head is None:
            await tx.execute(tables.MAKE_HEAD, log=self.name, zero=BEGINNING.hash)
            head = await tx.first(Head, tables.TAKE_HEAD, **count)
        at = BEGINNING if head is None else Head(head.number, bytes(head.hash))
        for entry in entries:
            before, at = at, link(self.name, self._key, at, entry)
            await tx.execute(
                tables.INSERT, log=self.name, number=at.number, before=before.hash, hash=at.hash, **entry._asdict()
            )
        await tx.execute(tables.SET_HEAD, log=self.name, hash=at.hash)

    def _write_soon(self, entry: Entry, done: "asyncio.Future[None] | None") -> None:
        self._notes.append((entry, done))
        if self._writer is None:
            loop = asyncio.get_running_loop()
            self._writer = loop.create_task(self._write(), name=f"audit log {self.name}")

    async def _write(self) -> None:
        """Write what waits, in batches, until nothing does."""
        # The task has inherited the call of whoever came first, perhaps inside a transaction.
        context.set_current(Call())
        try:
            while self._notes:
                batch, self._notes = self._notes[:_BATCH], self._notes[_BATCH:]
                entries = [entry for entry, _ in batch]
                if self._lost:
                    lost, self._lost = self._lost, 0
                    entries.append(
                        made_entry(
                            "audit.dropped",
                            outcome="failed",
                            subject=self.name,
                            details={"notes": lost},
                            who="",
                            whence="",
                        )
                    )
                await self._write_batch(entries, [done for _, done in batch if done is not None])
        finally:
            self._writer = None

    async def _write_batch(self, entries: Sequence[Entry], waiting: Sequence["asyncio.Future[None]"]) -> None:
        async def append(tx: Transaction) -> None:
            await self._append(tx, entries)

        try:
            await self.db.run(append)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits is told, and the rest goes on
            _log.error("audit records are lost", log=self.name, records=len(entries), exc_info=error)
            _dropped.labels(self.name).inc(len(entries) - len(waiting))
            for done in waiting:
                if not done.done():
                    done.set_exception(error)
            return
        for done in waiting:
            if not done.done():
                done.set_result(None)

    async def _ends(self) -> _Ends:
        found = await self.db.first(_Ends, tables.ENDS, log=self.name)
        return found or _Ends(*BEGINNING, *BEGINNING)

    async def _onward(self, after: int, until: int) -> list[AuditRecord]:
        rows = await self.db.all(AuditRecord, tables.ONWARD, log=self.name, after=after, until=until, limit=_PAGE)
        return [row._replace(before=bytes(row.before), hash=bytes(row.hash)) for row in rows]

    async def _leads_to(self, known: Head, ends: _Ends) -> bool:
        if known.number <= ends.base.number:
            return known.number < ends.base.number or known == ends.base
        found = await self.db.first(Head, tables.HASH_OF, log=self.name, number=known.number)
        return found is not None and Head(found.number, bytes(found.hash)) == known
