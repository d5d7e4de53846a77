"""Who comes to the exchange and what they send: the load model, for benches and demonstrations.

    planned = plan(Mix(), book=1, price=10_000, accounts=range(1, 101), rate_per_s=2_000, duration_s=10, chance=chance)
    async for arrival in arrivals(planned):
        ...

An open loop: commands arrive at random instants, independent of each other (Poisson), whatever the exchange answers, so
that a slow one meets more of them at once. It only says what to send; who sends it adds nothing. It differs from the
bots in that it does not look: it cancels and replaces what may be done already, as traders under load do.

`load` is what `archstone surge exchange` sends.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from archstone import world
from archstone.errors import ConfigError
from archstone.lab import Http, Kept, Load, Shot
from archstone.resilience import check
from archstone.systems.exchange.crowd import (
    API,
    Listed,
    Trader,
    books_of,
    cancel_all,
    crossed,
    listed,
    open_all,
    standing_of,
    told_wrongly,
)
from archstone.systems.exchange.desk.gates import Address
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import MAX_PRICE, Command, Kind, Side, TimeInForce
from archstone.systems.exchange.spoken import binary_of, rest_of, stream_of
from archstone.systems.exchange.venue import order_id, order_of
from archstone.systems.exchange.ways import Heard, by_binary, by_stream

__all__ = ["Arrival", "ExchangeLoad", "Mix", "arrivals", "load", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What participants send. The four ratios sum to one."""

    rest_ratio: float = 0.45
    """New orders that are meant to rest."""
    take_ratio: float = 0.15
    """New orders that take at once what is there."""
    cancel_ratio: float = 0.30
    replace_ratio: float = 0.10
    spread_ratio: float = 0.002
    """How far from the middle resting orders are on average, over the price. In (0, 0.1]."""
    most_lots: int = 50
    """Of an order; each number up to it is as likely. At least 1."""
    recent: int = 100
    """Cancels and replaces are of one of so many of the last orders. At least 1."""

    def __post_init__(self) -> None:
        """Check everything at once."""
        ratios = (self.rest_ratio, self.take_ratio, self.cancel_ratio, self.replace_ratio)
        check(
            self,
            rest_ratio=(
                min(ratios) >= 0 and abs(sum(ratios) - 1) < 1e-9,
                "at least 0 like the other three, and they must sum to 1",
            ),
            spread_ratio=(0 < self.spread_ratio <= 0.1, "in (0, 0.1]"),
            most_lots=(self.most_lots >= 1, "at least 1"),
            recent=(self.recent >= 1, "at least 1"),
        )


class Arrival(NamedTuple):
    """One command to send."""

    at_s: float
    """When it arrives, seconds from the first instant of the plan."""
    book: int
    command: Command


@dataclass(slots=True, kw_only=True)
class _Crowd:
    mix: Mix
    book: int
    price: int
    accounts: Sequence[int]
    chance: Random
    numbers: dict[int, int] = field(default_factory=dict[int, int])
    sent: deque[Command] = field(default_factory=deque[Command])

    def command(self) -> Command:
        mix, draw = self.mix, self.chance.random()
        if draw < mix.rest_ratio or not self.sent:
            return self._new(self.chance.choice([*Side]), TimeInForce.GTC)
        if draw < mix.rest_ratio + mix.take_ratio:
            return self._new(self.chance.choice([*Side]), TimeInForce.IOC)
        order = self.chance.choice(self.sent)
        if draw < mix.rest_ratio + mix.take_ratio + mix.cancel_ratio:
            return Command(Kind.CANCEL, order.id, order.account)
        price = self._price(Side(order.side), TimeInForce.GTC)
        return Command(Kind.REPLACE, order.id, order.account, price=price, quantity=self._lots())

    def _new(self, side: Side, tif: TimeInForce) -> Command:
        account = self.chance.choice(self.accounts)
        self.numbers[account] = number = self.numbers.get(account, 0) + 1
        order = Command(
            Kind.NEW, order_id(account, number), account, side, tif=tif, price=self._price(side, tif),
            quantity=self._lots(),
        )  # fmt: skip
        if tif == TimeInForce.GTC:
            self.sent.append(order)
            if len(self.sent) > self.mix.recent:
                self.sent.popleft()
        return order

    def _lots(self) -> int:
        return self.chance.randint(1, self.mix.most_lots)

    def _price(self, side: Side, tif: TimeInForce) -> int:
        away = self.price * self.mix.spread_ratio * self.chance.expovariate(1)
        # What rests is on its own side of the middle, what takes reaches across it.
        lower = (side == Side.BUY) == (tif == TimeInForce.GTC)
        return min(MAX_PRICE, max(1, round(self.price - away if lower else self.price + away)))


