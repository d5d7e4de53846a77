"""A program that moves money between two databases in two phases; killed by the tests at each crash point.

python two_phase_child.py NORTH_URL SOUTH_URL LOG_URL
"""

import asyncio
import sys

from archstone.data import Database
from archstone.sagas import Prepared, TwoPhase

MOVE = "UPDATE accounts SET amount = amount + :n WHERE id = 1"


async def main(north: str, south: str, log: str) -> None:
    a, b, decisions = Database(north), Database(south), Database(log)
    two_phase = TwoPhase(decisions, {"north": Prepared(a), "south": Prepared(b)}, grace_s=0.2)
    async with a, b, decisions, two_phase:
        async with two_phase.transaction("north", "south") as work:
            await work["north"].execute(MOVE, n=-5)
            await work["south"].execute(MOVE, n=5)
        print("answered", flush=True)


asyncio.run(main(*sys.argv[1:]))
