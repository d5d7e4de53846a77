"""Seeded streams of commands, to compare engines and to measure them: many orders, of all kinds, that mean something.

    quiet           prices near each other, a little of everything
    crash           the price falls, stops wake in crowds, orders sweep
    cancel-heavy    nine of ten orders are cancelled or replaced before they trade
    auction         auctions, halts, bands and closings between stretches of trading
    ids-reused      few ids, so that most commands meet a live order or one that is just done

A stream does not know what became of its orders: it cancels what may be done already, as traders do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from archstone.systems.exchange.matching.commands import Command, Flag, Kind, Phase, SelfTrade, Side, TimeInForce, Type

__all__ = ["FLOWS", "Flow", "flow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What a stream is made of. Ratios are parts of all commands."""

    new_ratio: float = 0.6
    cancel_ratio: float = 0.25
    replace_ratio: float = 0.13
    """What is left are mass cancels and what concerns the whole book."""
    spread: int = 20
    """Prices lie so many ticks around the middle."""
    drift: float = 0.0
    """Ticks that the middle moves with a command."""
    ids: int = 1_000_000
    accounts: int = 50
    stop_ratio: float = 0.05
    large_ratio: float = 0.02
    """Orders that sweep."""
    phases: bool = False
    recent: int = 400
    """Cancels and replaces hit one of so many of the last orders."""


FLOWS: Final = {
    "quiet": Flow(),
    "crash": Flow(drift=-0.004, stop_ratio=0.25, large_ratio=0.1, spread=40),
    "cancel-heavy": Flow(new_ratio=0.36, cancel_ratio=0.44, replace_ratio=0.195),
    "auction": Flow(phases=True, spread=12),
    "ids-reused": Flow(ids=60, recent=60, accounts=6),
}

_PHASES: Final = (Phase.AUCTION, Phase.CONTINUOUS, Phase.AUCTION, Phase.HALTED, Phase.CLOSED, Phase.CONTINUOUS)


@dataclass(slots=True)
class _Stream:
    kind: Flow
    random: Random
    middle: float = 10_000.0
    sent: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    count: int = 0

    def command(self) -> Command:
        self.middle = max(200.0, self.middle + self.kind.drift + self.random.gauss(0, 0.05))
        draw = self.random.random()
        for ratio, make in self._choices():
            if draw < ratio:
                return make()
            draw -= ratio
        return self._whole_book()

    def _choices(self) -> tuple[tuple[float, Callable[[], Command]], ...]:
        kind = self.kind
        return ((kind.new_ratio, self._new), (kind.cancel_ratio, self._cancel), (kind.replace_ratio, self._replace))

    def _price(self) -> int:
        return max(1, round(self.middle + self.random.gauss(0, self.kind.spread / 3)))

    def _new(self) -> Command:
        random, kind = self.random, self.kind
        self.count += 1
        number = self.count if kind.ids >= 1_000_000 else random.randint(1, kind.ids)
        account = random.randint(1, kind.accounts)
        self.sent.append((number, account))
        del self.sent[: -kind.recent]
        lots = random.randint(1, 100) * (50 if random.random() < kind.large_ratio else 1)
        market = random.random() < 0.05
        tif = random.choices([*TimeInForce], (80, 8, 8, 4))[0]
        waits = not market and tif not in {TimeInForce.IOC, TimeInForce.FOK}
        trigger = self._price() if random.random() < kind.stop_ratio else 0
        return Command(
            Kind.NEW,
            number,
            account,
            random.choice([*Side]),
            Type.MARKET if market else Type.LIMIT,
            tif,
            Flag.POST_ONLY if waits and not trigger and random.random() < 0.1 else 0,
            random.choice([*SelfTrade]) if random.random() < 0.5 else 0,
            0 if market else self._price(),
            lots,
            random.randint(1, lots) if waits and random.random() < 0.1 else 0,
            trigger,
        )

    def _target(self) -> tuple[int, int]:
        if not self.sent:
            return 1, 1
        number, account = self.random.choice(self.sent)
        return number, account if self.random.random() < 0.99 else account + 1

    def _cancel(self) -> Command:
        return Command(Kind.CANCEL, *self._target())

    def _replace(self) -> Command:
        price = 0 if self.random.random() < 0.02 else self._price()
        return Command(Kind.REPLACE, *self._target(), price=price, quantity=self.random.randint(1, 100))

    def _whole_book(self) -> Command:
        draw = self.random.random()
        if self.kind.phases and draw < 0.5:
            return Command(Kind.PHASE, type=self.random.choice(_PHASES))
        if self.kind.phases and draw < 0.6:
            low = self._price() - 30
            return Command(Kind.BAND, price=max(1, low), trigger=max(1, low) + 60)
        if self.kind.phases and draw < 0.75:
            return Command(Kind.BAND)
        if self.kind.phases and draw < 0.85:
            return Command(Kind.REFERENCE, price=self._price())
        return Command(
            Kind.MASS_CANCEL, account=self.random.randint(1, self.kind.accounts), side=self.random.choice([0, 1, 2])
        )


def flow(name: str, *, seed: int) -> Iterator[Command]:
    """Give commands without end. KeyError if there is no such flow."""
    stream = _Stream(FLOWS[name], Random(f"{name} {seed}"))
    while True:
        yield stream.command()
