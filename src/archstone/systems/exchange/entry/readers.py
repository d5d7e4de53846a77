"""Reports and market data that go on after a start where they were.

    async with Readers(sequencer, data / "readers") as readers:
        BinaryServer(sequencer, readers.reports, identify)
        Publisher(readers.feed, send)

What was read of the stream is kept in a folder now and then, so the sequencer need not keep all its commands for ever.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from archstone.observability import get_logger
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.feed import BookImage, Feed
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
    ) -> None:
        """Name what is read; nothing happens before it is entered, and the sequencer must be open then.

        Args:
            sequencer: Whose stream is read.
            folder: Where what was read is kept, of these alone; made if it is not there. None: nowhere, and the stream
                is read from its first command on.
            every_s: Between two times that it is kept, beside at the end.
        """
        self.reports = Reports(sequencer)
        self.feed = Feed(sequencer)
        self._sequencer, self._folder, self._every_s = sequencer, folder, every_s
        self._life = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Take up what was kept, and read what has come since.

        Where the stream no longer has what comes next, reports and books begin with the venue as it is.
        """
        async with contextlib.AsyncExitStack() as life:
            if self._folder is not None:
                _taken_up(self._folder / "reports", self._take_up_reports)
                _taken_up(self._folder / "image", self._take_up_image)
            await self._begin_where_gone()
            await life.enter_async_context(self.reports)
            await life.enter_async_context(self.feed)
            if self._folder is not None:
                life.callback(self._keep, self._folder)
                life.callback(asyncio.create_task(self._keep_on(self._folder), name="keep what was read").cancel)
            self._life = life.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was read, and stop reading."""
        await self._life.__aexit__(kind, error, trace)

    async def _begin_where_gone(self) -> None:
        sequencer = self._sequencer
        if not await keeps(sequencer, self.reports.sequence):
            _log.warning("reports begin with the venue: the stream no longer has what comes next")
            dump = await sequencer.dump()
            self.reports = Reports.begun(sequencer, loaded(dump.venue)[0], sequence=dump.sequence)
        if not await keeps(sequencer, self.feed.sequence):
            _log.warning("books begin with the venue: the stream no longer has what comes next")
            dump = await sequencer.dump()
            image = BookImage.begun(loaded(dump.venue)[0], sequence=dump.sequence)
            self.feed = Feed(sequencer, image=image)

    def _take_up_reports(self, kept: bytes) -> None:
        reports = Reports(self._sequencer)
        reports.load(kept)
        _check_past(reports.sequence, self._sequencer)
        self.reports = reports

    def _take_up_image(self, kept: bytes) -> None:
        image = BookImage.load(kept)
        _check_past(image.sequence, self._sequencer)
        self.feed = Feed(self._sequencer, image=image)

    async def _keep_on(self, folder: Path) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            self._keep(folder)

    def _keep(self, folder: Path) -> None:
        """Keep what was read; what stopped reading may have stopped halfway, and what was kept before stays."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.reports.reads:
                _put(folder / "reports", self.reports.dump())
            if not self.feed.stopped.is_set():
                _put(folder / "image", self.feed.image.dump())
        except OSError as error:
            _log.error("what was read is not kept, what was kept before stays", folder=folder.name, exc_info=error)


def _put(path: Path, kept: bytes) -> None:
    aside = path.with_suffix(".aside")
    with aside.open("wb") as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _taken_up(path: Path, take_up: Callable[[bytes], None]) -> None:
    try:
        take_up(path.read_bytes())
    except FileNotFoundError:
        return
    except ValueError as error:
        _log.warning("what was kept is passed over: the stream is read from its beginning", file=path.name, error=error)


def _check_past(sequence: int, sequencer: Sequencer) -> None:
    """Refuse what is ahead of the stream: it was made of another one."""
    if sequence > sequencer.last:
        raise ValueError(f"it is at {sequence}, and the stream at {sequencer.last}")
