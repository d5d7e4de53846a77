"""How far a projection has come, who runs it, and which version readers use: one row per name and version.

The row lies in the database of what the projection writes, so that moving it on and the effects of a batch are one
transaction. `holder` and `beat` make it a lease: whoever runs the projection writes its token and counts `beat` up;
somebody else who sees `beat` stand still for the length of the lease, on a clock of his own, takes over. The move of a
batch asks for the token, so one who was stalled and is no longer the holder cannot write late. On SQLite, where one
process owns the file, a token of another process is that of a dead one, and nobody needs to beat.
"""

from typing import Final, NamedTuple

from archstone import world
from archstone.data import Database, MisuseError, Schema, Transaction
from archstone.eventsourcing.dialect import dialect_of
from archstone.eventsourcing.errors import ProjectionLostError
from archstone.eventsourcing.projection import Projection

__all__ = ["Checkpoint", "Place", "live_version"]

PROJECTIONS: Final = Schema(
    "projections",
    (
        (
            """CREATE TABLE _archstone_projections (
                name TEXT NOT NULL,
                version INTEGER NOT NULL,
                position INTEGER NOT NULL,
                live INTEGER NOT NULL,
                holder TEXT NOT NULL,
                beat INTEGER NOT NULL,
                error TEXT,
                PRIMARY KEY (name, version)
            )""",
        ),
    ),
)

_REGISTER: Final = (
    "INSERT INTO _archstone_projections (name, version, position, live, holder, beat)"
    " VALUES (:name, :version, 0, :live, '', 0) ON CONFLICT (name, version) DO NOTHING"
)
_LIVE: Final = "SELECT version FROM _archstone_projections WHERE name = :name AND live = 1"
_PLACE: Final = (
    "SELECT position, live, holder, beat, error FROM _archstone_projections WHERE name = :name AND version = :version"
)
_TAKE: Final = (
    "UPDATE _archstone_projections SET holder = :token, beat = beat + 1"
    " WHERE name = :name AND version = :version AND holder = :holder AND beat = :beat"
)
_MOVE: Final = (
    "UPDATE _archstone_projections SET position = :to, beat = beat + 1, error = NULL"
    " WHERE name = :name AND version = :version AND holder = :token AND position = :position"
)
_BEAT: Final = (
    "UPDATE _archstone_projections SET beat = beat + 1 WHERE name = :name AND version = :version AND holder = :token"
)
_FAIL: Final = (
    "UPDATE _archstone_projections SET error = :error, beat = beat + 1"
    " WHERE name = :name AND version = :version AND holder = :token"
)
_RELEASE: Final = (
    "UPDATE _archstone_projections SET holder = '' WHERE name = :name AND version = :version AND holder = :token"
)
_UNLIVE: Final = "UPDATE _archstone_projections SET live = 0 WHERE name = :name AND live = 1"
_GO_LIVE: Final = (
    "UPDATE _archstone_projections SET live = 1 WHERE name = :name AND version = :version AND holder = :token"
)
_REWIND: Final = (
    "UPDATE _archstone_projections SET position = 0, holder = '', beat = beat + 1, error = NULL"
    " WHERE name = :name AND version = :version"
)
_FORGET: Final = "DELETE FROM _archstone_projections WHERE name = :name AND version = :version"

_alive: Final[set[str]] = set()
"""Tokens of this process. On SQLite one process owns the file, so any other token is that of a dead one."""


class Place(NamedTuple):
    """What the row of a projection says."""

    position: int
    """Position of the last event whose effects are kept; 0 before the first."""
    live: int
    """1: readers use this version."""
    holder: str
    """Token of whoever runs it; empty: nobody."""
    beat: int
    error: str | None
    """What it last failed with. None: it went on since."""


async def live_version(db: Database, name: str) -> int | None:
    """Return which version of projection `name` readers use; None before the first has been registered."""
    await db.ensure(PROJECTIONS)
    return await db.first(int, _LIVE, name=name)


