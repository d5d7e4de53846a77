"""One of many processes that share a database does something; when it dies, another goes on within seconds.

    lease = Lease(db, "nightly report")
    async with lease:                       # tries to hold it from now on
        token = await lease.held()          # waits until this process has it
        async with db.transaction() as tx:
            await lease.check(tx)           # nothing is committed by one who has lost it meanwhile
            ...

Promise: at any time at most one holder can commit what it has checked. Who holds it counts a number up, its beat; the
others watch. Who sees no beat for `ttl_s` on its own clock takes the lease over with the next token, so no clocks are
compared, and a process that was stopped finds its token outdated. There is no server beside the database.

Between two checks a holder that was stopped may believe for a moment that it still holds the lease: what must not
happen twice is guarded by `check` in the transaction of its effect, not by `held`.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from archstone import context, world
from archstone.context import Call
from archstone.data.database import Database
from archstone.data.errors import LeaseLostError
from archstone.data.schema import Schema
from archstone.data.transaction import Transaction
from archstone.errors import ArchstoneError, ConfigError

__all__ = ["LEASES", "Lease", "Standing", "standings"]

LEASES: Final = Schema(
    "leases",
    (
        (
            """CREATE TABLE _archstone_leases (
                name TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, beat INTEGER NOT NULL
            )""",
        ),
    ),
)

RELEASED: Final = -1
"""The beat of a lease that was given up: anybody may take it at once."""

_NEW: Final = """INSERT INTO _archstone_leases (name, owner, token, beat) VALUES (:name, :owner, 1, 0)
    ON CONFLICT (name) DO NOTHING"""
_LOOK: Final = "SELECT name, owner, token, beat FROM _archstone_leases WHERE name = :name"
_TAKE: Final = (
    "UPDATE _archstone_leases SET owner = :owner, token = token + 1, beat = 0 "
    "WHERE name = :name AND token = :token AND beat = :beat"
)
_BEAT: Final = "UPDATE _archstone_leases SET beat = beat + 1 WHERE name = :name AND token = :token"
_RELEASE: Final = f"UPDATE _archstone_leases SET beat = {RELEASED} WHERE name = :name AND token = :token"
_CHECK: Final = {
    "sqlite": "SELECT token FROM _archstone_leases WHERE name = :name",
    # Locked: who takes the lease over waits for this transaction, or this one sees what that did.
    "postgresql": "SELECT token FROM _archstone_leases WHERE name = :name FOR SHARE",
}


class Standing(NamedTuple):
    """A lease as the database has it."""

    name: str
    owner: str
    token: int
    beat: int


async def standings(db: Database, prefix: str) -> list[Standing]:
    """Return all leases whose name begins with `prefix`, by name."""
    # Not a range: how a server orders text is its own affair.
    text = (
        "SELECT name, owner, token, beat FROM _archstone_leases WHERE substr(name, 1, CAST(:size AS INTEGER)) = :prefix"
    )
    return sorted(await db.all(Standing, text, prefix=prefix, size=len(prefix)))


class Lease:
    """The wish to hold a lease, while its block is open."""

    def __init__(self, db: Database, name: str, *, owner: str | None = None, ttl_s: float = 5.0) -> None:
        """Describe a lease; nothing is written yet.

        Args:
            db: The database that all who want it share.
            name: What is leased.
            owner: Who this is, for people. None: a new id.
            ttl_s: Seconds without a beat after which others take it over. Above 0.
        """
        if not 0 < ttl_s < float("inf"):
            raise ConfigError(f"Lease {name!r}: ttl_s={ttl_s} must be above 0 and finite")
        self.name = name
        self.owner = owner or world.new_id()
        self.ttl_s = ttl_s
        self._db = db
        self._token: int | None = None
        self._beaten_s = 0.0
        self._turned = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to try for it."""
        await self._db.ensure(LEASES)
        self._runner = asyncio.create_task(self._run(), name=f"lease {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it up, so that another can take it at once; if the database is away it runs out by itself."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        token, self._token = self._token, None
        if token is not None:
            with suppress(ArchstoneError):
                await self._db.execute(_RELEASE, name=self.name, token=token)

    @property
    def token(self) -> int | None:
        """The token under which it is held, as far as this process knows; None while it is not.

        A holder that could not beat for most of `ttl_s` no longer trusts itself.
        """
        if self._token is not None and world.monotonic() - self._beaten_s < self.ttl_s * 0.8:
            return self._token
        return None

    async def held(self) -> int:
        """Wait until this process holds it, and return the token."""
        while (token := self.token) is None:
            self._turned.clear()
            await self._turned.wait()
        return token

    async def check(self, tx: Transaction) -> None:
        """Make `tx` fail unless the lease is held, now and until it has committed.

        Let it be the first statement: on PostgreSQL a transaction that began before the last beat is lost by it, and
        must be run again. Keep the transaction far shorter than `ttl_s`: no beat can be written meanwhile.

        Raises:
            LeaseLostError: Another has it, or this process never had it.
        """
        found = await tx.first(int, _CHECK[self._db.dialect], name=self.name)
        if self._token is None or found != self._token:
            raise LeaseLostError(self.name, self._db.label)

    async def _run(self) -> None:
        context.set_current(Call())
        while True:
            try:
                await self._strive()
            except ArchstoneError:
                # The database is away: what is held runs out by itself; what is not is tried for again.
                await asyncio.sleep(self.ttl_s / 4)

    async def _strive(self) -> None:
        while True:
            if self._token is None:
                await self._take()
            else:
                await self._beat(self._token)

    async def _take(self) -> None:
        asked_s = world.monotonic()
        if await self._db.execute(_NEW, name=self.name, owner=self.owner):
            self._hold(1, asked_s)
            return
        seen = await self._db.one(Standing, _LOOK, name=self.name)
        since_s = world.monotonic()
        while seen.beat != RELEASED and world.monotonic() - since_s < self.ttl_s:
            await asyncio.sleep(self.ttl_s / 5)
            found = await self._db.one(Standing, _LOOK, name=self.name)
            if found != seen:
                seen, since_s = found, world.monotonic()
        taken = {"owner": self.owner, "name": self.name, "token": seen.token, "beat": seen.beat}
        asked_s = world.monotonic()
        if await self._db.execute(_TAKE, **taken):
            self._hold(seen.token + 1, asked_s)

    def _hold(self, token: int, asked_s: float) -> None:
        self._token = token
        self._beaten_s = asked_s  # the others may have seen it as early as this
        self._turned.set()

    async def _beat(self, token: int) -> None:
        await asyncio.sleep(self.ttl_s / 5)
        asked_s = world.monotonic()
        if await self._db.execute(_BEAT, name=self.name, token=token):
            self._beaten_s = asked_s
        else:
            self._token = None
        self._turned.set()
