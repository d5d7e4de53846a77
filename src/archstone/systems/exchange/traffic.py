"""Who comes to the exchange and what they send: the load model, for benches and demonstrations.

    planned = plan(Mix(), book=1, price=10_000, accounts=range(1, 101), rate_per_s=2_000, duration_s=10, chance=chance)
    async for arrival in arrivals(planned):
        ...

An open loop: commands arrive at random instants, independent of each other (Poisson), whatever the exchange answers, so
that a slow one meets more of them at once. It only says what to send; who sends it adds nothing. It differs from the
bots in that it does not look: it cancels and replaces what may be done already, as traders under load do.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from archstone import world
from archstone.resilience import check
from archstone.systems.exchange.matching import MAX_PRICE, Command, Kind, Side, TimeInForce
from archstone.systems.exchange.venue import order_id

__all__ = ["Arrival", "Mix", "arrivals", "plan"]


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
