"""Where orders are handed in and everything is seen: the sequencer, the board that reads its stream, and who listens.

    async with Floor(sequencer, INSTRUMENTS) as floor:
        batch = await floor.submit(rows)         # and the board shows what came of it

Promise: when `submit` returns, the board has read what was submitted. Listeners are told of each batch once, in order,
without waiting: one that fails is logged, and the others are told. When the stream cannot be read any more, no order is
taken, an alert says so, and what was half read is not kept: the next start reads it again.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from archstone import context, world
from archstone.context import Call
from archstone.errors import BackendError, RejectedError
from archstone.observability import Alerts, get_logger
from archstone.systems.exchange.desk.beginning import board_of
from archstone.systems.exchange.desk.board import Board, Book, News, day_of
from archstone.systems.exchange.desk.checkpoint import load, save
from archstone.systems.exchange.desk.latency import Clocks
from archstone.systems.exchange.instruments import Instruments
from archstone.systems.exchange.matching import Command, Commands, Kind, Limit, Phase, rows_of
from archstone.systems.exchange.sequencer import Batch, Sequencer, keeps
from archstone.systems.exchange.venue.port import MAX_NUMBER

__all__ = ["HOUSE_LIMITS", "OPENING_CENTS", "Floor", "FloorClosedError", "Listener", "rows"]

Listener = Callable[[News], None]
"""Is told what a batch has changed. Quick, does not wait."""

HOUSE_LIMITS: Final[dict[Limit, int]] = {
    Limit.CREDIT: 0,
    Limit.QUANTITY: 5_000,
    Limit.VALUE: 50_000_000,
    Limit.POSITION: 20_000,
    Limit.RATE: 100,
    Limit.ORDERS: 1_000,
}
"""What a new account is bound to; money in cents."""
CHECKPOINT_S: Final = 60.0
"""Seconds between two checkpoints."""
_TAKES_AWAY: Final = (Kind.CANCEL, Kind.MASS_CANCEL, Kind.KILL, Kind.PHASE)
"""What takes risk away: it goes on to the venue even if nobody can show what came of it."""
TICK_S: Final = 1.0
"""Seconds between two looks at what is due."""
_NEXT_DAY: Final = (Phase.CLOSED, Phase.AUCTION, Phase.CONTINUOUS)
"""By which a day ends and the next begins, in one step: day orders end, and nobody has to wait."""
OPENING_CENTS: Final = 100_000_000
"""Play money of a new account."""
_log = get_logger("archstone.exchange")


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
    ) -> None:
        """Take the sequencer.

        Args:
            sequencer: Takes commands, and tells all.
            instruments: What is traded.
            checkpoint: Where what was read is kept, for the next start. None: nowhere, and it reads from the first
                command on.
            clocks: What is measured of the engine. None: nothing.
        """
        self.sequencer = sequencer
        self.instruments = instruments
        self.board = Board()
        self._checkpoint = checkpoint
        self.clocks = clocks or Clocks()
        self.reads = True
        """Whether it goes on reading: no more when it is closed, or what comes next is not kept any more."""
        self._listeners: list[Listener] = []
        self._moved = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._opened: set[int] = set()
        self._numbers: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        self.board = await self._beginning()
        with context.enter(Call()):
            self._work = [
                asyncio.create_task(self._read(), name="exchange floor"),
                asyncio.create_task(self._keep_time(), name="exchange time"),
            ]
            if self._checkpoint is not None:
                self._work.append(asyncio.create_task(self._keep(self._checkpoint), name="exchange checkpoints"))
        try:
            await self.reached(self.sequencer.last)
            for each in self.instruments.all:
                if each.book not in self.board.books:
                    await self.submit(rows(each.openings(), book=each.book))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        is_whole = self.reads
        await self._stop()
        if self._checkpoint is not None and is_whole:
            self._save(self._checkpoint)

    async def _stop(self) -> None:
        for task in self._work:
            task.cancel()
        if self._work:
            await asyncio.wait(self._work)

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done; see `Sequencer.submit`. What came of them is on the board when this returns.

        Raises:
            FloorClosedError: The board will not read what came of them. They were kept only if they take risk away.
        """
        if not self.reads and not np.isin(commands["kind"], _TAKES_AWAY).all():
            raise FloorClosedError(kept=False)
        batch = await self.sequencer.submit(commands)
        await self.reached(batch.last)
        return batch

    async def reached(self, sequence: int) -> None:
        """Return when the board has read command number `sequence`. FloorClosedError: it will not."""
        while self.board.sequence < sequence:
            if not self.reads:
                raise FloorClosedError(kept=True)
            await self._moved.wait()

    def next_number(self, account: int) -> int | None:
        """Return a number for a new order that the account has not used, and this floor has not given to another.

        None: it has used the highest, and with it all that are below.
        """
        owner = self.board.accounts.get(account)
        used = max(0 if owner is None else owner.last_number, self._numbers.get(account, 0))
        if used >= MAX_NUMBER:
            return None
        self._numbers[account] = used + 1
        return used + 1

    async def open_account(self, account: int, cents: int = OPENING_CENTS) -> None:
        """Have the venue know an account, with limits and money, if it does not yet; once, however many ask."""
        known = self.board.accounts.get(account)
        if account in self._opened or (known is not None and known.limits):
            return
        opening = self._opening.get(account)
        if opening is None:
            opening = self._opening[account] = asyncio.create_task(self._open_account(account, cents))
            opening.add_done_callback(lambda _: self._opening.pop(account, None))
        await asyncio.shield(opening)

    async def _open_account(self, account: int, cents: int) -> None:
        limits = [Command(Kind.LIMIT, account=account, type=which, quantity=at) for which, at in HOUSE_LIMITS.items()]
        await self.submit(rows([*limits, Command(Kind.DEPOSIT, 1, account, quantity=cents)]))
        self._opened.add(account)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of each batch from now on; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _read(self) -> None:
        try:
            async for batch in self.sequencer.follow(self.board.sequence):
                self._tell(self.board.read(batch))
                self._moved.set()
                self._moved = asyncio.Event()
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and so is who looks after the exchange
            _log.error("the floor reads no more", sequence=self.board.sequence, exc_info=error)
        finally:
            self.reads = False
            self._moved.set()

    async def _keep_time(self) -> None:
        """Let time pass: what is due in books that do not trade, such as the end of a halt, happens, and days end."""
        while True:
            await asyncio.sleep(TICK_S)
            for number, book in [*self.board.books.items()]:
                with suppress(RejectedError, BackendError):  # it is tried again in a second
                    if due := self._due(book):
                        await self.submit(rows(due, book=number))

    def _due(self, book: Book) -> list[Command]:
        if not self.reads:
            return []  # what the board shows is old, and so would be what is due
        if book.phase in {Phase.HALTED, Phase.AUCTION}:
            return [Command(Kind.TICK)]
        if book.phase == Phase.CONTINUOUS and book.day < day_of(world.now_us() * 1_000):
            return [Command(Kind.PHASE, type=phase) for phase in _NEXT_DAY]
        return []

    async def _beginning(self) -> Board:
        board = self._kept() or Board()
        if await keeps(self.sequencer, board.sequence):
            return board
        _log.warning("the stream no longer has what comes next: the board begins with the venue", after=board.sequence)
        dump = await self.sequencer.dump()
        return board_of(dump.venue, sequence=dump.sequence)

    def _kept(self) -> Board | None:
        """Return the checkpoint, if the stream goes on from it: one of another stream is ahead of it."""
        kept = None if self._checkpoint is None else load(self._checkpoint)
        if kept is None or kept.sequence <= self.sequencer.last:
            return kept
        _log.warning("a checkpoint is passed over: it is ahead of the stream", sequence=kept.sequence)
        return None

    async def _keep(self, path: Path) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            if not self.reads:
                return  # the board may have been left halfway through a batch
            self._save(path)

    def _save(self, path: Path) -> None:
        try:
            save(path, self.board)
        except OSError as error:
            _log.error("no checkpoint was kept, the one before stays", file=path.name, exc_info=error)

    def watched_by(self, alerts: Alerts) -> None:
        """Have `alerts` tell when it reads no more."""
        alerts.watch(
            "floor of the exchange",
            lambda: None if self.reads else f"nothing is read after command {self.board.sequence}: no order is taken",
            todo="Find the cause in the log, mend it, and start the exchange again: it reads on from there.",
            unready=True,
        )

    def _tell(self, news: News) -> None:
        for listener in [*self._listeners]:
            try:
                listener(news)
            except Exception as error:  # noqa: BLE001 - one that fails is no reason to tell nobody
                _log.error("a listener of the floor failed", exc_info=error)


def rows(commands: Iterable[Command], *, book: int = 0) -> Commands:
    """Return commands as an array, for one book; 0: for none."""
    made = rows_of(commands)
    made["book"] = book
    return made
