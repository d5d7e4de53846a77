"""What is made of the sequencer's stream by reading it, and one reading of the stream for as many as want it.

    async with Reading(sequencer, [reports, board, feed]):
        await board.reached(sequencer.last)

Promise: a batch is given to all readers, one after another and without waiting, before the next one is: who looks at
several of them sees all as they are after the same command. A reader that fails reads no more, says so in the log, and
takes nobody with it.
"""

import asyncio
import io
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import numpy as np

from archstone.observability import get_logger
from archstone.systems.exchange.sequencer import Batch, Sequencer
from archstone.systems.exchange.venue.state import State

__all__ = ["Listeners", "Reader", "Reading", "packed", "unpacked"]

T = TypeVar("T")

_log: Final = get_logger("archstone.exchange")


class Reader(ABC):
    """Something that batches are read into. `async with` it to have it read alone; see `Reading`."""

    def __init__(self, sequencer: Sequencer | None = None) -> None:
        """Begin before the first command.

        Args:
            sequencer: What it reads alone. None: others have it read.
        """
        self.sequence = 0
        """Of the last command that has been read."""
        self.stopped = asyncio.Event()
        """Set when it reads no more: what it shows gets old."""
        self._cause: Exception | None = None
        self._moved = asyncio.Event()
        self._sequencer = sequencer
        self._alone: Reading | None = None

    async def __aenter__(self) -> Self:
        """Read all that is there, and go on reading; see `Reading`."""
        assert self._sequencer is not None
        self._alone = await Reading(self._sequencer, [self]).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading; see `Reading`."""
        assert self._alone is not None
        await self._alone.__aexit__(kind, error, trace)

    @abstractmethod
    def take(self, batch: Batch) -> None:
        """Take in a batch. Commands that are in it already are skipped."""

    @abstractmethod
    async def dump(self) -> bytes:
        """Return all of it as bytes, for `load`. Batches may be read meanwhile."""

    @abstractmethod
    def load(self, kept: bytes) -> None:
        """Take up what `dump` has made. ValueError: it is something else, or damaged: this one is no good then."""

    @abstractmethod
    def begin(self, state: State, *, sequence: int) -> None:
        """Begin with a venue as it is after command number `sequence`."""

    def read(self, batch: Batch) -> None:
        """Take in a batch, and wake who waits for it."""
        self.take(batch)
        self._wake()

    def stop(self, cause: Exception | None) -> None:
        """Read no more; who waits is told why."""
        self._cause = cause
        self.stopped.set()
        self._wake()

    async def reached(self, sequence: int) -> None:
        """Wait until a command has been read. Raises why it never will be, such as LookupError: it is not kept."""
        while self.sequence < sequence:
            if self.stopped.is_set():
                raise self._cause or LookupError(f"command {sequence}: nothing is read any more")
            await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class Reading:
    """Reads the stream for some readers, from where the one is that has read the least."""

    def __init__(self, sequencer: Sequencer, readers: Sequence[Reader]) -> None:
        """Name them; nothing happens before it is entered."""
        self._sequencer = sequencer
        self._readers: list[Reader] = [*readers]
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read all that is there, and go on reading.

        Raises:
            LookupError: What comes next is no longer kept.
        """
        last = self._sequencer.last
        self._task = asyncio.create_task(self._read(), name="exchange reading")
        try:
            for each in [*self._readers]:
                await each.reached(last)
        except BaseException:
            self._task.cancel()
            await asyncio.wait({self._task})
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading. Raises what made it stop before, such as LookupError: what comes next is not kept."""
        assert self._task is not None
        if not self._task.done():
            self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (cause := self._task.exception()) is not None and error is None:
            raise cause

    async def _read(self) -> None:
        cause: Exception | None = None
        try:
            after = min(each.sequence for each in self._readers)
            async with aclosing(self._sequencer.follow(after)) as batches:
                async for batch in batches:
                    self._give(batch)
        except Exception as error:
            _log.error("the stream is read no more", exc_info=error)
            cause = error
            raise
        finally:
            for each in self._readers:
                each.stop(cause)

    def _give(self, batch: Batch) -> None:
        for each in self._readers:
            try:
                each.read(batch)
            except Exception as error:
                if len(self._readers) == 1:
                    raise
                _log.error("a reader of the stream reads no more", reader=type(each).__name__, exc_info=error)
                each.stop(error)
                self._readers = [other for other in self._readers if other is not each]


class Listeners(Generic[T]):
    """Functions that are told, quick ones that do not wait; one that fails is no reason to tell nobody."""

    def __init__(self) -> None:
        self._all: list[Callable[[T], None]] = []

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._all)

    def add(self, listener: Callable[[T], None]) -> Callable[[], None]:
        """Tell one more from now on; return what ends that."""
        self._all.append(listener)
        return lambda: self._all.remove(listener)

    def tell(self, value: T) -> None:
        """Tell all, in the order in which they came."""
        for listener in [*self._all]:
            try:
                listener(value)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the others'
                _log.error("a listener of the exchange's stream failed", exc_info=error)


_DAMAGED: Final = (
    OSError, KeyError, EOFError, ValueError, zipfile.BadZipFile,
    SyntaxError, tokenize.TokenError,  # the header of an array is Python, and read as such
    RuntimeError, zlib.error,  # its entry says that it is encrypted, or compressed
)  # fmt: skip


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays in the form of numpy's `.npz`, which has a checksum of its own."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def unpacked(kept: bytes, names: Sequence[str], *, what: str) -> dict[str, Any]:
    """Return the arrays of `packed`. ValueError: they are something else, or damaged."""
    try:
        with np.load(io.BytesIO(kept), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except _DAMAGED as error:
        raise ValueError(f"{what} of {len(kept)} bytes: they are damaged") from error
