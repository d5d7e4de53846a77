"""One runner at a time for each projection: among processes by a lease, within one process by a lock."""

import asyncio
from types import TracebackType
from typing import Final, Self
from weakref import WeakKeyDictionary

from archstone.data import Database, Lease, Transaction

__all__ = ["Turn"]

_locks: Final[WeakKeyDictionary[Database, dict[str, asyncio.Lock]]] = WeakKeyDictionary()


class Turn:
    """The right to run what is called `name`, while its block is open and once `held` has returned."""

    def __init__(self, db: Database, name: str, *, lease_s: float) -> None:
        """Describe it; nothing is written yet.

        Args:
            db: The database that all who want it share.
            name: What is run.
            lease_s: Seconds without a sign of life after which another process takes over.
        """
        # Where one process owns the database, others who want it are in this one, and gone with it.
        self._lease = Lease(db, name, ttl_s=lease_s) if db.shared else None
        self._lock = _locks.setdefault(db, {}).setdefault(name, asyncio.Lock())
        self._locked = False

    async def __aenter__(self) -> Self:
        """Begin to try for it."""
        if self._lease is not None:
            await self._lease.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let another have it at once."""
        if self._lease is not None:
            await self._lease.__aexit__(kind, error, traceback)
        elif self._locked:
            self._locked = False
            self._lock.release()

    async def held(self) -> None:
        """Return when this one has it."""
        if self._lease is not None:
            await self._lease.held()
        elif not self._locked:
            await self._lock.acquire()
            self._locked = True

    async def check(self, tx: Transaction) -> None:
        """Make `tx` fail if it was lost meanwhile.

        Raises:
            LeaseLostError: Another process has it.
        """
        if self._lease is not None:
            await self._lease.check(tx)
