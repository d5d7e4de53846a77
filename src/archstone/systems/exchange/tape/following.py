"""Reads the stream of batches for somebody who keeps what it makes of it, and goes on where that is.

    async with Following(sequencer, reader, name="surveillance") as following:
        await following.reached(sequence, timeout_s=1.0)

Promise: the reader is given every command once, in order, as many batches at a time as there are. What it has taken and
how far it is it keeps in one transaction, so that after a crash, a failure or a restart nothing is lost or done twice.
A failure is told (log, `statistics`, an alert) and tried again from what the reader has kept. A gap is never skipped
unseen: where the stream no longer has what comes next, the reader begins with the venue as it is, and an alert says so
until the process ends.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from archstone import context
from archstone.context import Call
from archstone.data import Lease
from archstone.errors import DeadlineError
from archstone.observability import Alerts, get_logger
from archstone.resilience import Exponential
from archstone.systems.exchange.sequencer import Batch, Sequencer
from archstone.systems.exchange.tape.errors import OtherStreamError, StreamGapError
from archstone.systems.exchange.tape.facts import rest_of
from archstone.systems.exchange.venue.state import State, loaded

__all__ = ["Following", "FollowingStatistics", "Reader"]

_AHEAD: Final = 256
"""Batches that are read before the reader asks for them."""
_log = get_logger("archstone.systems.exchange")


class Reader(Protocol):
    """Makes something of the stream."""

    async def last(self) -> int:
        """Return the number of the last command that need not be given again; 0: none was."""
        ...

    async def take(self, batches: Sequence[Batch]) -> None:
        """Keep what comes of these batches, one at least, and how far that is, in one step.

        What this raises has them given again, from what `last` says then.
        """
        ...

    async def begin(self, venue: State, sequence: int) -> int:
        """Go on after command number `sequence`, with the venue as it was then: what came before is not to be had.

        Keeps that in one step; `last` says so from then on. Returns the number of the last command that it had taken.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingStatistics:
    """How a reader stands."""

    last: int
    """Number of the last command that it has taken."""
    failures: int
    """Times in a row that it failed."""
    error: str | None
    """What the last failure was. None: it has gone on since."""


class Following:
    """Runs one reader while its block is open."""

    def __init__(
        self,
        sequencer: Sequencer,
        reader: Reader,
        *,
        name: str,
        turn: Lease | None = None,
        most: int = 2_000,
        backoff: Exponential = Exponential(0.1, cap_s=10.0),  # noqa: B008 - a frozen value
    ) -> None:
        """Describe it.

        Args:
            sequencer: Whose stream.
            reader: Who is given the batches.
            name: Of the reader, for logs and alerts.
            turn: Who holds it reads; others stand by. For readers of several processes that share a database; what the
                reader keeps must be guarded by where it was, all the same. None: there is no other.
            most: Commands after which no batch is added to those that are given together. At least 1.
            backoff: Seconds between a failure and the next attempt.
        """
        self.name = name
        self._turn = turn
        self._sequencer = sequencer
        self._reader = reader
        self._most = most
        self._backoff = backoff
        self._last = self._failures = 0
        self._error: str | None = None
        self._gone: set[int] = set()
        """Where it wanted to go on since it last could, and the stream had nothing any more."""
        self._missing: str | None = None
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"reader {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop. What is being taken is rolled back, and comes again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def statistics(self) -> FollowingStatistics:
        """Return how it stands."""
        return FollowingStatistics(last=self._last, failures=self._failures, error=self._error)

    def watched_by(self, alerts: Alerts) -> None:
        """Have `alerts` tell of a reader that fails."""
        alerts.watch(
            f"reader {self.name}", lambda: self._error,
            todo="Mend what the error names. The reader goes on by itself where it was.",
        )  # fmt: skip
        alerts.watch(
            f"beginning of reader {self.name}", lambda: self._missing,
            todo="Nothing brings it back: know that it is missing. The next start says no more of it.",
        )  # fmt: skip

    async def reached(self, sequence: int, *, timeout_s: float) -> None:
        """Return when the command number `sequence` is taken.

        Raises:
            DeadlineError: It was not within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._last < sequence:
                    await self._moved.wait()
        except TimeoutError:
            why = f" ({self._error})" if self._error else ""
            raise DeadlineError(
                f"reader {self.name}: it is at command {self._last}, {sequence} was not reached in {timeout_s:g} s{why}"
            ) from None

    async def _run(self) -> None:
        context.set_current(Call())
        while True:
            try:
                async with self._turn or nullcontext():
                    await self._read()
            except Exception as error:  # noqa: BLE001 - whatever it was, it is told and tried again
                self._failures += 1
                self._error = f"{type(error).__name__}: {error}"
                _log.error("reader failed", reader=self.name, last=self._last, why=self._error, exc_info=error)
                await asyncio.sleep(self._backoff.longest_s(self._failures))

    async def _read(self) -> None:
        """Read on for ever; whatever goes wrong is raised."""
        if self._turn is not None:
            await self._turn.held()
        after = await self._reader.last()
        if after in self._gone:
            after = await self._begun()
        if after > self._sequencer.last:
            raise OtherStreamError(self.name, after, self._sequencer.last)
        self._move(after)
        ready: asyncio.Queue[Batch | Exception] = asyncio.Queue(_AHEAD)
        pump = asyncio.create_task(self._pump(after, ready), name=f"reader {self.name}: ahead")
        try:
            while True:
                batches = await self._gathered(ready, after)
                after = batches[-1].last
                await self._reader.take(batches)
                self._failures, self._error = 0, None
                self._gone.clear()
                self._move(after)
        finally:
            pump.cancel()
            await asyncio.wait([pump])

    async def _begun(self) -> int:
        """Have the reader begin with the venue; return the command after which it goes on."""
        dump = await self._sequencer.dump()
        had = await self._reader.begin(loaded(dump.venue)[0], dump.sequence)
        self._gone.clear()
        self._failures, self._error = 0, None
        self._missing = f"it has nothing of commands {had + 1} to {dump.sequence}: the stream kept them no more"
        _log.error("reader begins with the venue", reader=self.name, last=had, now=dump.sequence)
        return await self._reader.last()

    async def _pump(self, after: int, ready: asyncio.Queue[Batch | Exception]) -> None:
        try:
            async with aclosing(self._sequencer.follow(after)) as stream:
                async for batch in stream:
                    if (rest := rest_of(batch, after)) is not None:
                        await ready.put(rest)
        except Exception as error:  # noqa: BLE001 - raised where the batches are awaited
            if isinstance(error, LookupError):
                self._gone.add(after)
            await ready.put(error)

    async def _gathered(self, ready: asyncio.Queue[Batch | Exception], after: int) -> list[Batch]:
        """Return what is there, at least one batch, without a gap after command `after`."""
        found: list[Batch] = []
        count = 0
        while not found or (count < self._most and not ready.empty()):
            each = await ready.get()
            if isinstance(each, Batch) and each.first != after + 1:
                each = StreamGapError(self.name, after + 1, each.first)
            if isinstance(each, Exception):
                if not found:
                    raise each
                ready.put_nowait(each)  # there is room: at least two were taken
                return found
            found.append(each)
            count += len(each.commands)
            after = each.last
        return found

    def _move(self, last: int) -> None:
        self._last = last
        self._moved.set()
        self._moved = asyncio.Event()
