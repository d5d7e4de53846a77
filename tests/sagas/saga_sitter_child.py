"""A worker that sits in a step of its saga (`wait`), or goes through it (`go`): for the time that taking over takes."""

import asyncio
import sys

from archstone.data import Database
from archstone.sagas import Sagas, SagaSettings, current_step, saga


class Sitter:
    def __init__(self, db: Database, *, waits: bool) -> None:
        self._db = db
        self._waits = waits

    @saga()
    async def sit(self) -> None:
        await current_step()(self.mark)

    async def mark(self) -> None:
        await self._db.execute("INSERT INTO marks (saga) VALUES ('s')")
        if self._waits:
            await asyncio.Event().wait()


async def main(url: str, how: str, lease_s: float) -> None:
    async with Database(url) as db:
        sitter = Sitter(db, waits=how == "wait")
        async with Sagas(db, owner=sitter, settings=SagaSettings(timeout_s=60, lease_s=lease_s)) as sagas:
            print("ready", flush=True)
            if how == "wait":
                await sagas.run(sitter.sit, id="s")
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
