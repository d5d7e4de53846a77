"""What one node keeps and knows: the log, snapshots, and the venue that both make.

Frames are held first and done later: a frame that is held is on this node's disk, one that is done has changed its
venue. What is done can never be cut off again, so whoever follows sees only what stays.
"""

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final, Protocol

from archstone import disk, world
from archstone.observability import get_logger
from archstone.systems.exchange.matching import Commands
from archstone.systems.exchange.sequencer.errors import (
    FolderTakenError,
    LogDamagedError,
    LogsDifferError,
    VenueDiffersError,
)
from archstone.systems.exchange.sequencer.frames import NOTHING, Frame, Mark, Position
from archstone.systems.exchange.sequencer.log import CommandLog, LogBrokenError
from archstone.systems.exchange.sequencer.pace import Pace
from archstone.systems.exchange.sequencer.port import Batch
from archstone.systems.exchange.sequencer.recent import Recent, part_of
from archstone.systems.exchange.sequencer.settings import SequencerSettings
from archstone.systems.exchange.sequencer.snapshots import Snapshot, Snapshots
from archstone.systems.exchange.venue import Venue

__all__ = ["AFTER_HOLD", "AFTER_RESET", "Replica", "VenueClass"]

AFTER_HOLD: Final = world.declare_point(
    "exchange.after_hold", "a frame is on this node's disk, it is not done, and nobody has been told"
)
AFTER_RESET: Final = world.declare_point(
    "exchange.after_reset", "the log begins anew after the snapshot of another node, which is not yet in its place"
)
_SLOW_SYNC_S: Final = 0.001
_ID: Final = "id"

_log = get_logger("archstone.exchange")


class VenueClass(Protocol):
    """A class of venues: an empty one, and one from a dump."""

    def __call__(self) -> Venue:
        """Make one without books and accounts."""
        ...

    def load(self, dump: bytes, /) -> Venue:
        """Make the one that was dumped."""
        ...


