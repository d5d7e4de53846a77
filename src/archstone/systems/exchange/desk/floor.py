"""Where orders are handed in and everything is seen: the sequencer, and what is made of its stream.

    async with Floor(sequencer, INSTRUMENTS) as floor:
        batch = await floor.submit(rows)         # and board, feed and reports show what came of it

Promise: when `submit` returns, all of them have read what was submitted. When one of them cannot read the stream any
more, no order is taken, an alert says so, and what was half read is not kept: the next start reads it again.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import numpy as np

from archstone import context, world
from archstone.context import Call
from archstone.errors import BackendError, RejectedError
from archstone.observability import Alerts
from archstone.systems.exchange.clearing import FeeSchedule
from archstone.systems.exchange.desk.board import Board, day_of
from archstone.systems.exchange.desk.latency import HANDED_IN, Clocks
from archstone.systems.exchange.entry import Readers, Reports
from archstone.systems.exchange.feed import Feed
from archstone.systems.exchange.instruments import Instruments
from archstone.systems.exchange.matching import Command, Commands, Kind, Limit, Phase, rows_of
from archstone.systems.exchange.sequencer import Batch, Sequencer
from archstone.systems.exchange.venue.port import MAX_NUMBER

__all__ = ["CANDLES_S", "HOUSE_LIMITS", "OPENING_CENTS", "Floor", "FloorClosedError", "rows"]

CANDLES_S: Final = (1, 60, 300, 3600)
"""Lengths of candles, in seconds."""
HOUSE_LIMITS: Final[dict[Limit, int]] = {
    Limit.CREDIT: 0,
    Limit.QUANTITY: 5_000,
    Limit.VALUE: 50_000_000,
    Limit.POSITION: 20_000,
    Limit.RATE: 100,
    Limit.ORDERS: 1_000,
}
"""What a new account is bound to; money in cents."""
_TAKES_AWAY: Final = (Kind.CANCEL, Kind.MASS_CANCEL, Kind.KILL, Kind.PHASE)
"""What takes risk away: it goes on to the venue even if nobody can show what came of it."""
TICK_S: Final = 1.0
"""Seconds between two looks at what is due."""
_NEXT_DAY: Final = (Phase.CLOSED, Phase.AUCTION, Phase.CONTINUOUS)
"""By which a day ends and the next begins, in one step: day orders end, and nobody has to wait."""
OPENING_CENTS: Final = 100_000_000
"""Play money of a new account."""
_GIVEN: Final = 1_000
"""Accounts whose numbers are looked through for those that are not needed any more."""


class FloorClosedError(BackendError, code="exchange.floor-closed"):
    """Nobody reads the stream any more: orders are not taken, and what came of those before cannot be shown."""

    def __init__(self, kept: bool) -> None:  # noqa: FBT001 - pickle gives it by position
        super().__init__(kept)
        self.kept = kept
        """Whether the sequencer has what was submitted. False: nothing has happened."""

    def __str__(self) -> str:
        what = "the command was kept" if self.kept else "nothing was done"
        return f"the exchange's floor reads no more: {what}, start the system again to see how your orders stand"


class Floor:
    """Made once per run. `async with` begins to read, and opens the books that are not open yet."""

    def __init__(
        self,
        sequencer: Sequencer,
        instruments: Instruments,
        *,
        checkpoint: Path | None = None,
        clocks: Clocks | None = None,
        fees: FeeSchedule | None = None,
    ) -> None:
        """Take the sequencer.

        Args:
            sequencer: Takes commands, and tells all.
            instruments: What is traded.
            checkpoint: The folder where what was read is kept, for the next start. None: nowhere, and it reads from the
                first command on.
            clocks: What is measured of the engine. None: nothing.
            fees: What trading costs. None: what clearing takes by default.
        """
        self.sequencer = sequencer
        self.instruments = instruments
        self.clocks = clocks or Clocks()
        self._took = self.clocks.add(HANDED_IN, type(sequencer).__name__)
        self._readers = Readers(
            sequencer,
            checkpoint,
            also={"feed": partial(Feed, widths_s=CANDLES_S), "board": partial(Board, fees=fees)},
        )
        self._life = AsyncExitStack()
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._numbers: dict[int, int] = {}

    @property
    def board(self) -> Board:
        """Orders, fills, money and positions."""
        return cast("Board", self._readers["board"])

    @property
    def feed(self) -> Feed:
        """Depth, trades and candles."""
        return self._readers.feed

    @property
    def reports(self) -> Reports:
        """What each account is told."""
        return self._readers.reports

    @property
    def reads(self) -> bool:
        """Whether it goes on reading: no more when it is closed, or what comes next is not kept any more."""
        return not any(each.stopped.is_set() for each in self._readers)

    async def __aenter__(self) -> Self:
        with context.enter(Call()):
            async with AsyncExitStack() as life:
                try:
                    await life.enter_async_context(self._readers)
                except LookupError as error:
                    raise FloorClosedError(kept=True) from error
                timing = asyncio.create_task(self._keep_time(), name="exchange time")
                life.push_async_callback(asyncio.wait, [timing])
                life.callback(timing.cancel)
                for each in self.instruments.all:
                    if each.book not in self.board.books:
                        await self.submit(rows(each.openings(), book=each.book))
                self._life = life.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with suppress(Exception):  # why nothing is read any more has been told by the log and the alert
            await self._life.aclose()

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done; see `Sequencer.submit`. What came of them has been read when this returns.

        Raises:
            FloorClosedError: What came of them will not be read. They were kept only if they take risk away.
        """
        if not self.reads and not np.isin(commands["kind"], _TAKES_AWAY).all():
            raise FloorClosedError(kept=False)
        begun_s = world.monotonic()
        batch = await self.sequencer.submit(commands)
        await self.reached(batch.last)
        self._took.add(round((world.monotonic() - begun_s) * 1e9))
        return batch

    async def reached(self, sequence: int) -> None:
        """Return when command number `sequence` has been read. FloorClosedError: it will not be."""
        try:
            for each in self._readers:
                await each.reached(sequence)
        except Exception as error:
            raise FloorClosedError(kept=True) from error

    def next_number(self, account: int) -> int | None:
        """Return a number for a new order that the account has not used, and this floor has not given to another.

        None: it has used the highest, and with it all that are below.
        """
        if len(self._numbers) >= _GIVEN:
            self._numbers = {each: number for each, number in self._numbers.items() if number > self._used(each)}
        used = max(self._used(account), self._numbers.get(account, 0))
        if used >= MAX_NUMBER:
            return None
        self._numbers[account] = used + 1
        return used + 1

    def _used(self, account: int) -> int:
        return self.reports.highest(account)

    async def open_account(self, account: int, cents: int = OPENING_CENTS) -> None:
        """Have the venue know an account, with limits and money, if it does not yet; once, however many ask."""
        known = self.board.accounts.get(account)
        if known is not None and known.limits:
            return
        opening = self._opening.get(account)
        if opening is None:
            opening = self._opening[account] = asyncio.create_task(self._open_account(account, cents))
            opening.add_done_callback(lambda _: self._opening.pop(account, None))
        await asyncio.shield(opening)

    async def _open_account(self, account: int, cents: int) -> None:
        limits = [Command(Kind.LIMIT, account=account, type=which, quantity=at) for which, at in HOUSE_LIMITS.items()]
        await self.submit(rows([*limits, Command(Kind.DEPOSIT, 1, account, quantity=cents)]))

    async def _keep_time(self) -> None:
        """Let time pass: what is due in books that do not trade, such as the end of a halt, happens, and days end."""
        while True:
            await asyncio.sleep(TICK_S)
            for number in [*self.board.books]:
                with suppress(RejectedError, BackendError):  # it is tried again in a second
                    if due := self._due(number):
                        await self.submit(rows(due, book=number))

    def _due(self, number: int) -> list[Command]:
        if not self.reads:
            return []  # what is shown is old, and so would be what is due
        phase = self.feed.depth(number, levels=0).phase
        if phase in {Phase.HALTED, Phase.AUCTION}:
            return [Command(Kind.TICK)]
        if phase == Phase.CONTINUOUS and self.board.books[number].day < day_of(world.now_us() * 1_000):
            return [Command(Kind.PHASE, type=each) for each in _NEXT_DAY]
        return []

    def watched_by(self, alerts: Alerts) -> None:
        """Have `alerts` tell when it reads no more."""
        alerts.watch(
            "floor of the exchange",
            lambda: None if self.reads else f"nothing is read after command {self.board.sequence}: no order is taken",
            todo="Find the cause in the log, mend it, and start the exchange again: it reads on from there.",
            unready=True,
        )


def rows(commands: Iterable[Command], *, book: int = 0) -> Commands:
    """Return commands as an array, for one book; 0: for none."""
    made = rows_of(commands)
    made["book"] = book
    return made
