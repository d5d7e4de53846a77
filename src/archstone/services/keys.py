"""Idempotency keys: what a command answered, kept 24 h beside its effect.

Key and answer are written in the transaction of the effect. So an effect whose answer was lost on the way is found
when the caller repeats the call, and happens once. A key belongs to one principal and one operation.

Of callers who have not signed in nobody knows who is who. Their record is found by key and arguments together: the
same key with other arguments is another command, perhaps of another stranger, and neither sees that the other was
there. A recorded answer goes only to whoever sends the key and every argument of the call that it answered. So a key
must be hard to guess where an answer is nobody else's business; where it is a secret, keep none (`record=False`). The
key and the arguments of a stranger are kept as one digest: without the key it tells nothing about the arguments.
"""

from hashlib import sha256
from typing import Final, NamedTuple

from archstone import world
from archstone.context import Principal
from archstone.data import Database, Schema, Transaction

__all__ = [
    "KEEP_S",
    "KEYS",
    "Recorded",
    "Slot",
    "find",
    "fingerprint_of",
    "record",
    "record_alone",
    "slot_for",
    "sweep",
]

KEEP_S: Final = 24 * 3600.0
"""How long a key is kept. A repeat after that is a new call."""

KEYS: Final = Schema(
    "services",
    (
        (
            """CREATE TABLE _archstone_keys (
                scope TEXT NOT NULL,
                operation TEXT NOT NULL,
                key TEXT NOT NULL,
                fingerprint BLOB NOT NULL,
                outcome TEXT NOT NULL,
                answer BLOB NOT NULL,
                at INTEGER NOT NULL,
                PRIMARY KEY (scope, operation, key)
            ) WITHOUT ROWID""",
            "CREATE INDEX _archstone_keys_at ON _archstone_keys (at)",
        ),
    ),
)

_INSERT: Final = (
    "INSERT INTO _archstone_keys (scope, operation, key, fingerprint, outcome, answer, at)"
    " VALUES (:scope, :operation, :key, :fingerprint, :outcome, :answer, :at) ON CONFLICT DO NOTHING"
)
_FIND: Final = (
    "SELECT fingerprint, outcome, answer FROM _archstone_keys"
    " WHERE scope = :scope AND operation = :operation AND key = :key"
)
_SWEEP: Final = (
    "DELETE FROM _archstone_keys WHERE (scope, operation, key) IN"
    " (SELECT scope, operation, key FROM _archstone_keys WHERE at < :before ORDER BY at LIMIT :limit)"
)


class Slot(NamedTuple):
    """Where one call is recorded."""

    scope: str
    """Id of the principal; empty for nobody."""
    operation: str
    key: str
    """As the caller gave it; for nobody the digest of key and arguments."""


class Recorded(NamedTuple):
    """What an earlier call with the key came to."""

    fingerprint: bytes
    """Of the arguments; empty where they are part of the slot, or need no check."""
    outcome: str
    """`answer`, or the code of a declared error."""
    answer: bytes
    """JSON of the answer, or of the error's arguments."""


def fingerprint_of(arguments: bytes) -> bytes:
    """Return what tells the arguments of a call from others: 16 bytes of their SHA-256."""
    return sha256(arguments).digest()[:16]


def slot_for(principal: Principal, operation: str, key: str, fingerprint: bytes) -> Slot:
    """Return where a call is recorded: a signed-in caller's by its key, a stranger's by key and arguments."""
    if principal.signed_in:
        return Slot(principal.id, operation, key)
    return Slot("", operation, sha256(fingerprint + key.encode()).hexdigest()[:32])


async def find(db: Database, slot: Slot) -> Recorded | None:
    """Return what is recorded, read from what is committed."""
    return await db.first(Recorded, _FIND, scope=slot.scope, operation=slot.operation, key=slot.key)


async def record(tx: Transaction, slot: Slot, recorded: Recorded) -> bool:
    """Write the record in the transaction of the effect; False if there is one already: a twin won."""
    return await tx.execute(_INSERT, **_row(slot, recorded)) == 1


async def record_alone(db: Database, slot: Slot, recorded: Recorded) -> None:
    """Write the record of a declared error, whose effect has been rolled back; nothing if there is one already."""
    await db.execute(_INSERT, **_row(slot, recorded))


async def sweep(db: Database, *, keep_s: float = KEEP_S, limit: int = 1000) -> int:
    """Forget keys older than `keep_s`, oldest first, at most `limit`; return how many."""
    return await db.execute(_SWEEP, before=world.now_us() - int(keep_s * 1_000_000), limit=limit)


def _row(slot: Slot, recorded: Recorded) -> dict[str, object]:
    scope, operation, key = slot
    fingerprint, outcome, answer = recorded
    return {
        "scope": scope, "operation": operation, "key": key, "fingerprint": fingerprint, "outcome": outcome,
        "answer": answer, "at": world.now_us(),
    }  # fmt: skip
