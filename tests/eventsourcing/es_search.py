"""Users in a search server, and the process that the tests kill: python es_search.py DATABASE SERVER INDEX."""

import asyncio
import sys

from es_users import NameChanged, User, UserCreated

from archstone.data import Database, Event
from archstone.eventsourcing import Change, EventStore, External, PersonErased, Projector, Recorded, Target
from archstone.eventsourcing.targets.opensearch import OpenSearchTarget


class UserSearch(External, name="user-search", outside=(UserCreated, NameChanged, PersonErased)):
    """Whole documents: the aggregate says what they hold."""

    def __init__(self, target: Target, store: EventStore) -> None:
        super().__init__(target)
        self.store = store

    async def document(self, recorded: Recorded[Event]) -> Change | None:
        event = recorded.event
        if isinstance(event, PersonErased):
            return Change(event.person, None)
        if not isinstance(event, UserCreated | NameChanged):
            return None
        user = await self.store.load(User, event.user_id)
        return Change(user.id, {"name": user.name, "saves": user.version})


async def main(url: str, server: str, index: str) -> None:
    async with Database(url) as db, OpenSearchTarget(server, index=index) as target:
        store = EventStore(db)
        await store.open()
        for number in range(6):
            user = await store.find(User, str(number)) or User.create(str(number), name="new", email="x@x")
            if user.name != "named":
                user.change_name("named")
                await store.save(user)
        await store.erase("5")
        async with Projector(store, UserSearch(target, store)) as projector:
            await projector.reached(await store.last_position(), timeout_s=20.0)
    print("done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
