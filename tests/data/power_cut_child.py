"""Started by tests under the power-cut shim: commits rows and reports each one as soon as it is answered."""

import asyncio
import os
import sys
from pathlib import Path

from archstone.data import Database
from archstone.data.engines.sqlite.batch import Batch


def sync_nothing(db: Database) -> None:
    """Plant the fault that commits are not synced."""
    db._engine._writer.connection.execute("PRAGMA synchronous=OFF")


def answer_early(db: Database) -> None:
    """Plant the fault that answers leave before the COMMIT."""
    join = Batch.join

    def joined(self: Batch, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        answer = join(self, loop)
        answer.set_result(None)
        return answer

    Batch.join = joined


FAULTS = {"none": lambda db: None, "synchronous-off": sync_nothing, "early-answer": answer_early}


async def insert(db: Database, row: int) -> None:
    if row % 3 == 0:
        await db.execute("INSERT INTO rows (id, text) VALUES (:id, :text)", id=row, text="x" * 300)
        return
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO rows (id, text) VALUES (:id, :text)", id=row, text="y" * 300)
        if row % 3 == 1:
            await asyncio.sleep(0)
        await tx.execute("UPDATE total SET rows = rows + 1")


async def main(file: Path, *, fault: str, threads: bool) -> None:
    async with Database(f"sqlite:///{file}", commit_in_thread=threads) as db:
        await db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text TEXT)")
        await db.execute("CREATE TABLE IF NOT EXISTS total (rows INTEGER)")
        await db.execute("INSERT INTO total (rows) VALUES (0)")
        FAULTS[fault](db)
        numbers = iter(range(10**9))

        async def work() -> None:
            for row in numbers:
                await insert(db, row)
                os.write(1, f"{row}\n".encode())

        await asyncio.gather(*(work() for _ in range(20)))


asyncio.run(main(Path(sys.argv[1]), fault=sys.argv[2], threads=sys.argv[3] == "thread"))
