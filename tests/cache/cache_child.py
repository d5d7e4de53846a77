"""One of several processes that ask for the same keys: `cache_child.py URL FILE WAITERS`, told to go by a line."""

import asyncio
import sys
from pathlib import Path

from archstone.cache import Cache


async def main(url: str, file: str, waiters: int) -> None:
    async with Cache(url) as cache:

        @cache.aside("hot:{key}")
        async def load(key: str) -> str:
            with Path(file).open("a") as loads:
                loads.write(f"{key}\n")
            await asyncio.sleep(0.3)
            return f"value of {key}"

        await load("warm")
        print("ready", flush=True)
        sys.stdin.readline()
        values = await asyncio.gather(*(load("one") for _ in range(waiters)))
        print(len(values), *set(values), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
