"""Reports, market data and whatever else is made of the stream, which go on after a start where they were.

    async with Readers(sequencer, data / "readers") as readers:
        BinaryServer(sequencer, readers.reports, identify)
        Publisher(readers.feed, send)

What was read of the stream is kept in a folder now and then, a file for each, so the sequencer need not keep all its
commands for ever. A file is whole or is not there; one that is damaged, or of another version or another stream, is
passed over with a line in the log.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from archstone import disk
from archstone.observability import get_logger
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.feed import Feed
from archstone.systems.exchange.reading import Reader, Reading
from archstone.systems.exchange.sequencer import Sequencer, keeps
from archstone.systems.exchange.venue.state import loaded

__all__ = ["Readers"]

_log: Final = get_logger("archstone.exchange")


class Readers:
    """Made once per run."""

    def __init__(
        self,
        sequencer: Sequencer,
        folder: Path | None = None,
        *,
        every_s: float = 60.0,
        also: Mapping[str, Callable[[], Reader]] | None = None,
    ) -> None:
        """Name what is read; nothing happens before it is entered, and the sequencer must be open then.

        Args:
            sequencer: Whose stream is read.
            folder: Where what was read is kept, of these alone; made if it is not there. None: nowhere, and the stream
                is read from its first command on.
            every_s: Between two times that it is kept, beside at the end.
            also: What else is read, by the names of the files; or other ones for `reports` and `feed`.
        """
        self._makes: dict[str, Callable[[], Reader]] = {"reports": Reports, "feed": Feed, **(also or {})}
        self._all = {name: make() for name, make in self._makes.items()}
        self._sequencer, self._folder, self._every_s = sequencer, folder, every_s
        self._over = asyncio.Event()
        self._life = contextlib.AsyncExitStack()

    @property
    def reports(self) -> Reports:
        """What each account is told."""
        return cast("Reports", self._all["reports"])

    @property
    def feed(self) -> Feed:
        """What all may see."""
        return cast("Feed", self._all["feed"])

    def __getitem__(self, name: str) -> Reader:
        """Return one by its name."""
        return self._all[name]

    def __iter__(self) -> Iterator[Reader]:
        """Give all of them."""
        return iter(self._all.values())

    async def __aenter__(self) -> Self:
        """Take up what was kept, and read what has come since.

        What the stream no longer has the beginning of begins with the venue as it is.
        """
        async with contextlib.AsyncExitStack() as life:
            if self._folder is not None:
                self._take_up(self._folder)
            await self._begin_where_gone()
            await life.enter_async_context(Reading(self._sequencer, [*self]))
            if self._folder is not None:
                keeping = asyncio.create_task(self._keep_on(self._folder), name="keep what was read")
                life.push_async_callback(self._keep_last, keeping)
            self._life = life.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was read, and stop reading."""
        await self._life.__aexit__(kind, error, trace)

    def _take_up(self, folder: Path) -> None:
        for name, make in self._makes.items():
            found = make()
            try:
                found.load((folder / name).read_bytes())
                _check_past(found.sequence, self._sequencer)
            except FileNotFoundError:
                continue
            except ValueError as error:
                _log.warning(
                    "what was kept is passed over: the stream is read from its beginning", file=name, why=error
                )
            else:
                self._all[name] = found

    async def _begin_where_gone(self) -> None:
        if not (gone := [name for name, each in self._all.items() if not await keeps(self._sequencer, each.sequence)]):
            return
        dump = await self._sequencer.dump()
        state, _ = loaded(dump.venue)
        for name in gone:
            _log.warning("it begins with the venue: the stream no longer has what comes next", what=name)
            self._all[name] = self._makes[name]()
            self._all[name].begin(state, sequence=dump.sequence)

    async def _keep_on(self, folder: Path) -> None:
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._over.wait()
            is_last = self._over.is_set()
            for name, each in self._all.items():
                await self._keep(folder / name, each)

    async def _keep_last(self, keeping: "asyncio.Task[None]") -> None:
        """Have it kept once more. Two never keep at once: the older could come last."""
        self._over.set()
        await keeping

    async def _keep(self, path: Path, reader: Reader) -> None:
        """Keep what was read; what stopped reading may have stopped halfway, and what was kept before stays."""
        if reader.stopped.is_set():
            return
        kept = await reader.dump()
        if reader.stopped.is_set():
            return
        try:
            await asyncio.to_thread(_put, path, kept)
        except OSError as error:
            _log.error("what was read is not kept, what was kept before stays", file=path.name, exc_info=error)


def _put(path: Path, kept: bytes) -> None:
    disk.make_folder(path.parent)
    disk.put(path, kept)


def _check_past(sequence: int, sequencer: Sequencer) -> None:
    """Refuse what is ahead of the stream: it was made of another one."""
    if sequence > sequencer.last:
        raise ValueError(f"it is at {sequence}, and the stream at {sequencer.last}")