class Replica:
    """One node's copy. `open` before anything else."""

    def __init__(self, folder: Path, venue: VenueClass, settings: SequencerSettings) -> None:
        """Name the folder; see `DurableSequencer`."""
        self.folder = folder
        self.settings = settings
        self.log = CommandLog(folder / "log", segment_bytes=settings.segment_bytes)
        self.snapshots = Snapshots(folder / "snapshots", keep=settings.keep_snapshots)
        self.venue = venue()
        self.done = NOTHING
        """The end of the last frame that was done."""
        self.id = ""
        """Of the folder, once it is open: by chance, made with the log, and so another one when that was removed."""
        self._class = venue
        self._held: deque[Frame] = deque()
        self._recent = Recent(settings.recent_commands)
        self._noted = 0
        self._pace = Pace()
        self._snapshot_at = (0, world.monotonic())
        self._thread: ThreadPoolExecutor | None = None
        self._owner: int | None = None
        self._appended = self._synced = 0
        self._syncing = asyncio.Lock()
        self._snapshotting: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Take the folder, read snapshot and log, and do all frames but the last: whether that one stays is to be seen.

        Raises:
            FolderTakenError: Another process has it.
            LogDamagedError: What is there is not what was written; nothing was changed.
            VenueDiffersError: The venue comes to another state than it did when the log was written.
        """
        disk.make_folder(self.folder)
        self._lock()
        try:
            self._identify()
            self.snapshots.open()
            self.log.open()
            self._finish_reset()
            self._restore()
            self._choose_thread()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the folder back."""
        self.log.close()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def next_frame(self, commands: Commands, *, epoch: int | None = None) -> Frame:
        """Return the frame of new commands, to be held next. All held frames are done."""
        digest = None
        if epoch is not None or self.done.sequence - self._noted >= self.settings.digest_commands:
            digest, self._noted = self.venue.digest(), self.done.sequence
        at_ns = self._pace.next_ns(self.log.end.at_ns)
        return Frame.after(self.log.end, commands, at_ns=at_ns, digest=digest, epoch=epoch)

    def append(self, frame: Frame) -> None:
        """Put a frame into the log. It is held when `sync` has returned."""
        self.log.append(frame)
        self._held.append(frame)
        self._appended += 1

    async def sync(self) -> None:
        """Wait until the disk has what was appended, unless the operator chose not to wait for it."""
        if not self.settings.acknowledge_before_fsync:
            await self.sync_now()
        world.point(AFTER_HOLD)

    async def sync_now(self) -> None:
        """Wait until the disk has what was appended."""
        async with self._syncing:
            if (upto := self._appended) == self._synced:
                return
            if self._thread is None:
                self.log.sync()
            else:
                await self._synced_in(self._thread)
            self._synced = upto

    async def _synced_in(self, thread: ThreadPoolExecutor) -> None:
        syncing = asyncio.get_running_loop().run_in_executor(thread, self.log.sync)
        try:
            await asyncio.shield(syncing)
        except asyncio.CancelledError:
            await asyncio.wait([syncing])  # whoever comes next may close the file that it is at
            raise

    def do(self, upto: int) -> Batch | None:
        """Do what is held, up to command `upto`, and return the last batch.

        Raises:
            VenueDiffersError: See `open`.
        """
        batch = None
        while self._held and self._held[0].last <= upto:
            batch = self._do(self._held.popleft())
        return batch

    def cut(self, position: Position) -> None:
        """Forget what is held after a position.

        Raises:
            LogsDifferError: Some of that was done already.
            LookupError: No frame ends there.
            LogBrokenError: The disk refused.
        """
        if position < self.done.position:
            raise LogsDifferError(str(self.folder), self.done.sequence)
        if position < self.log.end.position:
            _log.warning("frames that were never acknowledged cut", after=position.sequence, to=self.log.end.sequence)
        with self._disk():
            self.log.cut(position)
        self._held = deque(each for each in self._held if each.mark.position <= position)

    async def begin_with(self, snapshot: Snapshot) -> None:
        """Forget all, and begin anew with a snapshot of another node.

        Raises:
            VenueDiffersError: The venue that comes of it is another one.
            LogBrokenError: The disk refused.
        """
        venue = self._loaded(snapshot)
        if self._snapshotting is not None:
            await asyncio.wait([self._snapshotting])  # it would put what is to be forgotten beside what comes
        with self._disk():
            self.snapshots.receive(snapshot)
            self.log.reset(snapshot.mark)
            world.point(AFTER_RESET)
            self.snapshots.accept(snapshot)
        self._begin(venue, snapshot.mark)

    def snapshot_if_due(self) -> None:
        """Take a snapshot if it is time and none is under way."""
        sequence, at_s = self._snapshot_at
        commands, now_s = self.done.sequence - sequence, world.monotonic()
        due = commands >= self.settings.snapshot_commands or (commands and now_s - at_s >= self.settings.snapshot_s)
        if due and (self._snapshotting is None or self._snapshotting.done()):
            self.snapshot()

    def snapshot(self) -> asyncio.Task[None]:
        """Dump the venue, which nothing else can use meanwhile; return what does the rest beside the work.

        Of one that fails the log tells, and the next one tries again.
        """
        begin_s = world.monotonic()
        snapshot = self.dumped()
        self._snapshot_at = (self.done.sequence, begin_s)
        _log.info("snapshot", after=self.done.sequence, held_up_s=round(world.monotonic() - begin_s, 6))
        self._snapshotting = asyncio.create_task(self._finish(snapshot, self._snapshotting), name="snapshot")
        self._snapshotting.add_done_callback(_tell_failed)
        return self._snapshotting

    def dumped(self) -> Snapshot:
        """Return the venue as it is now."""
        return Snapshot(self.done, self.venue.digest(), self.venue.dump())

    async def settle(self) -> None:
        """Wait until the disk has all that was appended, and for the snapshot that is under way, before `close`.

        Raises:
            LogBrokenError, OSError: The disk cannot.
        """
        await self.sync_now()
        if self._snapshotting is not None:
            await asyncio.wait([self._snapshotting])
        self.log.seal()

    async def _finish(self, snapshot: Snapshot, before: asyncio.Task[None] | None) -> None:
        """Write a snapshot after the one before, and let go of the files of the log that nobody needs any more."""
        if before is not None:
            await asyncio.wait([before])  # it may be of the same command, and so of the same file
        await self.sync_now()  # a snapshot must not be ahead of the log
        await asyncio.get_running_loop().run_in_executor(None, self.snapshots.write, snapshot)
        self.log.drop(self.snapshots.newest()[0], keep=self.settings.keep_segments)
        self.snapshots.prune(self.log.begins)

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give all that was done after command number `after`, then all that comes; see `Sequencer.follow`."""
        while True:
            if after + 1 < self._recent.first:
                async with aclosing(self._replayed(after)) as replayed:
                    async for batch in replayed:
                        yield batch
                        after = batch.last
            for batch in self._recent.since(after):
                yield part_of(batch, after + 1, batch.last)
                after = batch.last
            await self._recent.more(after)

    async def _replayed(self, after: int) -> AsyncGenerator[Batch]:
        """Give batches that are in memory no longer: a second venue does them again."""
        snapshot = next(self.snapshots.newest_first(after), None)
        if snapshot is None and self.log.begin != NOTHING:
            kept = (self.snapshots.sequences() or [self.log.begin.sequence])[0]
            raise LookupError(f"commands after {after}: kept from {kept + 1} on; begin with a snapshot")
        venue = self._class() if snapshot is None else self._loaded(snapshot)
        begin = NOTHING if snapshot is None else snapshot.mark
        for frame in self.log.read(begin.position):
            if frame.mark.position > self.done.position:
                return
            if not len(frame.commands):
                continue
            events = venue.apply(frame.commands, frame.at_ns)
            batch = Batch(frame.first, frame.at_ns, frame.commands, events)
            if frame.last > after:
                yield part_of(batch, after + 1, frame.last)
                after = frame.last
            if after + 1 >= self._recent.first:
                return
            await asyncio.sleep(0)

    def _lock(self) -> None:
        owner = os.open(self.folder / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(owner)
            raise FolderTakenError(str(self.folder)) from error
        self._owner = owner

    def _identify(self) -> None:
        """Take the folder's id; make another one where there is no log."""
        disk.remove_unfinished(self.folder)
        path = self.folder / _ID
        if not path.exists() or not self.log.exists():
            # Before the log: else one that is empty could pass, after a crash, for the one that was there.
            disk.put(path, world.secret_bytes(16).hex().encode())
        self.id = path.read_text()

    @contextmanager
    def _disk(self) -> Generator[None]:
        """What the disk refuses is no lost connection: this node cannot go on."""
        try:
            yield
        except OSError as error:
            raise LogBrokenError(str(self.folder), error.strerror or str(error)) from error

    def _finish_reset(self) -> None:
        """A crash between the new beginning of the log and its snapshot: the log says whether it got that far."""
        received = self.snapshots.received()
        if received is not None and received.mark == self.log.begin:
            self.snapshots.accept(received)
        else:
            self.snapshots.discard()

    def _restore(self) -> None:
        newest = (self.snapshots.sequences() or [0])[-1]
        if newest > self.log.end.sequence:
            raise LogDamagedError(
                str(self.log.folder), 0, f"it ends with command {self.log.end.sequence}, before snapshot {newest}"
            )
        snapshot = next(self.snapshots.newest_first(), None)
        if snapshot is None and self.log.begin != NOTHING:
            begins = self.log.begin.sequence + 1
            raise LogDamagedError(str(self.log.folder), 0, f"it begins with command {begins}, and no snapshot is whole")
        if snapshot is None:
            self._begin(self._class(), NOTHING)
        else:
            if self.log.mark_at(snapshot.mark.position) != snapshot.mark:
                what = f"no frame of it fits the snapshot after command {snapshot.mark.sequence}"
                raise LogDamagedError(str(self.log.folder), 0, what)
            self._begin(self._loaded(snapshot), snapshot.mark)
        self._replay()

    def _replay(self) -> None:
        for frame in self.log.read(self.done.position):
            if self._held:
                self._do(self._held.popleft())
            self._held.append(frame)

    def _begin(self, venue: Venue, mark: Mark) -> None:
        self.venue, self.done = venue, mark
        self._held.clear()
        self._noted = mark.sequence
        self._snapshot_at = (mark.sequence, world.monotonic())
        self._recent.begin(mark.sequence)

    def _loaded(self, snapshot: Snapshot) -> Venue:
        venue = self._class.load(snapshot.dump)
        if (found := venue.digest()) != snapshot.digest:
            raise VenueDiffersError(snapshot.mark.sequence, snapshot.digest, found)
        return venue

    def _do(self, frame: Frame) -> Batch | None:
        if frame.before != self.done.crc:
            what = f"the frame that begins with command {frame.first} does not follow what is done"
            raise LogDamagedError(str(self.log.folder), 0, what)
        if frame.digest is not None:
            self._noted = self.done.sequence
            if (found := self.venue.digest()) != frame.digest:
                raise VenueDiffersError(self.done.sequence, frame.digest, found)
        if not len(frame.commands):
            self.done = frame.mark
            return None
        batch = Batch(frame.first, frame.at_ns, frame.commands, self.venue.apply(frame.commands, frame.at_ns))
        self.done = frame.mark
        self._recent.add(batch)
        return batch

    def _choose_thread(self) -> None:
        wanted = self.settings.sync_in_thread
        if wanted is None:
            wanted = disk.measured_sync_s(self.folder, growing=True) > _SLOW_SYNC_S
        if wanted:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="exchange-log")


def _tell_failed(snapshotting: asyncio.Task[None]) -> None:
    if not snapshotting.cancelled() and (error := snapshotting.exception()) is not None:
        _log.error("no snapshot was kept", exc_info=error)
