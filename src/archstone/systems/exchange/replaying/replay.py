"""Sending what a file tells to an exchange, as fast as it goes or as it went, and comparing what came of it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from archstone import world
from archstone.systems.exchange.matching import Reason, Side, Told
from archstone.systems.exchange.replaying.latencies import Latencies
from archstone.systems.exchange.replaying.lobster import LobsterPiece
from archstone.systems.exchange.replaying.mapping import Mapped, Mapper
from archstone.systems.exchange.replaying.messages import Happened, Messages
from archstone.systems.exchange.sequencer import Batch, Sequencer

__all__ = ["Depths", "Report", "replay"]

_LEVELS: Final = 10
Rows = npt.NDArray[np.int64]


class Depths(Protocol):
    """What is looked at for a comparison. A `Venue` answers it."""

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best `levels` prices of a side: price, lots shown, orders. KeyError: no such book."""
        ...


@dataclass(slots=True, kw_only=True)
class Report:
    """What a replay has come to so far."""

    venue: str = ""
    """Which one it was, where that is known."""
    messages: int = 0
    commands: int = 0
    trades: int = 0
    books: int = 0
    counts: Counter[Happened]
    """Messages of each kind."""
    lost: Counter[str]
    """What has no counterpart, and why."""
    adopted: int = 0
    """Prices taken over from rows of the file since its messages do not tell of them."""
    compared: int = 0
    """Times that a side of a book was compared with the file."""
    faults: int = 0
    told: list[str]
    """The first faults."""
    elapsed_s: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)
    """Of handing over what belongs together, until it was done."""

    @property
    def messages_per_s(self) -> float:
        """Messages in a second of the whole replay, reading and comparing too."""
        return self.messages / self.elapsed_s if self.elapsed_s else 0.0


async def replay(
    pieces: Iterable[Messages | LobsterPiece],
    sequencer: Sequencer,
    *,
    depths: Depths | None = None,
    batch: int = 1_000,
    speed: float | None = None,
    tell: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Send all that a file tells to an exchange without books and accounts, and return what came of it.

    Every trade is compared with the one that the file tells, and a command that is refused is a fault.

    Args:
        pieces: A reader, or messages.
        sequencer: Of the exchange.
        depths: Its books, if they are to be compared after each batch with what the messages say, and, where a file has
            rows, after each message with its row. None: they are not.
        batch: Messages that are sent together at most, at least 1; 1 when rows are compared.
        speed: How many times as fast as it went; above 0. None: as fast as it goes.
        tell: Called after each batch.

    Raises:
        DamagedFileError: What comes before the place has been sent.
    """
    run = _Run(sequencer, depths)
    await run.begin()
    clock = None if speed is None else _Clock(speed)
    for piece in pieces:
        messages, rows = piece if isinstance(piece, LobsterPiece) else (piece, None)
        most = 1 if depths is not None and rows is not None else batch
        for part in _parts(messages, most, clock):
            if clock is not None:
                await clock.wait(int(messages["at_ns"][part.start]))
            await run.send(messages[part], None if rows is None else rows[part])
            tell(run.report)
    return run.report


def _parts(messages: Messages, most: int, clock: "_Clock | None") -> Iterator[slice]:
    """Cut messages into what is sent together: at most so many, and nothing before its time."""
    at = 0
    while at < len(messages):
        end = min(len(messages), at + most)
        if clock is not None:
            due = int(np.searchsorted(messages["at_ns"][at:end], clock.now_ns(messages["at_ns"][at]), side="right"))
            end = at + max(1, due)
        yield slice(at, end)
        at = end


class _Clock:
    """The time of a file, which goes on faster or slower than ours."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began: tuple[float, int] | None = None
        """Our time and the file's when it began."""

    def now_ns(self, first_ns: int) -> int:
        """Return the time of the file; it begins with the first message that is asked for."""
        if self._began is None:
            self._began = (world.monotonic(), int(first_ns))
        began_s, began_ns = self._began
        return began_ns + round((world.monotonic() - began_s) * self._speed * 1e9)

    async def wait(self, at_ns: int) -> None:
        """Wait until the file's time has come."""
        pause_s = (at_ns - self.now_ns(at_ns)) / 1e9 / self._speed
        await asyncio.sleep(max(0.0, pause_s))


class _Run:
    def __init__(self, sequencer: Sequencer, depths: Depths | None) -> None:
        self._sequencer = sequencer
        self._depths = depths
        self._mapper = Mapper()
        self._began_s = world.monotonic()
        self.report = Report(counts=self._mapper.counts, lost=self._mapper.lost, told=self._mapper.told)

    async def begin(self) -> None:
        await self._sequencer.submit(self._mapper.begin())

    async def send(self, messages: Messages, rows: Rows | None) -> None:
        mapped = self._mapper.mapped(messages, rows)
        if len(mapped.commands):
            began_s = world.monotonic()
            done = await self._sequencer.submit(mapped.commands)
            self.report.latencies.note(world.monotonic() - began_s)
            self._judge(mapped, done)
        if self._depths is not None:
            self._compare(self._depths, messages)
        self._sum_up(len(messages), len(mapped.commands))

    def _judge(self, mapped: Mapped, done: Batch) -> None:
        """Compare the trades with those that the file tells: each with one order, in full, and no others."""
        events = done.events
        trades = events[events["kind"] == Told.TRADED]
        wanted = np.flatnonzero(mapped.makers)
        self.report.trades += len(wanted)
        right = len(trades) == len(wanted) and bool(
            np.all(trades["command"] == wanted)
            & np.all(trades["other"] == mapped.makers[wanted])
            & np.all(trades["quantity"] == mapped.commands["quantity"][wanted])
        )
        if not right:
            self._mapper.fault(f"after {self.report.messages:,} messages: the trades are not those of the file")
        for event in events[events["kind"] == Told.REJECTED]:
            why = Reason(int(event["reason"])).name
            self._mapper.fault(f"after {self.report.messages:,} messages: order {event['id']} is refused: {why}")

    def _compare(self, depths: Depths, messages: Messages) -> None:
        for number in np.unique(messages["book"]).tolist():
            if (book := self._mapper.books.get(number)) is None:
                continue
            for side in Side:
                self.report.compared += 1
                ours = [(price, lots) for price, lots, _ in depths.depth(number, side, _LEVELS)]
                if ours != (theirs := book.rebuilt.depth(side, _LEVELS)):
                    place = f"after {self.report.messages + len(messages):,} messages: book {number}"
                    self._mapper.fault(f"{place} {side.name}: {ours[:3]} here, {theirs[:3]} in the file")

    def _sum_up(self, messages: int, commands: int) -> None:
        report, mapper = self.report, self._mapper
        report.messages += messages
        report.commands += commands
        report.books = len(mapper.books)
        report.adopted, report.faults = mapper.adopted, mapper.faults
        report.elapsed_s = world.monotonic() - self._began_s
