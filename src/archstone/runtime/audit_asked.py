"""The verbs about audit logs behind the control socket: list records, verify chains."""

import importlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from archstone.runtime.embedded import Embedded
from archstone.runtime.verb import Arguments, VerbError, read_number

if TYPE_CHECKING:
    from archstone.security import AuditLog, AuditRecord

__all__ = ["AuditVerbs"]

_MOST: Final = 1_000


class AuditVerbs:
    """Answers what is asked about the audit logs of one open system: its own, and those that are kept for it."""

    def __init__(self, embedded: Embedded) -> None:
        self._embedded = embedded

    def verbs(self) -> dict[str, Callable[[Arguments], Awaitable[dict[str, Any]]]]:
        """Return the verbs by name."""
        return {"audit": self.list, "audit-verify": self.verify}

    async def list(self, arguments: Arguments) -> dict[str, Any]:
        """Return records of all logs, or of one, newest first."""
        limit = read_number(arguments, "limit", default=50)
        outcome = arguments.get("outcome")
        outcomes = get_args(importlib.import_module("archstone.security.auditchain").Outcome)
        if outcome is not None and outcome not in outcomes:
            raise VerbError(f"outcome {outcome!r}: write one of {', '.join(outcomes)}, or none")
        chosen = {name: arguments.get(name) for name in ("who", "action", "subject")}
        found = [
            (each, log.name)
            for log in self._logs(arguments)
            for each in await log.entries(limit=min(limit, _MOST), outcome=outcome, **chosen)
        ]
        found.sort(key=lambda pair: (pair[0].at, pair[0].number), reverse=True)
        return {"records": [_told(record, log) for record, log in found[:limit]]}

    async def verify(self, arguments: Arguments) -> dict[str, Any]:
        """Follow the chain of every log, or of one."""
        verdicts = [await log.verify() for log in self._logs(arguments)]
        return {
            "logs": [
                {
                    "log": each.log,
                    "records": each.records,
                    "first": each.first,
                    "last": each.last,
                    "anchored": each.anchored,
                    "holds": each.holds,
                    "faults": [{"record": number, "what": what} for number, what in each.faults],
                }
                for each in verdicts
            ]
        }

    def _logs(self, arguments: Arguments) -> "list[AuditLog]":
        """Return the logs that are meant.

        Raises:
            VerbError: the system keeps none, or none of this name.
        """
        parts, system = self._embedded.parts, self._embedded.system
        security = _security()
        audits = None if security is None else parts.provided.get(security.Audits)
        if security is None or audits is None:
            raise VerbError(f"system {system.name!r} keeps no audit logs: its System(...) provides no Audits")
        kept = [part for part in parts.services.values() if security.AUDIT_SCHEMA in part.service.schemas]
        for part in kept:
            audits.of(part.database, part.name)  # one that has recorded nothing yet
        logs = audits.logs
        wanted = arguments.get("log")
        found = [log for log in logs if wanted is None or log.name == wanted]
        if not found:
            raise VerbError(f"no audit log {wanted!r}; there are {', '.join(log.name for log in logs)}")
        return found


def _security() -> Any:
    try:
        return importlib.import_module("archstone.security")
    except ImportError:  # the extra is not installed, so the system cannot have any
        return None


def _told(record: "AuditRecord", log: str) -> dict[str, Any]:
    at = datetime.fromtimestamp(record.at / 1_000_000, UTC).isoformat(timespec="milliseconds")
    return {
        "at": at, "log": log, "number": record.number, "who": record.who, "action": record.action,
        "subject": record.subject, "outcome": record.outcome, "whence": record.whence, "details": record.details,
    }  # fmt: skip
