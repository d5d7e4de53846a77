"""Bots as a background task: one loop that lets each decide in its time, and a listener that tells what happened."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from archstone import world
from archstone.errors import ArchstoneError, RejectedError
from archstone.observability import get_logger
from archstone.systems.exchange.bots.maker import Maker
from archstone.systems.exchange.bots.seat import Seat
from archstone.systems.exchange.bots.takers import Momentum, Noise, Slow
from archstone.systems.exchange.bots.view import Bot, Level, Market, View
from archstone.systems.exchange.bots.walk import Walk
from archstone.systems.exchange.matching import Command, Commands, Kind, Limit, Side, rows_of
from archstone.systems.exchange.sequencer import Batch, Sequencer
from archstone.systems.exchange.venue import Standing

__all__ = ["BotStatistics", "Bots", "Crew", "Exchange", "Looks", "default_crew", "run_bots"]

Crew = Callable[[Market, str], Sequence[Bot]]
"""Makes the bots of a market from a seed; always the same ones in the same order, since each has an account."""

FIRST_ACCOUNT: Final = 1_000_000
"""Ids of its orders are below 2**53, which browsers count exactly."""
_LEVELS: Final = 5
_AGAIN_S: Final = 1.0
_NUMBERS_PER_S: Final = 8
_NUMBERS_BEGIN_S: Final = 1_767_225_600
"""2026 in seconds since 1970. Numbers of orders go on from the time: 8 a second last for 17 years."""
_log = get_logger(__name__)


class Looks(Protocol):
    """What a participant may ask an exchange. A `Venue` answers it."""

    def depth(self, book: int, side: Side, levels: int) -> list[Level]:
        """Return the best `levels` prices of a side: price, lots shown, orders. KeyError: no such book."""
        ...

    def standing(self, account: int) -> Standing:
        """Return an account. KeyError: there is none."""
        ...


class Exchange(Sequencer, Protocol):
    """Where bots trade: a sequencer with the venue that acts for it, such as `MemorySequencer`."""

    @property
    def venue(self) -> Looks:
        """What acts; to look at."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BotStatistics:
    """What bots have done since they were made."""

    accounts: int
    commands: int
    refused: int
    traded: int
    """Lots, bought and sold."""
    open_orders: int
    positions: dict[int, int]
    """By account, in lots; below 0: owed."""
    begun: int
    """How often they have begun: once, and again after whatever went wrong."""


def default_crew(market: Market, seed: str) -> Sequence[Bot]:
    """Return who makes a market look alive: a maker, one with the trend, two without a reason, a slow large one."""
    return (
        Maker(walk=Walk(market, seed=seed)),
        Momentum(),
        Noise(random=Random(f"{seed}/noise/1")),
        Noise(random=Random(f"{seed}/noise/2"), every_s=3.0, most_held=60),
        Slow(random=Random(f"{seed}/slow")),
    )


