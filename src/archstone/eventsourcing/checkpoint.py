"""How far a projection has come, and which version readers use: one row per name and version.

The row lies in the database of what the projection writes, so that moving it on and the effects of a batch are one
transaction. The move names where it came from: of two who would make the effects of the same events one fails.
"""

from typing import Final, NamedTuple

from archstone.data import Database, MisuseError, Schema, Transaction
from archstone.eventsourcing.errors import ProjectionMovedError
from archstone.eventsourcing.projection import Projection

__all__ = ["Checkpoint", "LiveProjection", "Place", "live_projections", "live_version"]

PROJECTIONS: Final = Schema(
    "projections",
    (
        (
            """CREATE TABLE _archstone_projections (
                name TEXT NOT NULL,
                version INTEGER NOT NULL,
                position INTEGER NOT NULL,
                live INTEGER NOT NULL,
                error TEXT,
                PRIMARY KEY (name, version)
            )""",
        ),
    ),
)

_REGISTER: Final = (
    "INSERT INTO _archstone_projections (name, version, position, live) VALUES (:name, :version, 0, :live)"
    " ON CONFLICT (name, version) DO NOTHING"
)
_LIVE: Final = "SELECT version FROM _archstone_projections WHERE name = :name AND live = 1"
_EVER: Final = "SELECT version FROM _archstone_ledger WHERE block = 'projections'"
_ALL_LIVE: Final = "SELECT name, version FROM _archstone_projections WHERE live = 1 ORDER BY name"
_PLACE: Final = "SELECT position, live, error FROM _archstone_projections WHERE name = :name AND version = :version"
_MOVE: Final = (
    "UPDATE _archstone_projections SET position = :to, error = NULL"
    " WHERE name = :name AND version = :version AND position = :position"
)
_FAIL: Final = "UPDATE _archstone_projections SET error = :error WHERE name = :name AND version = :version"
_GO_LIVE: Final = (
    "UPDATE _archstone_projections SET live = CASE WHEN version = :version THEN 1 ELSE 0 END WHERE name = :name"
)
_REWIND: Final = (
    "UPDATE _archstone_projections SET position = 0, error = NULL WHERE name = :name AND version = :version"
)
_FORGET: Final = "DELETE FROM _archstone_projections WHERE name = :name AND version = :version"


class Place(NamedTuple):
    """What the row of a projection says."""

    position: int
    """Position of the last event whose effects are kept; 0 before the first."""
    live: int
    """1: readers use this version."""
    error: str | None
    """What it last failed with. None: it went on since."""


class LiveProjection(NamedTuple):
    """A version that readers use."""

    name: str
    version: int


async def live_projections(db: Database) -> list[LiveProjection]:
    """Return what readers use of what projections have written to a database, whether or not anybody runs them."""
    if not await db.all(int, _EVER):
        return []
    return await db.all(LiveProjection, _ALL_LIVE)


async def live_version(db: Database, name: str) -> int | None:
    """Return which version of projection `name` readers use; None before the first has been registered."""
    await db.ensure(PROJECTIONS)
    return await db.first(int, _LIVE, name=name)


class Checkpoint:
    """The row of one projection."""

    def __init__(self, db: Database, projection: Projection) -> None:
        self.db = db
        self._projection = projection
        self._name, self._version = projection.projection_name, projection.projection_version
        self._key: dict[str, object] = {"name": self._name, "version": self._version}

    async def register(self) -> None:
        """Make the row and the tables of the projection, if they are missing. The first version is live at once."""
        await self.db.ensure(PROJECTIONS)

        async def register(tx: Transaction) -> None:
            live = await tx.first(int, _LIVE, name=self._name)
            if await tx.execute(_REGISTER, **self._key, live=int(live is None)):
                await self._projection.create(tx)

        await self.db.run(register)

    async def place(self) -> Place | None:
        """Return the row; None if the version was retired."""
        return await self.db.first(Place, _PLACE, **self._key)

    async def move(self, tx: Transaction, *, position: int, to: int) -> None:
        """Say in `tx` that all up to `to` is done.

        Raises:
            ProjectionMovedError: It is not at `position`: it was rewound, or another has moved it.
        """
        if not await tx.execute(_MOVE, **self._key, position=position, to=to):
            raise ProjectionMovedError(self._projection.label, position)

    async def fail(self, error: str) -> None:
        """Keep what it failed with where everybody sees it."""
        await self.db.execute(_FAIL, **self._key, error=error)

    async def go_live(self) -> bool:
        """Have readers use this version from now on; False if a later one is live already."""

        async def go_live(tx: Transaction) -> bool:
            if (await tx.first(int, _LIVE, name=self._name) or 0) > self._version:
                return False
            return bool(await tx.execute(_GO_LIVE, **self._key))

        return await self.db.run(go_live)

    async def rewind(self) -> None:
        """Drop what was written and begin anew, in one transaction; whoever runs it starts over."""

        async def rewind(tx: Transaction) -> None:
            await tx.execute(_REWIND, **self._key)
            await self._projection.drop(tx)
            await self._projection.create(tx)

        await self.db.run(rewind)

    async def retire(self) -> None:
        """Drop what was written and forget this version.

        Raises:
            MisuseError: Readers use it.
        """

        async def retire(tx: Transaction) -> None:
            place = await tx.first(Place, _PLACE, **self._key)
            if place is not None and place.live:
                label = f"projection {self._projection.label}"
                raise MisuseError(label, "is live: readers use it; let another version go live first")
            if place is not None:
                await tx.execute(_FORGET, **self._key)
                await self._projection.drop(tx)

        await self.db.run(retire)
