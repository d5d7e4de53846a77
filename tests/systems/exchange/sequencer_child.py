"""A sequencer in a process of its own, to be killed: sequencer_child.py FOLDER submit|cut|reset; prints its answers."""

import asyncio
import sys
from pathlib import Path

from tally import Tally, orders

from archstone.systems.exchange.sequencer import DurableSequencer, SequencerSettings
from archstone.systems.exchange.sequencer.replica import Replica

SETTINGS = SequencerSettings(
    segment_bytes=1 << 16, snapshot_commands=700, keep_segments=0, digest_commands=300, sync_in_thread=False
)


async def main(folder: Path) -> None:
    async with DurableSequencer(folder, Tally, settings=SETTINGS) as sequencer:
        for _ in range(40):
            batch = await sequencer.submit(orders(sequencer.last + 1, 100))
            print(batch.first, flush=True)
            await asyncio.sleep(0)


async def of_standby(folder: Path, what: str) -> None:
    """Do what a standby does when it finds that its log is another one than the leader's."""
    replica = Replica(folder, Tally, SETTINGS)
    replica.open()
    if what == "cut":
        replica.cut(replica.done.position)
    else:
        await replica.begin_with(replica.dumped())


if __name__ == "__main__":
    if sys.argv[2] == "submit":
        asyncio.run(main(Path(sys.argv[1])))
    else:
        asyncio.run(of_standby(Path(sys.argv[1]), sys.argv[2]))
