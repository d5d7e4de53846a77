"""Streams for readers: batches made by hand, and services that read them, wired on any database."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from archstone.context import Principal
from archstone.data import Database, Envelope
from archstone.messaging import Bus, Relay
from archstone.services import Dispatcher, Service, event_routes, periodic
from archstone.systems.exchange.matching import EVENT, Command, Event, Kind, Side, Told, rows_of
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.tape import Following
from archstone.systems.exchange.venue import order_id

__all__ = ["NOON_NS", "SECOND_NS", "STAFF", "Kept", "canceled", "deposited", "eventually", "made", "opened", "opening",
           "placed", "serving", "traded"]  # fmt: skip

SECOND_NS = 1_000_000_000
NOON_NS = 1_772_366_400 * SECOND_NS
"""Sunday, 1 March 2026, 12:00 UTC."""
STAFF = Principal(
    "a" * 32,
    frozenset(
        {
            *("clearing:read", "clearing:read-any", "clearing:correct"),
            *("surveillance:read", "surveillance:judge", "history:read"),
        }
    ),
)
Done = tuple[int, Command, list[Event]]
"""A book, a command for it, and what came of that."""


def made(first: int, *done: Done, at_ns: int = NOON_NS) -> Batch:
    """Return a batch in which these were done."""
    commands = rows_of(command for _, command, _ in done)
    commands["book"] = [book for book, _, _ in done]
    commands["sequence"] = range(first, first + len(done))
    told = [(index, event) for index, (_, _, events) in enumerate(done) for event in events]
    events = np.zeros(len(told), EVENT)
    events["command"] = [index for index, _ in told]
    for name in Event._fields:
        events[name] = [getattr(event, name) for _, event in told]
    return Batch(first, at_ns, commands, events)


def opened(book: int, value: int = 1) -> Done:
    return book, Command(Kind.OPEN, price=value), [Event(Told.OPENED, price=value)]


def deposited(account: int, amount: int) -> Done:
    told = Event(Told.DEPOSITED, account=account, quantity=amount)
    return 0, Command(Kind.DEPOSIT, account=account, quantity=amount), [told]


def placed(account: int, number: int, side: Side, lots: int, price: int, *, book: int = 1) -> Done:
    """An order that rests."""
    name = order_id(account, number)
    command = Command(Kind.NEW, name, account, side, price=price, quantity=lots)
    accepted = Event(Told.ACCEPTED, name, account=account, side=side, price=price, quantity=lots)
    return book, command, [accepted, accepted._replace(kind=Told.RESTED, left=lots)]


def canceled(account: int, number: int, lots: int, *, reason: int = 7, book: int = 1) -> Done:
    name = order_id(account, number)
    told = Event(Told.CANCELED, name, account=account, reason=reason, left=lots)
    return book, Command(Kind.CANCEL, name, account), [told]


def traded(
    taker: int,
    number: int,
    side: Side,
    *fills: tuple[int, int, int, int],
    book: int = 1,
    auction: bool = False,
    maker_left: int = 0,
) -> Done:
    """An order that takes: each fill is a maker, the maker's number, lots and price."""
    name, lots = order_id(taker, number), sum(fill[2] for fill in fills)
    price = fills[-1][3]
    events = [Event(Told.ACCEPTED, name, account=taker, side=side, price=price, quantity=lots)]
    left = lots
    for maker, maker_number, quantity, at in fills:
        left -= quantity
        events.append(
            Event(
                Told.TRADED, name, order_id(maker, maker_number), taker, maker, 0 if auction else side,
                price=at, quantity=quantity, left=left, other_left=maker_left,
            )
        )  # fmt: skip
    return book, Command(Kind.NEW, name, taker, side, price=price, quantity=lots), events


def opening(*books: tuple[int, int]) -> Batch:
    """The first batch: books, each with what a lot is worth."""
    return made(1, *(opened(*each) for each in books))


class Kept:
    """A sequencer that gives what it was given, and can forget."""

    def __init__(self, batches: Sequence[Batch] = ()) -> None:
        self.batches = [*batches]
        self.gone = 0
        """Commands up to this one are kept no more."""
        self.followed: list[int] = []
        self._more = asyncio.Event()

    def add(self, *batches: Batch) -> None:
        self.batches += batches
        self._more.set()
        self._more = asyncio.Event()

    @property
    def last(self) -> int:
        return self.batches[-1].last if self.batches else 0

    async def submit(self, commands: Any) -> Batch:
        raise NotImplementedError

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        self.followed.append(after)
        if after < self.gone:
            raise LookupError(f"commands after {after}: gone up to {self.gone}")
        while True:
            for batch in [each for each in self.batches if each.last > after]:
                yield batch
                after = batch.last
            if not self.batches or self.batches[-1].last <= after:
                await self._more.wait()


@asynccontextmanager
async def serving(
    *services: tuple[type[Service], dict[str, Any]],
    url: Callable[[str], str],
    bus: Path | None = None,
    told: Callable[[Callable[[Envelope], Any], Envelope], Any] | None = None,
) -> AsyncIterator[dict[str, Dispatcher]]:
    """Run services, their relays and a bus between them; give their dispatchers by name.

    Args:
        services: Classes, and fields besides the database.
        url: Where the database of a name is.
        bus: File of the bus. None: in memory.
        told: Stands between the bus and each handler.
    """
    found: dict[str, Dispatcher] = {}
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(Bus(f"sqlite:///{bus}" if bus else "memory:"))
        for service, fields in services:
            info = service.service_info
            db = Database(url(info.name), migrations=info.migrations, schemas=service.schemas, name=info.name)
            found[info.name] = Dispatcher(service(db=await stack.enter_async_context(db), **fields))
        for dispatcher in found.values():
            await dispatcher.open()
            for route in event_routes(dispatcher):
                handle = route.handle if told is None else _between(told, route.handle)
                line.subscribe(route.topic, route.group, handle, names=route.names)
        await line.start()
        stack.push_async_callback(line.drain)
        for dispatcher in found.values():
            await dispatcher.start()
            stack.push_async_callback(dispatcher.close)
            await stack.enter_async_context(Relay(dispatcher.service.db, line))
            for work in periodic(dispatcher):
                task = asyncio.create_task(work.run())
                stack.push_async_callback(_cancelled, task)
        yield found


def following(dispatcher: Dispatcher) -> Following:
    """Return what reads the stream for a service."""
    (found,) = [each for each in dispatcher.companions if isinstance(each, Following)]
    return found


async def eventually(true: Callable[[], Any]) -> None:
    """Return once `true` is."""
    for _ in range(4_000):
        if await true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


def _between(told: Callable[..., Any], handle: Callable[[Envelope], Any]) -> Callable[[Envelope], Any]:
    async def handled(envelope: Envelope) -> None:
        await told(handle, envelope)

    return handled


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
