"""Where orders are handed in and everything is seen: the sequencer, the board that reads its stream, and who listens.

    async with Floor(sequencer, INSTRUMENTS) as floor:
        batch = await floor.submit(rows)         # and the board shows what came of it

Promise: when `submit` returns, the board has read what was submitted. Listeners are told of each batch once, in order,
without waiting: one that fails is logged, and the others are told.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from archstone import context
from archstone.context import Call
from archstone.errors import BackendError, RejectedError
from archstone.observability import get_logger
from archstone.systems.exchange.desk.board import Board, News
from archstone.systems.exchange.desk.checkpoint import load, save
from archstone.systems.exchange.desk.latency import Clocks
from archstone.systems.exchange.instruments import Instruments
from archstone.systems.exchange.matching import Command, Commands, Kind, Limit, Phase, rows_of
from archstone.systems.exchange.sequencer import Batch, Sequencer

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
TICK_S: Final = 1.0
"""Seconds between two looks at what is due in a book that does not trade."""
OPENING_CENTS: Final = 100_000_000
"""Play money of a new account."""
_log = get_logger("archstone.exchange")


class FloorClosedError(BackendError, code="exchange.floor-closed"):
    """What was submitted is kept, and what came of it cannot be shown: nobody reads the stream any more."""

    def __str__(self) -> str:
        return "the exchange's floor reads no more: the command was kept, start the system again to see what came of it"


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
        self.board = self._kept() or self.board
        with context.enter(Call()):
            self._work = [
                asyncio.create_task(self._read(), name="exchange floor"),
                asyncio.create_task(self._keep_time(), name="exchange time"),
            ]
            if self._checkpoint is not None:
                self._work.append(asyncio.create_task(self._keep(self._checkpoint), name="exchange checkpoints"))
        await self.reached(self.sequencer.last)
        for each in self.instruments.all:
            if each.book not in self.board.books:
                await self.submit(rows(each.openings(), book=each.book))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for task in self._work:
            task.cancel()
        if self._work:
            await asyncio.wait(self._work)
        if self._checkpoint is not None:
            save(self._checkpoint, self.board)

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done; see `Sequencer.submit`. What came of them is on the board when this returns."""
        batch = await self.sequencer.submit(commands)
        await self.reached(batch.last)
        return batch

    async def reached(self, sequence: int) -> None:
        """Return when the board has read command number `sequence`. FloorClosedError: it will not."""
        while self.board.sequence < sequence:
            if not self.reads:
                raise FloorClosedError
            await self._moved.wait()

    def next_number(self, account: int) -> int:
        """Return a number for a new order that the account has not used, and this floor has not given to another."""
        owner = self.board.accounts.get(account)
        used = max(0 if owner is None else owner.last_number, self._numbers.get(account, 0))
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
        """Let time pass in books that do not trade: what is due there, such as the end of a halt, then happens."""
        while True:
            await asyncio.sleep(TICK_S)
            for number, book in [*self.board.books.items()]:
                if book.phase in {Phase.HALTED, Phase.AUCTION}:
                    with suppress(RejectedError, BackendError):  # it is tried again in a second
                        await self.sequencer.submit(rows([Command(Kind.TICK)], book=number))

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
            save(path, self.board)

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
