"""A process that writes behind until it is killed: `cache_behind_child.py FOLDER`. It says each put when answered."""

import asyncio
import sys
from pathlib import Path

from archstone.cache import Cache, Pace, WriteBehind
from archstone.data import Database


async def main(folder: Path) -> None:
    async def save(values: dict[str, int]) -> None:
        await asyncio.sleep(0.01)
        with (folder / "origin").open("a") as origin:
            origin.writelines(f"{key} {value}\n" for key, value in values.items())

    async with (
        Database(f"sqlite:///{folder / 'buffer.db'}") as buffer,
        Cache() as cache,
        WriteBehind(cache, buffer, save, int, name="n", pace=Pace(every_s=0.02, batch=7)) as behind,
    ):

        async def write(key: str) -> None:
            for value in range(10_000):
                await behind.put(key, value)
                print(key, value, flush=True)

        await asyncio.gather(*(write(f"k{number}") for number in range(20)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
