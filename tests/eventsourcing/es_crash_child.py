"""The process that the crash tests kill: it saves users, projects them, and swaps a version.

    python es_crash_child.py FOLDER URL

Users 0 to 9 are made unless they are there; it ends when both versions of the projection have caught up.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from es_lists import Names, ShoutedNames
from es_users import NameChanged, User, UserCreated

from archstone.data import Database, Event
from archstone.eventsourcing import EventStore, Projector, ProjectorSettings, Recorded

USERS = 10


class Noted(Names, name="names", version=1, outside=(UserCreated, NameChanged)):
    """Also notes positions in a file, which no transaction reaches."""

    def __init__(self, file: Path) -> None:
        self.file = file

    async def write_outside(self, events: Sequence[Recorded[Event]]) -> None:
        with self.file.open("a") as file:
            file.writelines(f"{each.position}\n" for each in events)


async def main(folder: Path, url: str) -> None:
    async with Database(url) as db:
        store = EventStore(db)
        await store.open()
        settings = ProjectorSettings(batch=4, lease_s=0.5)
        async with Projector(store, Noted(folder / "outside.txt"), settings=settings) as old:
            for number in range(USERS):
                user = await store.find(User, str(number)) or User.create(str(number), name="new", email="x@x")
                if user.name != "named":
                    user.change_name("named")
                    await store.save(user, publish=True)
            position = await store.last_position()
            await old.reached(position, timeout_s=20.0)
            async with Projector(store, ShoutedNames(), settings=settings) as new:
                await new.reached(position, timeout_s=20.0)
                while not new.statistics().live:
                    await asyncio.sleep(0.001)
        print("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
