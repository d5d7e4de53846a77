"""History as a part of the system: runs the archive, and lists its files."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import date
from pathlib import Path
from typing import Literal

from archstone import world
from archstone.services import Service, every
from archstone.systems.exchange.history.archive import PARTS, Archive
from archstone.systems.exchange.history.contract import History, Part, Parts
from archstone.systems.exchange.sequencer import Sequencer
from archstone.systems.exchange.tape import Following

__all__ = ["HistoryService"]

_SYMBOL = "symbol="


class HistoryService(Service, History, name="history"):
    """Keeps `History`. Its database holds nothing: the folder says how far it is."""

    sequencer: Sequencer
    archive: Archive

    def companions(self) -> tuple[AbstractAsyncContextManager[object], ...]:
        """Return what reads the stream."""
        return (Following(self.sequencer, self.archive, name="history"),)

    @every(60.0)
    async def flush(self) -> None:
        """Write what has been gathered for long, though nothing new comes."""
        await self.archive.flush(now_ns=world.now_us() * 1_000)

    async def parts(
        self, day: date, symbol: str | None = None, kind: Literal["trades", "events"] = "trades", limit: int = 1_000
    ) -> Parts:
        last = await asyncio.to_thread(self.archive.final)
        folder = self.archive.folder / kind / f"date={day.isoformat()}"
        found = await asyncio.to_thread(lambda: [*self._parts(folder, kind, day, last)])
        ordered = sorted(found, key=lambda each: each.path)
        items = [each for each in ordered if symbol is None or each.symbol == symbol]
        return Parts(folder=str(self.archive.folder), items=tuple(items[:limit]), last=last)

    def _parts(self, folder: Path, kind: Literal["trades", "events"], day: date, last: int) -> Iterator[Part]:
        for path in folder.glob(f"{_SYMBOL}*/part-*.parquet"):
            named = PARTS.fullmatch(path.name)
            if named is not None and int(named[2]) <= last:
                yield Part(
                    path=str(path.relative_to(self.archive.folder)),
                    kind=kind,
                    day=day,
                    symbol=path.parent.name.removeprefix(_SYMBOL),
                    first=int(named[1]),
                    last=int(named[2]),
                    size_bytes=path.stat().st_size,
                )
