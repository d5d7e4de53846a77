"""Read models of the guide's users, as the tests use them."""

from es_users import EmailChanged, NameChanged, UserCreated

from archstone.data import Database, Event, Transaction
from archstone.eventsourcing import Projection, Projector, Recorded, when


class Names(Projection, name="names", version=1):
    """The name of each user, and one row per effect that was ever made."""

    async def create(self, tx: Transaction) -> None:
        await tx.execute(f"CREATE TABLE {self.table('users')} (id TEXT PRIMARY KEY, name TEXT NOT NULL)")
        await tx.execute(f"CREATE TABLE {self.table('effects')} (position INTEGER NOT NULL)")

    async def drop(self, tx: Transaction) -> None:
        await tx.execute(f"DROP TABLE {self.table('users')}")
        await tx.execute(f"DROP TABLE {self.table('effects')}")

    @when
    async def created(self, tx: Transaction, event: UserCreated, recorded: Recorded[Event]) -> None:
        insert = f"INSERT INTO {self.table('users')} (id, name) VALUES (:id, :name)"
        await tx.execute(insert, id=event.user_id, name=self.show(event.name))
        await tx.execute(f"INSERT INTO {self.table('effects')} VALUES (:position)", position=recorded.position)

    @when
    async def name_changed(self, tx: Transaction, event: NameChanged, recorded: Recorded[Event]) -> None:
        update = f"UPDATE {self.table('users')} SET name = :name WHERE id = :id"
        await tx.execute(update, id=event.user_id, name=self.show(event.name))
        await tx.execute(f"INSERT INTO {self.table('effects')} VALUES (:position)", position=recorded.position)

    def show(self, name: str) -> str:
        return name


class ShoutedNames(Names, name="names", version=2):
    """The next release: names in capitals."""

    def show(self, name: str) -> str:
        return name.upper()


class Emails(Projection, name="emails"):
    """Handlers of the short form."""

    async def create(self, tx: Transaction) -> None:
        await tx.execute(f"CREATE TABLE {self.table('emails')} (id TEXT PRIMARY KEY, email TEXT NOT NULL)")

    @when
    async def email_is(self, tx: Transaction, event: UserCreated | EmailChanged) -> None:
        await tx.execute(
            f"INSERT INTO {self.table('emails')} (id, email) VALUES (:id, :email)"
            " ON CONFLICT (id) DO UPDATE SET email = excluded.email",
            id=event.user_id,
            email=event.email,
        )


async def live_names(projector: Projector) -> dict[str, str]:
    """What a reader sees: the table of the live version."""
    table = await projector.live_table("users")
    return dict(await projector.db.all(tuple[str, str], f"SELECT id, name FROM {table} ORDER BY id"))


async def effects(db: Database, projection: Projection) -> list[int]:
    return await db.all(int, f"SELECT position FROM {projection.table('effects')}")
