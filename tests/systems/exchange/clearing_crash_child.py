"""Reads a stream into the tape, the ledger, surveillance and history until all of it is there, and says so.

python clearing_crash_child.py FOLDER [POSTGRES_URL]
"""

import asyncio
import importlib.util
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from clearing_stream import (
    NOON_NS,
    SECOND_NS,
    STAFF,
    Kept,
    deposited,
    eventually,
    following,
    made,
    opening,
    serving,
    traded,
)

from archstone.systems.exchange.clearing import Clearing, ClearingService
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.surveillance import SurveillanceService
from archstone.systems.exchange.tape import TapeService


def market() -> list:
    """Forty orders that trade, some with themselves."""
    chance = random.Random(11)
    batches = [opening((1, 10)), made(2, *(deposited(account, 1_000_000) for account in (2, 3, 4)))]
    for number in range(1, 41):
        fills = [(chance.randint(2, 4), number, chance.randint(1, 9), chance.randint(90, 110)) for _ in range(2)]
        order = traded(chance.randint(2, 4), number, chance.choice([*Side]), *fills)
        batches.append(made(batches[-1].last + 1, order, at_ns=NOON_NS + number * SECOND_NS))
    return batches


def parts(stream, folder: Path) -> list:
    found = [
        (TapeService, {"sequencer": stream}),
        (ClearingService, {}),
        (SurveillanceService, {"sequencer": stream}),
    ]
    if importlib.util.find_spec("pyarrow") is None:
        return found
    from archstone.systems.exchange.history import Archive, HistoryService, Shelf

    archive = Archive(folder / "history", most=12)
    return [*found, (HistoryService, {"sequencer": stream, "shelf": Shelf(archive)})]


async def main(folder: Path, server: str | None) -> None:
    batches, stream = market(), Kept()

    def url(name: str) -> str:
        return f"{server}?schema={name}" if server else f"sqlite:///{folder}/{name}.db"

    async with serving(*parts(stream, folder), url=url, bus=folder / "bus.db") as run:
        for batch in batches:  # in pieces, so that there are several events
            stream.add(batch)
            await asyncio.sleep(0.005)
        clearing = run["clearing"].client(Clearing, as_=STAFF)

        async def booked() -> bool:
            return (await clearing.trial_balance()).through == batches[-1].last

        await eventually(booked)
        for name in run.keys() - {"clearing"}:
            await following(run[name]).reached(batches[-1].last, timeout_s=20)
        if "history" in run:
            await run["history"].service.shelf.archive.flush()
    print("all there")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:] or [None]))