def plan(
    mix: Mix, *, book: int, price: int, accounts: Sequence[int], rate_per_s: float, duration_s: float, chance: Random
) -> Iterator[Arrival]:
    """Give the commands of a span of time, by arrival. The same source of chance gives the same plan.

    Args:
        mix: What participants send.
        book: Where.
        price: The middle, in ticks. Above 0.
        accounts: Who sends, each as likely; their orders have the numbers from 1 on.
        rate_per_s: Commands a second on average. Above 0.
        duration_s: Seconds that the plan covers. At least 0.
        chance: Where the numbers come from.
    """
    crowd = _Crowd(mix=mix, book=book, price=price, accounts=accounts, chance=chance)
    at_s = chance.expovariate(rate_per_s)
    while at_s < duration_s:
        yield Arrival(at_s, book, crowd.command())
        at_s += chance.expovariate(rate_per_s)


async def arrivals(planned: Iterator[Arrival]) -> AsyncIterator[Arrival]:
    """Give each command of a plan when its time has come; late ones at once, none left out."""
    began_s = world.monotonic()
    for arrival in planned:
        if (wait_s := began_s + arrival.at_s - world.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        yield arrival


SURGE: Final = Mix(most_lots=10)
_LOOK_RATIO: Final = 0.5
"""Of all requests, those that only look at the market."""
_LOOKS: Final = ("/instruments", "/instruments/{}/depth", "/instruments/{}/trades?limit=20")
_PER_TRADER_PER_S: Final = 10.0
"""Requests a second of one trader, a tenth of what the venue takes of one account."""
_TRADERS: Final = (24, 600)
"""At least, and at most: a third of them comes by the binary protocol, which takes 256 connections."""
_LOT_CENTS: Final = 1_000_000
"""What a lot may be worth: a hundredth of what a new account has."""


class ExchangeLoad:
    """The crowd that a surge sends: half of it looks, half of it trades, over REST, WebSocket and the binary protocol.

    Traders are new accounts with play money. Each trades in one book, and by one way.
    """

    never = ("lost", "crossed", "unbalanced", "told_wrongly")

    def __init__(self, mix: Mix = SURGE) -> None:
        self._mix = mix
        self._binary: Address | None = None
        self._traders: Sequence[Trader] = ()
        self._traded: Sequence[Listed] = ()
        self._numbers = Counter[int]()
        """Of orders that were planned so far, by account."""
        self._heard: dict[str, Heard] = {}

    def choose(self, options: Mapping[str, str]) -> None:
        """Take `binary=HOST:PORT`: where the exchange speaks the binary protocol, or `off`."""
        if unknown := options.keys() - {"binary"}:
            raise ConfigError(f"--set {min(unknown)}: of this traffic only binary=HOST:PORT can be chosen")
        self._binary = Address.parse(options.get("binary", "off"), called="--set binary")

    async def prepare(self, http: Http, *, rate_per_s: float, tell: Callable[[str], None]) -> Sequence[bytes]:
        """Open as many accounts as the rate needs, and see what they can afford."""
        least, most = _TRADERS
        count = max(least, min(most, int(rate_per_s / _PER_TRADER_PER_S)))
        tell(f"opening {count} accounts")
        self._traders = await open_all(http, count)
        self._traded = [each for each in await listed(http) if each.last * each.value <= _LOT_CENTS]
        self._numbers.clear()
        tell(f"{count} accounts, {len(self._traded)} instruments")
        return [each.headers for each in self._traders]

    @asynccontextmanager
    async def ways(self, url: str) -> AsyncGenerator[Mapping[str, Heard]]:
        """Connect each trader who does not come over REST."""
        stream = f"ws{url.removeprefix('http').rstrip('/')}/ws"
        async with AsyncExitStack() as life:
            self._heard = {}
            for number, trader in enumerate(self._traders):
                way = self._way(number)
                if way.startswith("stream"):
                    self._heard[way] = await life.enter_async_context(by_stream(stream, trader.token))
                elif way:
                    host, port = self._binary or ("", 0)
                    self._heard[way] = await life.enter_async_context(by_binary(host, port, trader.token))
            yield self._heard

    def shots(self, *, rate_per_s: float, duration_s: float, chance: Random) -> list[Shot]:
        """Return what is due in a phase."""
        found = [*self._looks(rate_per_s * _LOOK_RATIO, duration_s, chance)]
        for place in range(len(self._traded)):
            each_per_s = rate_per_s * (1 - _LOOK_RATIO) / len(self._traded)
            found += self._trades(place, each_per_s, duration_s, chance)
        return sorted(found, key=lambda shot: shot.at_s)

    def _looks(self, rate_per_s: float, duration_s: float, chance: Random) -> Iterator[Shot]:
        at_s = chance.expovariate(rate_per_s)
        while at_s < duration_s:
            path = chance.choice(_LOOKS).format(chance.choice(self._traded).symbol)
            head = f"GET {API}{path} HTTP/1.1\r\n".encode()
            yield Shot(at_s, "look", head, chance.randrange(len(self._traders)))
            at_s += chance.expovariate(rate_per_s)

    def _trades(self, place: int, rate_per_s: float, duration_s: float, chance: Random) -> Iterator[Shot]:
        """Give what those send who trade in one book. A plan counts traders, and orders of each, from 1 on."""
        about, before = self._traded[place], self._numbers.copy()
        traders = range(1 + place, 1 + len(self._traders), len(self._traded))
        planned = plan(
            self._mix, book=_book(about), price=about.last, accounts=traders, rate_per_s=rate_per_s,
            duration_s=duration_s, chance=chance,
        )  # fmt: skip
        for arrival in planned:
            trader, number = order_of(arrival.command.id)
            if arrival.command.kind == Kind.NEW:
                self._numbers[trader] += 1
            yield self._shot(arrival, about, trader - 1, before[trader] + number)

    def _shot(self, arrival: Arrival, about: Listed, trader: int, number: int) -> Shot:
        way, command = self._way(trader), arrival.command
        kind, note = way.partition(" ")[0] or "rest", trader if command.kind == Kind.NEW else None
        if kind == "binary":
            body = binary_of(command, number=number, book=arrival.book)
        elif kind == "stream":
            body = stream_of(command, number=number, symbol=about.symbol)
        else:
            head, body = rest_of(command, number=number, symbol=about.symbol)
            return Shot(arrival.at_s, kind, head, trader, body, note)
        return Shot(arrival.at_s, kind, b"", trader, body, note, way)

    def _way(self, trader: int) -> str:
        """Return by which way a trader comes; empty: over REST."""
        kinds = ("", "stream", "binary") if self._binary else ("", "stream")
        kind = kinds[trader // len(self._traded) % len(kinds)]
        return f"{kind} {trader}" if kind else ""

    async def settle(self, http: Http, kept: Sequence[Kept]) -> Mapping[str, Any]:
        """Say whether the exchange has what it said that it has.

        `lost` orders were accepted, and are not among those that work or have ended; `crossed` books bid more than they
        ask; `unbalanced` traders have other money or positions than by their fills; fills are `told_wrongly` that a way
        told and nobody lists, or the other way round. `unchecked`: accepted orders of traders whose older ones are
        forgotten. Before fills are looked at all orders of the crowd are cancelled.
        """
        placed = [set[int]() for _ in self._traders]
        for trader, body in kept:
            placed[int(trader)].add(int(json.loads(body)["order"]["number"]))
        found = [*zip(placed, await standing_of(http, self._traders), strict=True)]
        await cancel_all(http, self._traders)
        books = await books_of(http, self._traders, {each.symbol: each.value for each in await listed(http)})
        heard = {self._traders[int(name.partition(" ")[2])]: way.fills for name, way in self._heard.items()}
        return {
            "lost": sum(len(numbers - has.orders) for numbers, has in found if has.knows_all),
            "crossed": await crossed(http),
            "unbalanced": sum(not each.is_balanced for each in books.values()),
            "told_wrongly": await told_wrongly(heard, books),
            "accepted": sum(map(len, placed)),
            "unchecked": sum(len(numbers) for numbers, has in found if not has.knows_all),
            "fills": sum(each.fills.total() for each in books.values()),
        }


def _book(about: Listed) -> int:
    """Return the number of an instrument's book: by the table, since nobody is told it."""
    found = INSTRUMENTS.named(about.symbol)
    if found is None:
        raise ConfigError(f"{about.symbol} is not in this version's table of instruments")
    return found.book


load: Final[Load] = ExchangeLoad()
