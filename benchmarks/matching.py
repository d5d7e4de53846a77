"""What an order costs: risk, matching and a journal in memory, beside order books from PyPI that only match."""

import gc
import json
import random
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import ROOT, Bench, Measured, Row, room

bench = Bench(
    "matching",
    shows="limit orders and cancels in one book of about a thousand orders, called from Python and from C",
    hides="the way in: sockets, sequencing, a disk; and books of tens of thousands of orders, but in the last row. "
    "No contender's orders are made while it is timed. Contracts: ours does all checks of the exchange before each "
    "order, knows every order by its id, tells every fill, and keeps a journal of the batch with its checksum in "
    "memory. limit-order-book tells no fills; lightmatchingengine and pyorderbook know no accounts; order-matching "
    "wants a time with each order and names trades. No peer checks risk or keeps a journal, and none is asked to. "
    "Of a batch, p50 and the others are of its time over its orders. "
    "By the C API, and one by one from Python: a book alone without risk, and beside it a venue with all of it",
)

ACCOUNTS, BATCH, RESTING = 50, 1_000, 1_000


class Step(NamedTuple):
    """An order, or the cancelling of one that is live."""

    cancel: bool
    id: int
    account: int
    buys: bool
    price: int
    lots: int


def steps() -> Iterator[Step]:
    """Give what all contenders do, without end: six of ten are orders, a third of which trades; cancels hit live ones.

    A plain book keeps track of what is live, so that no contender is asked to cancel what is done.
    """
    chance, live, number, middle = random.Random(11), _Live(), 0, 10_000.0
    while True:
        middle += chance.gauss(0, 0.2)
        if len(live.steps) > RESTING or (live.steps and chance.random() < 0.4):
            step = live.steps[chance.randrange(len(live.steps))]
            live.drop(step)
            yield step._replace(cancel=True)
            continue
        number += 1
        buys = chance.random() < 0.5
        away = round(abs(chance.gauss(0, 12))) - (4 if chance.random() < 0.3 else 0)
        price = round(middle) - away if buys else round(middle) + away
        step = Step(False, number, number % ACCOUNTS + 1, buys, price, chance.randint(1, 100))
        live.add(step)
        yield step


