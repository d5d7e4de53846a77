"""A transfer between two databases on two servers: by two-phase commit, by a saga, and inside one database.

For the choice between them, not against a peer: how long one transfer takes, how many there are in a second, and how
many when all of them want the same account. Each server syncs every commit.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from archstone import context
from archstone.data import Database, Transaction, TransactionLostError
from archstone.sagas import Prepared, Sagas, TwoPhase, current_step, saga
from benchmarks.harness import Bench, Measured, Row
from benchmarks.servers import postgres

bench = Bench(
    "two_phase",
    shows="a transfer between accounts: one transaction, a saga of two steps, two-phase commit over two servers",
    hides="a network between them, failures (a saga shows interim states, two-phase commit leaves rows locked)",
)

ACCOUNTS, CALLERS = 1_000, 20
FULL_S, QUICK_S = 4.0, 1.0
_MOVE = "UPDATE accounts SET amount = amount + :n WHERE id = :id"
_NOTE = "INSERT INTO done (key) VALUES (:key) ON CONFLICT DO NOTHING"

Transfer = Callable[[int, int], Awaitable[object]]


async def bank(db: Database) -> None:
    await db.execute("CREATE TABLE accounts (id BIGINT PRIMARY KEY, amount BIGINT NOT NULL)")
    await db.execute("CREATE TABLE done (key TEXT PRIMARY KEY)")
    await db.many("INSERT INTO accounts (id, amount) VALUES (:id, 0)", [{"id": n} for n in range(ACCOUNTS)])
    await db.execute("ANALYZE")  # a plan that reads a whole table conflicts with everybody who writes it


@asynccontextmanager
async def banks() -> AsyncIterator[tuple[Database, Database]]:
    """Give a database on each of two servers, with accounts."""
    async with AsyncExitStack() as stack:
        north, south = [
            await stack.enter_async_context(Database(stack.enter_context(postgres(max_prepared_transactions="100"))))
            for _ in range(2)
        ]
        await bank(north)
        await bank(south)
        yield north, south


class Bank:
    """Both ends of a transfer, as a saga's steps: each notes its key with what it does."""

    def __init__(self, north: Database, south: Database) -> None:
        self._north, self._south = north, south

    @saga()
    async def transfer(self, taken: int, given: int) -> None:
        step = current_step()
        await step(self.take, taken, undo=(self.give_back, taken))
        await step(self.give, given)

    async def take(self, account: int) -> None:
        await self._move(self._north, account, -1)

    async def give_back(self, account: int) -> None:
        await self._move(self._north, account, 1)

    async def give(self, account: int) -> None:
        await self._move(self._south, account, 1)

    async def _move(self, db: Database, account: int, n: int) -> None:
        key = context.current().key

        async def work(tx: Transaction) -> None:
            if await tx.execute(_NOTE, key=key):
                await tx.execute(_MOVE, id=account, n=n)

        await db.run(work)


async def one_transaction(measure: Callable[[Transfer], Awaitable[Measured]]) -> Measured:
    async with banks() as (north, _):

        async def transfer(taken: int, given: int) -> None:
            async def work(tx: Transaction) -> None:
                for account, n in sorted(((taken, -1), (given, 1))):
                    await tx.execute(_MOVE, id=account, n=n)

            await north.run(work)

        return await measure(transfer)


async def by_saga(measure: Callable[[Transfer], Awaitable[Measured]]) -> Measured:
    async with banks() as (north, south):
        owner = Bank(north, south)
        async with Sagas(north, owner=owner) as sagas:
            return await measure(partial(sagas.run, owner.transfer))


async def two_phase(measure: Callable[[Transfer], Awaitable[Measured]]) -> Measured:
    async with (
        banks() as (north, south),
        TwoPhase(north, {"north": Prepared(north), "south": Prepared(south)}) as coordinator,
    ):

        async def transfer(taken: int, given: int) -> None:
            while True:
                try:
                    async with coordinator.transaction("north", "south") as work:
                        await work["north"].execute(_MOVE, id=taken, n=-1)
                        await work["south"].execute(_MOVE, id=given, n=1)
                except TransactionLostError:
                    continue
                else:
                    return

        return await measure(transfer)


async def measured(transfer: Transfer, *, callers: int, accounts: int, quick: bool) -> Measured:
    """Return transfers in a second, or the median time of one if there is one caller, in milliseconds."""
    chance = random.Random(7)
    took_ms: list[float] = []

    async def call(end_s: float) -> None:
        while (begun_s := time.perf_counter()) < end_s:
            await transfer(chance.randrange(accounts), chance.randrange(accounts))
            took_ms.append((time.perf_counter() - begun_s) * 1e3)

    await call(time.perf_counter() + 0.3)
    took_ms.clear()
    begun_s = time.perf_counter()
    await asyncio.gather(*(call(begun_s + (QUICK_S if quick else FULL_S)) for _ in range(callers)))
    per_s = len(took_ms) / (time.perf_counter() - begun_s)
    took_ms.sort()
    p50, p99 = took_ms[len(took_ms) // 2], took_ms[len(took_ms) * 99 // 100]
    details: dict[str, object] = {"p50_ms": f"{p50:.3g}", "p99_ms": f"{p99:.3g}", "fsync": "on"}
    return Measured(p50 if callers == 1 else per_s, details)


def enter(name: str, *, callers: int, accounts: int) -> None:
    ways = {"one_transaction": one_transaction, "saga": by_saga, "two_phase": two_phase}
    for way, function in ways.items():

        def run(quick: bool, function=function) -> Measured:
            return asyncio.run(function(partial(measured, callers=callers, accounts=accounts, quick=quick)))

        run.__name__ = f"{way}_{callers}_{accounts}"
        bench.contender("archstone", "asyncpg")(run)
    unit = "ms/transfer" if callers == 1 else "transfers/s"
    bench.row(Row(name, unit, goal=None, bigger_is_better=callers > 1), ours=f"saga_{callers}_{accounts}",
              peers=[f"two_phase_{callers}_{accounts}"], beside=[f"one_transaction_{callers}_{accounts}"])  # fmt: skip


enter("a saga beside two-phase commit: one caller, p50", callers=1, accounts=ACCOUNTS)
enter("a saga beside two-phase commit: 20 callers", callers=CALLERS, accounts=ACCOUNTS)
enter("a saga beside two-phase commit: 20 callers, one account", callers=CALLERS, accounts=1)

if __name__ == "__main__":
    bench.main()
