"""A sequencer that keeps its commands: what it has answered is done again after any crash, with the same outcome.

    async with DurableSequencer(data / "sequencer", ReferenceVenue) as sequencer:
        batch = await sequencer.submit(rows_of([Command(...)]))

Promise: commands get their numbers and their time, are written to the log and synced, are done, and only then answered.
All that waits goes into one frame and one fsync. A start loads the newest snapshot and does what the log has after it;
the digest of the venue, noted in the log now and then, must come out the same.
Not for two machines: see `Node`, which keeps every frame on two disks before it answers.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from archstone.observability import get_logger
from archstone.systems.exchange.matching import COMMAND, Commands
from archstone.systems.exchange.sequencer.errors import NotLeadingError
from archstone.systems.exchange.sequencer.frames import Frame
from archstone.systems.exchange.sequencer.intake import Intake
from archstone.systems.exchange.sequencer.port import Batch, Dump
from archstone.systems.exchange.sequencer.replica import Replica, VenueClass
from archstone.systems.exchange.sequencer.settings import SequencerSettings
from archstone.systems.exchange.sequencer.writer import write
from archstone.systems.exchange.venue import Venue

__all__ = ["DurableSequencer", "sync_now_and_then"]

_log = get_logger("archstone.exchange")


class DurableSequencer:
    """See `Sequencer`; open between `async with` and the end of its block."""

    def __init__(self, folder: Path, venue: VenueClass, *, settings: SequencerSettings | None = None) -> None:
        """Name where commands are kept; nothing is opened yet.

        Args:
            folder: Of this sequencer alone; made if it is not there.
            venue: The class of what acts, with `load`.
            settings: How much waits, and how it is kept.
        """
        self._settings = settings or SequencerSettings()
        self._replica = Replica(folder, venue, self._settings)
        self._intake = Intake(self._settings)
        self._writing: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None

    @property
    def venue(self) -> Venue:
        """What acts; to be looked at only."""
        return self._replica.venue

    @property
    def last(self) -> int:
        """Number of the last command that was done."""
        return self._replica.done.sequence

    async def __aenter__(self) -> Self:
        """Open the folder and do again what is in it.

        Raises:
            FolderTakenError, LogDamagedError, VenueDiffersError: See `Replica.open`.
        """
        self._replica.open()
        try:
            self._replica.do(self._replica.log.end.sequence)
            if self._replica.log.end.epoch == 0:
                await self._keep(self._replica.next_frame(np.zeros(0, COMMAND), epoch=1))
                self._replica.do(self._replica.log.end.sequence)
        except BaseException:
            self._replica.close()
            raise
        if self._settings.acknowledge_before_fsync:
            self._syncing = asyncio.create_task(sync_now_and_then(self._replica))
        self._writing = asyncio.create_task(self._write())
        _log.info("sequencer open", after=self.last, acknowledge_before_fsync=self._settings.acknowledge_before_fsync)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take nothing more, do and answer what waits, give the folder back."""
        writing, self._writing = self._writing, None
        self._intake.close()
        if writing is not None:
            await asyncio.wait([writing])
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)
        try:
            if writing is not None and writing.exception() is None:
                await self._replica.settle()
        finally:
            self._replica.close()

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done; see `Sequencer.submit`.

        Cancelled, they are withdrawn if they still wait, and done otherwise.

        Raises:
            SequencerFullError, NotLeadingError: They were not taken. Nothing has happened.
            UnavailableError: Whether they are kept is not known: the disk failed.
        """
        if self._writing is None or self._writing.done():
            raise NotLeadingError(str(self._replica.folder), "")
        return await self._intake.put(commands).answer

    def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give all that is kept after command number `after`, then all that comes; see `Sequencer.follow`."""
        return self._replica.follow(after)

    async def dump(self) -> Dump:
        """Return the venue as it is; see `Sequencer.dump`."""
        return Dump(self.last, self.venue.dump())

    async def snapshot(self) -> None:
        """Take a snapshot now; return when it is on disk.

        Raises:
            LogBrokenError, OSError: The disk cannot.
        """
        await self._replica.snapshot()

    async def _keep(self, frame: Frame) -> None:
        self._replica.append(frame)
        await self._replica.sync()

    async def _write(self) -> None:
        try:
            await write(self._replica, self._intake, self._keep)
        except Exception as error:
            _log.error("sequencer stopped", exc_info=error)
            raise
        finally:
            self._intake.refuse(NotLeadingError(str(self._replica.folder), ""))


async def sync_now_and_then(replica: Replica) -> None:
    """Have the disk keep what was acknowledged before it had, for ever."""
    while True:
        await asyncio.sleep(replica.settings.sync_every_s)
        await replica.sync_now()
