"""Another release of the program: it stores accounts with the classes that it has. `RELEASE URL` are its arguments."""

import asyncio
import sys

from archstone.data import Database, Event
from archstone.eventsourcing import EventStore


class Oldest(Event, name="estest.account-opened", version=1, key="account_id"):
    account_id: str
    name: str
    """First and last."""


class Old(Event, name="estest.account-opened", version=2, key="account_id"):
    account_id: str
    first: str
    last: str


class Newer(Event, name="estest.account-opened", version=9, key="account_id"):
    account_id: str


EVENTS = {
    "1": Oldest(account_id="a", name="John Doe"),
    "2": Old(account_id="a", first="John", last="Doe"),
    "9": Newer(account_id="a"),
}


async def main(release: str, url: str) -> None:
    async with Database(url) as db:
        store = EventStore(db)
        await store.open()
        await store.append("account/a", [EVENTS[release]])


asyncio.run(main(sys.argv[1], sys.argv[2]))
