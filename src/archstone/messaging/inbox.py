"""Remembers which messages a handler has handled, in the transaction of what it did.

    inbox = Inbox(db)
    await inbox.open()
    bus.subscribe("orders", "stock", inbox.handler("stock.take", take))     # async def take(tx, envelope)

Promise: of all deliveries of one message to one handler, exactly one has its effect, within the retention. The note and
the effect commit together or not at all, so neither a crash nor a repeat can separate them. It does nothing for effects
outside the transaction (an e-mail, a call): those need a key of their own, or a saga.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from archstone import world
from archstone.data import Database, Envelope, Schema, Transaction
from archstone.messaging.subscription import Handler

__all__ = ["INBOX", "Inbox", "TransactionHandler"]

TransactionHandler: TypeAlias = Callable[[Transaction, Envelope], Awaitable[None]]
"""Handles one message with the open transaction of its effect. To raise rolls back the effect and the note."""

INBOX: Final = Schema(
    "inbox",
    (
        (
            # The position grows with time, so the sweep walks from the oldest and stops; no index on `at` is needed.
            """CREATE TABLE _archstone_inbox (
                position INTEGER PRIMARY KEY AUTOINCREMENT, handler TEXT NOT NULL, message_id TEXT NOT NULL,
                at INTEGER NOT NULL, UNIQUE (handler, message_id))""",
        ),
    ),
)

_NOTE: Final = (
    "INSERT INTO _archstone_inbox (handler, message_id, at) VALUES (:handler, :message_id, :at) "
    "ON CONFLICT (handler, message_id) DO NOTHING"
)
_KEEP_FROM: Final = "SELECT position FROM _archstone_inbox WHERE at >= :before ORDER BY position LIMIT 1"
_LAST: Final = "SELECT COALESCE(MAX(position), 0) FROM _archstone_inbox"
_SWEEP: Final = (
    "DELETE FROM _archstone_inbox WHERE position IN "
    "(SELECT position FROM _archstone_inbox WHERE position < :keep ORDER BY position LIMIT :limit)"
)
_SWEEP_CHUNK: Final = 5_000


class Inbox:
    """The inbox of one database."""

    def __init__(self, db: Database, *, retention_s: float = 60 * 86_400.0) -> None:
        """Describe the inbox of `db`.

        Args:
            db: The database in which handlers have their effects.
            retention_s: Seconds that a note is kept. Longer than any repeat can take: the retention of dead letters
                (30 days by default) and then some.
        """
        self._db = db
        self._retention_s = retention_s

    async def open(self) -> None:
        """Create the table if it is missing."""
        await self._db.ensure(INBOX)

    async def handle_once(self, tx: Transaction, handler: str, message_id: str) -> bool:
        """Note in `tx` that `handler` handles this message; False if it has handled it before.

        Args:
            tx: The transaction of the effect, of this inbox's database.
            handler: A stable name: renamed, it handles again what is delivered again.
            message_id: `Envelope.id`.
        """
        return bool(await tx.execute(_NOTE, handler=handler, message_id=message_id, at=world.now_us()))

    def handler(self, name: str, handle: TransactionHandler) -> Handler:
        """Return a handler for `Bus.subscribe` that opens a transaction and calls `handle` once per message."""

        async def handle_in_transaction(envelope: Envelope) -> None:
            async def once(tx: Transaction) -> None:
                if await self.handle_once(tx, name, envelope.id):
                    await handle(tx, envelope)

            await self._db.run(once)

        return handle_in_transaction

    async def sweep(self) -> int:
        """Drop notes older than the retention, in small transactions; return how many."""
        before = world.now_us() - int(self._retention_s * 1_000_000)
        keep = await self._db.first(int, _KEEP_FROM, before=before)
        if keep is None:
            keep = await self._db.one(int, _LAST) + 1
        swept = 0
        while count := await self._db.execute(_SWEEP, keep=keep, limit=_SWEEP_CHUNK):
            swept += count
        return swept