class Checkpoint:
    """The row of one projection, and the token of one who would run it."""

    def __init__(self, db: Database, projection: Projection) -> None:
        self.db = db
        self._projection = projection
        self._name, self._version = projection.projection_name, projection.projection_version
        self._key: dict[str, object] = {"name": self._name, "version": self._version}
        self._token = world.new_id()
        self._seen: tuple[str, int] | None = None
        self._seen_s = 0.0

    async def register(self) -> None:
        """Make the row and the tables of the projection, if they are missing. The first version is live at once."""
        await self.db.ensure(PROJECTIONS)
        async with self.db.transaction() as tx:
            live = await tx.first(int, _LIVE, name=self._name)
            if await tx.execute(_REGISTER, **self._key, live=int(live is None)):
                await self._projection.create(tx)
        _alive.add(self._token)

    async def place(self) -> Place | None:
        """Return the row; None if the version was retired."""
        return await self.db.first(Place, _PLACE, **self._key)

    async def take(self, place: Place, *, lease_s: float) -> bool:
        """Become the holder if nobody is, or if whoever is has not moved for `lease_s` while this looked."""
        if not self._is_free(place, lease_s):
            return False
        return bool(await self.db.execute(_TAKE, **self._key, token=self._token, holder=place.holder, beat=place.beat))

    def _is_free(self, place: Place, lease_s: float) -> bool:
        if place.holder in {"", self._token}:
            return True
        if dialect_of(self.db) == "sqlite":
            return place.holder not in _alive
        seen, now_s = (place.holder, place.beat), world.monotonic()
        if seen != self._seen:
            self._seen, self._seen_s = seen, now_s
        return now_s - self._seen_s >= lease_s

    async def move(self, tx: Transaction, *, position: int, to: int) -> None:
        """Say in `tx` that all up to `to` is done. First of its statements, so that it also keeps others out.

        Raises:
            ProjectionLostError: Somebody else holds it by now.
        """
        if not await tx.execute(_MOVE, **self._key, token=self._token, position=position, to=to):
            raise ProjectionLostError(self._projection.label)

    async def beat(self) -> None:
        """Show that the holder lives. On SQLite nobody needs to see it.

        Raises:
            ProjectionLostError: Somebody else holds it by now.
        """
        if dialect_of(self.db) != "sqlite" and not await self.db.execute(_BEAT, **self._key, token=self._token):
            raise ProjectionLostError(self._projection.label)

    async def fail(self, error: str) -> None:
        """Keep what it failed with where everybody sees it."""
        await self.db.execute(_FAIL, **self._key, token=self._token, error=error)

    async def release(self) -> None:
        """Let others run it at once."""
        _alive.discard(self._token)
        await self.db.execute(_RELEASE, **self._key, token=self._token)

    async def go_live(self) -> bool:
        """Have readers use this version from now on; False if a later one is live already."""
        async with self.db.transaction() as tx:
            live = await tx.first(int, _LIVE, name=self._name) or 0
            if live > self._version:
                return False
            await tx.execute(_UNLIVE, name=self._name)
            if not await tx.execute(_GO_LIVE, **self._key, token=self._token):
                raise ProjectionLostError(self._projection.label)
        return True

    async def rewind(self) -> None:
        """Drop what was written and begin anew, in one transaction; whoever runs it starts over."""
        async with self.db.transaction() as tx:
            await self._projection.drop(tx)
            await self._projection.create(tx)
            await tx.execute(_REWIND, **self._key)

    async def retire(self) -> None:
        """Drop what was written and forget this version.

        Raises:
            MisuseError: Readers use it.
        """
        async with self.db.transaction() as tx:
            place = await tx.first(Place, _PLACE, **self._key)
            if place is not None and place.live:
                raise MisuseError(
                    f"projection {self._projection.label}", "is live: readers use it; let another go live"
                )
            if place is not None:
                await self._projection.drop(tx)
                await tx.execute(_FORGET, **self._key)
