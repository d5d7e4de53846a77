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
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["Readers"]

_log: Final = get_logger("archstone.exchange")


class Readers:
    """Made once per run."""

    def __init__(self, sequencer: Sequencer, folder: Path | None = None, *, every_s: float = 60.0) -> None:
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

        Raises:
            LookupError: Nothing was kept, or it was damaged, and the stream no longer has its beginning.
        """
        async with contextlib.AsyncExitStack() as life:
            if self._folder is not None:
                _taken_up(self._folder / "reports", self._take_up_reports)
                _taken_up(self._folder / "image", self._take_up_image)
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
        folder.mkdir(parents=True, exist_ok=True)
        for name, kept in (("reports", self.reports.dump()), ("image", self.feed.image.dump())):
            aside = folder / f"{name}.aside"
            with aside.open("wb") as file:
                file.write(kept)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(folder / name)


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
