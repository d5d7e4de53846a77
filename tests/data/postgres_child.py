"""A program that writes pairs of rows to a PostgreSQL and prints what was answered; killed or stopped by the tests.

python postgres_child.py URL [stop]
"""

import asyncio
import sys

from archstone.data import Database, Transaction

INSERT = "INSERT INTO pairs (id, half) VALUES (:id, :half)"


async def pair(db: Database, number: int) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute(INSERT, id=number, half=1)
        await tx.execute(INSERT, id=number, half=2)

    await db.run(work)
    print(number, flush=True)


async def row(db: Database, number: int) -> None:
    await db.execute("INSERT INTO pairs (id, half) VALUES (:id, 1), (:id, 2)", id=number)
    print(number, flush=True)


async def hold(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.execute("UPDATE t SET n = n + 1 WHERE id = 1")
        print("locked", flush=True)
        await asyncio.sleep(60)


async def main(url: str, mode: str) -> None:
    async with Database(url, hold_limit_s=1.0 if mode else 5.0) as db:
        if mode:
            await hold(db)
            return
        await db.execute("CREATE TABLE pairs (id BIGINT, half BIGINT, PRIMARY KEY (id, half))")
        for start in range(0, 40, 4):
            await asyncio.gather(*[pair(db, start + n) for n in range(2)], *[row(db, start + n) for n in (2, 3)])


asyncio.run(main(sys.argv[1], "".join(sys.argv[2:])))
