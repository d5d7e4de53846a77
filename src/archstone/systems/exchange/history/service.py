"""History as a part of the system: runs the archive, and lists its files."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from archstone import world
from archstone.services import Service, every
from archstone.systems.exchange.history.archive import PARTS, Archive
from archstone.systems.exchange.history.contract import History, HistoryOffError, Part, Parts
from archstone.systems.exchange.sequencer import Sequencer
from archstone.systems.exchange.tape import Following

__all__ = ["HistoryService", "Shelf"]

_SYMBOL = "symbol="


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the files of a system go."""

    archive: Archive | None = None
    """None: nowhere, history is off."""


class HistoryService(Service, History, name="history"):
    """Keeps `History`. Its database holds nothing: the folder says how far it is."""

    sequencer: Sequencer
    shelf: Shelf

    def companions(self) -> tuple[AbstractAsyncContextManager[object], ...]:
        """Return what reads the stream; at the end what has been gathered is written."""
        if (archive := self.shelf.archive) is None:
            return ()
        return (_written(archive), Following(self.sequencer, archive, name="history"))

    @every(60.0)
    async def flush(self) -> None:
        """Write what has been gathered for long, though nothing new comes."""
        if (archive := self.shelf.archive) is not None:
            await archive.flush(now_ns=world.now_us() * 1_000)

    async def parts(
        self, day: date, symbol: str | None = None, kind: Literal["trades", "events"] = "trades", limit: int = 1_000
    ) -> Parts:
        if (archive := self.shelf.archive) is None:
            raise HistoryOffError
        last = await asyncio.to_thread(archive.final)
        found = await asyncio.to_thread(lambda: [*_parts(archive.folder, kind, day, last)])
        ordered = sorted(found, key=lambda each: each.path)
        items = [each for each in ordered if symbol is None or each.symbol == symbol]
        return Parts(folder=str(archive.folder), items=tuple(items[:limit]), last=last)


@asynccontextmanager
async def _written(archive: Archive) -> AsyncGenerator[None]:
    """Write what has been gathered when the block ends."""
    yield
    await archive.flush()


def _parts(folder: Path, kind: Literal["trades", "events"], day: date, last: int) -> Iterator[Part]:
    for path in (folder / kind / f"date={day.isoformat()}").glob(f"{_SYMBOL}*/part-*.parquet"):
        named = PARTS.fullmatch(path.name)
        if named is not None and int(named[2]) <= last:
            yield Part(
                path=str(path.relative_to(folder)),
                kind=kind,
                day=day,
                symbol=path.parent.name.removeprefix(_SYMBOL),
                first=int(named[1]),
                last=int(named[2]),
                size_bytes=path.stat().st_size,
            )
