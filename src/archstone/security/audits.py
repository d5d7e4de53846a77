"""The audit logs of one system: one of its own, for what has no transaction, and one in the database of each service.

    audits = Audits("sqlite:///audit.db", key=KeyFile(data / "audit-key.json").load().keys[0], anchor=FileAnchor(...))
    async with audits:
        audits.system.note("roles.denied", subject="Orders.refund", outcome="denied")
        await audits.of(service.db, "users").record("users.role-granted", subject=user_id, tx=tx)

A service records what it does in its own log, with its change. What is refused changes nothing, and its transaction, if
it had one, is rolled back: that goes into the log of the system.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from archstone.context import Denied
from archstone.data import Database
from archstone.security.anchor import Anchor
from archstone.security.audit import AuditLog

__all__ = ["Audits"]


class Audits:
    """Makes the logs of one system with one key and one anchor. Open it before the first service, close it last."""

    def __init__(
        self, url: str, *, key: bytes = b"", anchor: Anchor | None = None, keep_s: float | None = None
    ) -> None:
        """Describe the logs.

        Args:
            url: Of the database of the system's own log.
            key: As `AuditLog`.
            anchor: As `AuditLog`.
            keep_s: As `AuditLog`.
        """
        self.db = Database(url, name="audit")
        self._key = key
        self._anchor = anchor
        self._keep_s = keep_s
        self._logs: dict[str, AuditLog] = {}
        self.system = self.of(self.db, "system")
        """For what has no transaction: what was refused, and what operators do."""

    async def __aenter__(self) -> Self:
        await self.db.__aenter__()
        await self.system.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.system.close()
        finally:
            await self.db.__aexit__(kind, error, traceback)

    async def anchor(self) -> None:
        """Let the anchor remember the newest record of every log. Call it every minute or so; see `AuditLog.anchor`."""
        for log in self.logs:
            await log.anchor()

    async def sweep(self) -> int:
        """Delete what is too old of the system's own log; return how many records. See `AuditLog.sweep`."""
        return await self.db.run(self.system.sweep)

    def of(self, db: Database, name: str) -> AuditLog:
        """Return the log called `name`, which is kept in `db`. The database must have `AUDIT_SCHEMA`."""
        found = self._logs.get(name)
        if found is None or found.db is not db:
            found = AuditLog(db, name=name, key=self._key, anchor=self._anchor, keep_s=self._keep_s)
            self._logs[name] = found
        return found

    def denied(self, denied: Denied, /) -> None:
        """Record that somebody who is signed in was refused something; strangers, who could fill the log, are not."""
        if not denied.principal.signed_in:
            return
        details = {"requires": denied.requires, "why": denied.why, "row": denied.row}
        if denied.principal.by is not None:
            details["by"] = denied.principal.by.id
        self.system.note(
            "roles.denied", outcome="denied", subject=denied.what, who=denied.principal.id, details=details
        )

    @property
    def logs(self) -> Sequence[AuditLog]:
        """Every log that was asked for, that of the system first."""
        return tuple(self._logs.values())