class Bots:
    """Bots in some markets.

        bots = Bots([Market(book=1, price=10_000)], seed=7)
        async with bots.running(sequencer):
            ...

    The same seed makes the same flow, as long as nobody else trades and time goes the same way. Each has an account of
    its own, which is made and funded when there is none. Orders of an earlier run are cancelled first, and what is held
    is taken from the standing, so that bots go on after any end of their process. They end on leaving the block: what
    they have open is cancelled.
    """

    def __init__(
        self,
        markets: Iterable[Market],
        *,
        seed: int | str = 1,
        crew: Crew = default_crew,
        first_account: int = FIRST_ACCOUNT,
        most_per_s: float = 20.0,
    ) -> None:
        """Seat the bots.

        Args:
            markets: Books that are open, each once.
            seed: Decides all that the bots decide.
            crew: Who trades in a market.
            first_account: Their accounts are this one and those that follow, in the order of markets and crews.
            most_per_s: Commands of one bot, on average. Above 0.
        """
        seats = [(market, bot) for market in markets for bot in crew(market, str(seed))]
        self._seats = {
            account: Seat(bot=bot, market=market, account=account, random=Random(f"{seed}/{account}"),
                          most_per_s=most_per_s)
            for account, (market, bot) in enumerate(seats, first_account)
        }  # fmt: skip
        self._accounts = range(first_account, first_account + len(seats))
        self._after = 0
        self._more = asyncio.Event()
        self._begun = 0

    @asynccontextmanager
    async def running(self, exchange: Exchange) -> AsyncGenerator["Bots"]:
        """Trade within the block. What is unforeseen ends them, is logged, and raised on leaving the block."""
        task = asyncio.create_task(self.run(exchange), name="exchange bots")
        task.add_done_callback(_tell)
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def run(self, exchange: Exchange) -> None:
        """Trade until cancelled, then cancel what is open. What is unforeseen is raised."""
        try:
            await self._run(exchange)
        finally:
            await self._leave(exchange)

    def statistics(self) -> BotStatistics:
        """Return what they have done."""
        seats = self._seats.values()
        return BotStatistics(
            accounts=len(seats),
            commands=sum(each.sent for each in seats),
            refused=sum(each.refused for each in seats),
            traded=sum(each.traded for each in seats),
            open_orders=sum(len(each.open) for each in seats),
            positions={each.account: each.position for each in seats},
            begun=self._begun,
        )

    async def _run(self, exchange: Exchange) -> None:
        while True:
            try:
                await self._begin(exchange)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(exchange))
                    group.create_task(self._trade(exchange))
            except* (ArchstoneError, LookupError) as errors:
                # Another node leads, or what happened meanwhile is no longer kept.
                _log.warning("bots begin again", errors=[str(each) for each in errors.exceptions])
            await asyncio.sleep(_AGAIN_S)

    async def _begin(self, exchange: Exchange) -> None:
        """Make accounts that are not there, cancel what an earlier run has left open, and see what is held."""
        self._begun += 1
        founded = [each for each in self._seats.values() if _standing(exchange, each) is None]
        cancels = [(each, Command(Kind.MASS_CANCEL, account=each.account)) for each in self._seats.values()]
        batch = await exchange.submit(_rows([(each, cmd) for each in founded for cmd in _founding(each)] + cancels))
        first = (world.now_us() // 1_000_000 - _NUMBERS_BEGIN_S) * _NUMBERS_PER_S
        for seat in self._seats.values():
            found = _standing(exchange, seat)
            seat.open.clear()
            seat.position = found.positions.get(seat.market.book, 0) if found else 0
            seat.number = max(seat.number, first)
            seat.due_s = world.monotonic() + seat.random.uniform(0, seat.bot.every_s)
        self._after = batch.last

    async def _listen(self, exchange: Exchange) -> None:
        async for batch in exchange.follow(self._after):
            self._note(batch)
            self._after = batch.last
            self._more.set()

    def _note(self, batch: Batch) -> None:
        events = batch.events
        owners = (events["id"] >> 32, events["other"] >> 32)
        for row in events[_within(owners[0], self._accounts) | _within(owners[1], self._accounts)]:
            event = dict(zip(events.dtype.names or (), row.item(), strict=True))
            for account in {event["id"] >> 32, event["other"] >> 32}:
                if account in self._seats:
                    self._seats[account].note(event)

    async def _trade(self, exchange: Exchange) -> None:
        while True:
            now_s = world.monotonic()
            wanted = [
                (seat, command)
                for seat in self._seats.values()
                if seat.due_s <= now_s
                for command in seat.decided(_view(seat, exchange), now_s)
            ]
            if wanted:
                await self._submit(exchange, _rows(wanted))
            pause_s = min(each.due_s for each in self._seats.values()) - world.monotonic()
            await asyncio.sleep(max(0.0, pause_s))

    async def _submit(self, exchange: Exchange, commands: Commands) -> None:
        """Have commands done, and return when what came of them is noted, so that nothing is ordered twice."""
        try:
            batch = await exchange.submit(commands)
        except RejectedError as error:
            await asyncio.sleep(error.retry_after_s)
            return
        while self._after < batch.last:
            self._more.clear()
            await self._more.wait()

    async def _leave(self, exchange: Exchange) -> None:
        cancels = [(each, Command(Kind.MASS_CANCEL, account=each.account)) for each in self._seats.values()]
        try:
            batch = await exchange.submit(_rows(cancels))
        except ArchstoneError as error:
            _log.warning("bots leave their orders open", error=str(error))
        else:
            self._note(batch)


class Traded(Protocol):
    """What is known of a book: its number, the price in ticks where it began, and the value of a lot per tick."""

    @property
    def book(self) -> int: ...
    @property
    def opening(self) -> int: ...
    @property
    def value(self) -> int: ...


async def run_bots(exchange: Exchange, instruments: Iterable[Traded], seed: int | str) -> None:
    """Have the usual bots trade in all books until cancelled; see `Bots`."""
    markets = [Market(book=each.book, price=each.opening, value=each.value) for each in instruments]
    await Bots(markets, seed=seed).run(exchange)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("bots have ended", exc_info=error)


def _standing(exchange: Exchange, seat: Seat) -> Standing | None:
    try:
        return exchange.venue.standing(seat.account)
    except KeyError:
        return None


def _founding(seat: Seat) -> list[Command]:
    """Return what makes an account: money for twice what the bot may hold, and limits that it should not meet."""
    lots = 2 * seat.bot.most_held
    money = 4 * lots * seat.market.price * seat.market.value
    limits = {
        Limit.CREDIT: money,
        Limit.QUANTITY: lots,
        Limit.VALUE: money,
        Limit.POSITION: lots,
        Limit.RATE: max(100, round(4 * seat.most_per_s)),
    }
    given = [Command(Kind.LIMIT, account=seat.account, type=kind, quantity=most) for kind, most in limits.items()]
    return [*given, Command(Kind.DEPOSIT, 1, seat.account, quantity=money)]


def _view(seat: Seat, exchange: Exchange) -> View:
    book = seat.market.book
    return View(
        at_s=world.now_us() / 1_000_000,
        bids=exchange.venue.depth(book, Side.BUY, _LEVELS),
        asks=exchange.venue.depth(book, Side.SELL, _LEVELS),
        position=seat.position,
        open=tuple(seat.open.values()),
    )


def _within(numbers: npt.NDArray[np.integer[Any]], accounts: range) -> npt.NDArray[np.bool_]:
    return (numbers >= accounts.start) & (numbers < accounts.stop)


def _rows(wanted: Sequence[tuple[Seat, Command]]) -> Commands:
    rows = rows_of([command for _, command in wanted])
    books = {Kind.LIMIT: 0, Kind.DEPOSIT: 0}
    rows["book"] = [books.get(Kind(command.kind), seat.market.book) for seat, command in wanted]
    return rows
