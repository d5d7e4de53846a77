"""A user is what happened to it, and a list of users is made from that: `python users_from_events.py`."""

import asyncio
from typing import Annotated, Self

from archstone.data import Database, Event, Transaction
from archstone.eventsourcing import (
    Aggregate,
    EventStore,
    Personal,
    PersonErased,
    Projection,
    Projector,
    apply,
    when,
)


class UserCreated(Event, name="users.user-created", key="user_id"):
    user_id: str
    name: Annotated[str, Personal("user_id")]
    email: Annotated[str, Personal("user_id")]


class EmailChanged(Event, name="users.email-changed", key="user_id"):
    user_id: str
    email: Annotated[str, Personal("user_id")]


class NameChanged(Event, name="users.name-changed", key="user_id"):
    user_id: str
    name: Annotated[str, Personal("user_id")]


class User(Aggregate, name="user", snapshot_every=100):
    """The write side: decisions record events, and events make the state."""

    name: str = ""
    email: str = ""

    @classmethod
    def create(cls, id: str, *, name: str, email: str) -> Self:
        user = cls(id)
        user.record(UserCreated(user_id=id, name=name, email=email))
        return user

    def change_email(self, email: str) -> None:
        if email != self.email:
            self.record(EmailChanged(user_id=self.id, email=email))

    def change_name(self, name: str) -> None:
        if name != self.name:
            self.record(NameChanged(user_id=self.id, name=name))

    @apply
    def created(self, event: UserCreated) -> None:
        self.name, self.email = event.name, event.email

    @apply
    def email_changed(self, event: EmailChanged) -> None:
        self.email = event.email

    @apply
    def name_changed(self, event: NameChanged) -> None:
        self.name = event.name


class UserSearch(Projection, name="user-search", version=1):
    """The read side: a full-text index, made from the same events."""

    async def create(self, tx: Transaction) -> None:
        await tx.execute(f"CREATE VIRTUAL TABLE {self.table('users')} USING fts5 (id UNINDEXED, name, email)")

    async def drop(self, tx: Transaction) -> None:
        await tx.execute(f"DROP TABLE {self.table('users')}")

    @when
    async def created(self, tx: Transaction, event: UserCreated) -> None:
        insert = f"INSERT INTO {self.table('users')} (id, name, email) VALUES (:id, :name, :email)"
        await tx.execute(insert, id=event.user_id, name=event.name, email=event.email)

    @when
    async def email_changed(self, tx: Transaction, event: EmailChanged) -> None:
        update = f"UPDATE {self.table('users')} SET email = :email WHERE id = :id"
        await tx.execute(update, id=event.user_id, email=event.email)

    @when
    async def name_changed(self, tx: Transaction, event: NameChanged) -> None:
        update = f"UPDATE {self.table('users')} SET name = :name WHERE id = :id"
        await tx.execute(update, id=event.user_id, name=event.name)

    @when
    async def erased(self, tx: Transaction, event: PersonErased) -> None:
        await tx.execute(f"DELETE FROM {self.table('users')} WHERE id = :id", id=event.person)


async def find(search: Projector, words: str) -> list[tuple[str, str]]:
    """Return id and name of the users that `words` find, in the version that is live."""
    table = await search.live_table("users")
    # sql: the name of the table is the projector's
    query = f"SELECT id, name FROM {table} WHERE {table} MATCH :words ORDER BY rank"
    return await search.db.all(tuple[str, str], query, words=words)


async def main() -> None:
    async with Database("sqlite:///users.db") as db:
        store = EventStore(db)
        await store.open()
        async with Projector(store, UserSearch()) as search:
            john = User.create("1", name="John", email="john@old.com")
            await store.save(john)
            john.change_email("john@email.com")
            john.change_name("John Doe")
            position = await store.save(john)
            await search.reached(position, timeout_s=5.0)  # who wrote finds what he wrote
            print("found:", await find(search, "doe"))

            john = await store.load(User, "1")
            print("state:", john.name, john.email, "after", john.version, "events")
            for each in await store.stream(john.stream):
                print("event:", each.version, type(each.event).__name__)

            await search.reached(await store.erase("1"), timeout_s=5.0)
            print("found:", await find(search, "doe"))
            print("state:", (await store.load(User, "1")).name)


if __name__ == "__main__":
    asyncio.run(main())