class _Live:
    """Who is live: price, then time."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.places: dict[int, int] = {}
        self.left: dict[int, int] = {}
        self.levels: tuple[dict[int, list[Step]], dict[int, list[Step]]] = ({}, {})

    def add(self, step: Step) -> None:
        left, other = step.lots, self.levels[not step.buys]
        while left and other:
            best = (min if step.buys else max)(other)
            if (best > step.price) if step.buys else (best < step.price):
                break
            maker = other[best][0]
            lots = min(left, self.left[maker.id])
            left -= lots
            self.left[maker.id] -= lots
            if not self.left[maker.id]:
                self.drop(maker)
        if left:
            self.places[step.id] = len(self.steps)
            self.steps.append(step)
            self.left[step.id] = left
            self.levels[step.buys].setdefault(step.price, []).append(step)

    def drop(self, step: Step) -> None:
        place, last = self.places.pop(step.id), self.steps.pop()
        if last.id != step.id:
            self.steps[place] = last
            self.places[last.id] = place
        level = self.levels[step.buys][step.price]
        level.remove(step)
        if not level:
            del self.levels[step.buys][step.price]


@cache
def first_steps(count: int) -> list[Step]:
    source = steps()
    return [next(source) for _ in range(count)]


Call = tuple[Callable[..., object], tuple[Any, ...]]
"""A function and what it is called with."""


def one_at_a_time(calls_of: Callable[[list[Step]], Iterator[Call]], count: int, quick: bool) -> Measured:
    """Do `count` steps, a tenth of that if it is quick, each timed, and return how many come to a second."""
    calls, took, now = [*calls_of(first_steps(count // 10 if quick else count))], list[int](), time.perf_counter_ns
    gc.collect()
    gc.freeze()  # what was made before is not what an engine has to walk
    begun = time.process_time_ns()
    for call, given in calls:
        from_ns = now()
        call(*given)
        took.append(now() - from_ns)
    return Measured(per_second(len(calls), begun), percentiles(took))


def per_second(count: int, begun_ns: int) -> float:
    """Return a rate by the time of the processor: nothing here waits, and what else the machine does must not count."""
    return count / (time.process_time_ns() - begun_ns) * 1e9


def percentiles(took_ns: list[int], each: int = 1) -> dict[str, object]:
    took_ns.sort()
    places = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}
    return {name: round(took_ns[int((len(took_ns) - 1) * part)] / each) for name, part in places.items()}


# Ours


def command_of(step: Step) -> Any:
    from archstone.systems.exchange.matching import Command, Kind, Side
    from archstone.systems.exchange.venue import order_id

    name = order_id(step.account, step.id)
    if step.cancel:
        return Command(Kind.CANCEL, name, step.account)
    side = Side.BUY if step.buys else Side.SELL
    return Command(Kind.NEW, name, step.account, side, price=step.price, quantity=step.lots)


def rows_of_steps(all_steps: list[Step]) -> Any:
    """Return steps as commands for book 1."""
    from archstone.systems.exchange.matching import rows_of

    rows = rows_of(map(command_of, all_steps))
    rows["book"] = 1
    return rows


def opening() -> Any:
    """Return what makes the book and the accounts, every limit set and none of them met."""
    from archstone.systems.exchange.venue.flows import VenueFlow
    from archstone.systems.exchange.venue.flows import opening as made

    much = 10**9
    return made(
        VenueFlow(
            books=1, accounts=ACCOUNTS, money=10**12, position=much, rate=much, orders=much, collar=2_000, halt=9_000
        )
    )


def opened() -> Any:
    from archstone.systems.exchange.venue import NativeVenue

    venue = NativeVenue()
    venue.apply(opening(), 0)
    return venue


class Journal:
    """Frames in memory: sequence, checksum, commands. Bounded, as a log is by its segments."""

    def __init__(self) -> None:
        import numpy as np

        self.arange = np.arange
        self.frames: list[tuple[int, bytes]] = []
        self.next = 1

    def keep(self, commands: Any) -> None:
        commands["sequence"] = self.arange(self.next, self.next + len(commands))
        self.next += len(commands)
        frame = commands.tobytes()
        self.frames.append((zlib.crc32(frame), frame))
        del self.frames[:-100]


@bench.contender("archstone-matching")
def archstone_batches(quick: bool) -> Measured:
    rows = rows_of_steps(first_steps(100_000 if quick else 400_000))
    venue, journal, took = opened(), Journal(), list[int]()
    begun = time.process_time_ns()
    for at in range(0, len(rows), BATCH):
        from_ns = time.perf_counter_ns()
        commands = rows[at : at + BATCH]
        journal.keep(commands)
        venue.apply(commands, from_ns)
        took.append(time.perf_counter_ns() - from_ns)
    per_s = per_second(len(rows), begun)
    refused(venue, rows)
    return Measured(per_s, percentiles(took, BATCH))


def refused(venue: Any, rows: Any) -> None:
    """Make sure that no order was refused: a venue that says no is fast."""
    other = opened()
    events = other.apply(rows, 1)
    if (events["kind"] == 2).any():
        raise RuntimeError(f"{(events['kind'] == 2).sum()} of {len(rows)} commands were refused")
    if len(other) != len(venue):
        raise RuntimeError(f"{len(venue)} orders are live, and {len(other)} if all is done at once")


@bench.contender("archstone-matching")
def archstone_one_at_a_time(quick: bool) -> Measured:
    rows = rows_of_steps(first_steps(20_000 if quick else 200_000))
    venue, journal, took = opened(), Journal(), list[int]()
    begun = time.process_time_ns()
    for at in range(len(rows)):
        from_ns = time.perf_counter_ns()
        command = rows[at : at + 1]
        journal.keep(command)
        venue.apply(command, from_ns)
        took.append(time.perf_counter_ns() - from_ns)
    return Measured(per_second(len(rows), begun), percentiles(took))


@bench.contender("archstone-matching")
def archstone_book(quick: bool) -> Measured:
    """A book alone, by a call with numbers: no risk and no journal, as the peers have none; ids and fills told."""
    from archstone_matching import Book

    def calls(all_steps: list[Step]) -> Iterator[Call]:
        book = Book()
        for step in all_steps:
            yield book.apply, tuple(map(int, command_of(step)))

    return one_at_a_time(calls, 200_000, quick)


@bench.contender("archstone")
def archstone_in_python(quick: bool) -> Measured:
    from archstone.systems.exchange.venue import ReferenceVenue

    rows = rows_of_steps(first_steps(5_000 if quick else 50_000))
    venue, took = ReferenceVenue(), list[int]()
    venue.apply(opening(), 0)
    begun = time.process_time_ns()
    for at in range(0, len(rows), BATCH):
        from_ns = time.perf_counter_ns()
        venue.apply(rows[at : at + BATCH], from_ns)
        took.append(time.perf_counter_ns() - from_ns)
    return Measured(per_second(len(rows), begun), percentiles(took, BATCH))


# The peers, each in its own words


@bench.contender("limit-order-book")
def limit_order_book(quick: bool) -> Measured:
    from limit_order_book.limit_order_book import LimitOrderBook

    def calls(all_steps: list[Step]) -> Iterator[Call]:
        book = LimitOrderBook()
        for step in all_steps:
            if step.cancel:
                yield book.cancel, (step.id,)
            else:
                yield book.limit_buy if step.buys else book.limit_sell, (step.id, step.lots, step.price)

    return one_at_a_time(calls, 200_000, quick)


@bench.contender("lightmatchingengine")
def lightmatchingengine(quick: bool) -> Measured:
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

    def calls(all_steps: list[Step]) -> Iterator[Call]:
        engine = LightMatchingEngine()  # it numbers orders as the steps do, from 1 on
        for step in all_steps:
            if step.cancel:
                yield engine.cancel_order, (step.id, "A")
            else:
                yield engine.add_order, ("A", step.price, step.lots, Side.BUY if step.buys else Side.SELL)

    return one_at_a_time(calls, 200_000, quick)


@bench.contender("pyorderbook")
def pyorderbook(quick: bool) -> Measured:
    from pyorderbook import Book, ask, bid

    def calls(all_steps: list[Step]) -> Iterator[Call]:
        book, orders = Book(), dict[int, Any]()
        for step in all_steps:
            if step.cancel:
                yield book.cancel, (orders[step.id],)
            else:
                order = orders[step.id] = (bid if step.buys else ask)("A", step.price, step.lots)
                yield book.match, (order,)

    return one_at_a_time(calls, 100_000, quick)


@bench.contender("order-matching")
def order_matching(quick: bool) -> Measured:
    from datetime import datetime, timedelta

    from loguru import logger
    from order_matching.enums import Side
    from order_matching.matching_engine import MatchingEngine
    from order_matching.order import LimitOrder
    from order_matching.orders import Orders

    logger.disable("order_matching")

    def calls(all_steps: list[Step]) -> Iterator[Call]:
        engine, at = MatchingEngine(seed=1), datetime(2026, 1, 1)  # noqa: DTZ001 - as its documentation has it

        def do(orders: Orders, at: datetime) -> None:
            engine.place(orders)
            engine.match(at)

        for step in all_steps:
            at += timedelta(microseconds=1)
            if step.cancel:
                yield engine.cancel_order, (str(step.id),)
                continue
            side = Side.BUY if step.buys else Side.SELL
            order = LimitOrder(
                side=side, price=step.price, size=step.lots, timestamp=at, order_id=str(step.id), trader_id="a"
            )
            yield do, (Orders([order]), at)

    return one_at_a_time(calls, 10_000, quick)


# Without Python


def latency(quick: bool, *, venue: bool) -> dict[str, Any]:
    """Return what the program `latency` says of the steps, by the C API."""
    import numpy as np

    program, rows = compiled(), rows_of_steps(first_steps(100_000 if quick else 400_000))
    first = opening() if venue else rows[:0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "commands"
        np.concatenate([first, rows]).tofile(file)
        asked = [program, file, *([str(len(first))] * venue)]
        told = subprocess.run(asked, check=True, capture_output=True, timeout=300)
    said: dict[str, Any] = json.loads(told.stdout)
    return said


def compiled() -> Path:
    """Return the program `latency`, compiled if its sources have changed."""
    compiler = shutil.which("c++")
    if compiler is None:
        raise ImportError("there is no C++ compiler here")
    source = ROOT / "native" / "matching" / "src"
    changed = zlib.crc32(b"".join(file.read_bytes() for file in sorted(source.rglob("*.[ch]pp"))))
    program = room() / f"latency-{changed:08x}"
    if not program.exists():
        options = ["-std=c++20", "-O3", "-DNDEBUG", f"-I{source}", f"-I{source / 'core'}"]
        command = [compiler, *options, source / "latency.cpp", source / "c_api.cpp", "-o", program]
        subprocess.run(command, check=True, timeout=300)
    return program


def by_c(quick: bool, *, venue: bool) -> Measured:
    said = latency(quick, venue=venue)
    shown = ("p50_ns", "p99_ns", "p999_ns", "n", "per_s", "clock_p50_ns")
    return Measured(said["p50_ns"], {name: said[name] for name in shown})


@bench.contender()
def book_in_c(quick: bool) -> Measured:
    return by_c(quick, venue=False)


@bench.contender()
def venue_in_c(quick: bool) -> Measured:
    return by_c(quick, venue=True)


@bench.contender("archstone-matching")
def archstone_memory(quick: bool) -> float:
    import numpy as np

    from archstone.systems.exchange.matching import COMMAND, Kind

    count, chance, venue = 1_000_000, np.random.default_rng(3), opened()
    rows, numbers = np.zeros(count, COMMAND), np.arange(1, count + 1)
    rows["kind"], rows["book"], rows["quantity"] = Kind.NEW, 1, 1
    rows["account"] = numbers % ACCOUNTS + 1
    rows["id"] = rows["account"].astype("u8") << np.uint64(32) | numbers.astype("u8")
    rows["side"] = numbers % 2 + 1
    rows["price"] = 10_000 + chance.integers(1, 800, count) * np.where(numbers % 2, 1, -1)
    venue.apply(rows, 1)
    if len(venue) != count:
        raise RuntimeError(f"{len(venue)} of {count} orders rest")
    return venue.memory_bytes / count


PEERS = ["limit_order_book", "lightmatchingengine", "pyorderbook", "order_matching"]
bench.row(
    Row("orders in batches of 1,000, peers one by one", "orders/s", goal=4.0, bigger_is_better=True),
    ours="archstone_batches", peers=PEERS, beside=["archstone_in_python"],
)  # fmt: skip
bench.row(
    Row("orders one by one from Python", "orders/s", goal=None, bigger_is_better=True),
    ours="archstone_book", peers=PEERS, beside=["archstone_one_at_a_time"],
)  # fmt: skip
for percentile, goal in (("p50", 150.0), ("p99", 350.0)):
    bench.row(
        Row(f"one order by the C API, {percentile}", "ns", goal=goal, of=f"{percentile}_ns"), ours="book_in_c",
        beside=["venue_in_c"],
    )  # fmt: skip
bench.row(Row("memory of a resting order", "bytes", goal=80.0), ours="archstone_memory")

if __name__ == "__main__":
    bench.main()
