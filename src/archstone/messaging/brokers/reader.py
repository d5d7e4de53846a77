"""Reads into memory what waits in the table: the backlog after the frontier, and the rest of spilled keys."""

import asyncio
from collections.abc import Sequence

from archstone import world
from archstone.data import Database
from archstone.messaging.brokers import tables
from archstone.messaging.brokers.tables import Stored
from archstone.messaging.brokers.window import Window
from archstone.messaging.lane import Row

__all__ = ["Reader"]


class Reader:
    """Fills windows from one file."""

    def __init__(self, database: Database, *, boundary: int) -> None:
        """Read from `database`; messages up to the position `boundary` have outlived a process."""
        self._database = database
        self._boundary = boundary

    async def fill(self, window: Window) -> None:
        """Read what `window` has room for; nothing, if somebody is reading it already."""
        if window.reading:
            return
        window.reading = True
        try:
            for key in list(window.thirsty):
                await self._read_key(window, key)
            while window.hungry:
                tail, limit = window.tail, window.sizes.chunk
                first, last = window.base + window.frontier + 1, window.base + tail
                stored = await self._database.all(Stored, tables.READ, first=first, last=last, limit=limit)
                window.read(self._rows(window, stored), tail=tail)
        finally:
            window.reading = False

    async def _read_key(self, window: Window, key: str) -> None:
        spill = window.spilled[key]
        until = spill.last
        first, last = window.base + spill.first, window.base + until
        stored = await self._database.all(
            Stored, tables.READ_KEY, first=first, last=last, key=key, limit=window.sizes.per_key
        )
        window.read_key(key, self._rows(window, stored), until=until)

    def _rows(self, window: Window, stored: Sequence[Stored]) -> list[tuple[Row, float | None]]:
        topic, now_us, now_s = window.lane.channel.topic, world.now_us(), world.monotonic()
        rows: list[tuple[Row, float | None]] = []
        for one in stored:
            row = Row(one.envelope(topic), one.slot - window.base)
            row.attempts, row.deaths, row.survivor = one.attempts, one.deaths, row.position <= self._boundary
            wait_s = (one.due - now_us) / 1_000_000
            if wait_s > 0:
                asyncio.get_running_loop().call_later(wait_s, window.lane.wake)
            rows.append((row, now_s + wait_s if wait_s > 0 else None))
        return rows
