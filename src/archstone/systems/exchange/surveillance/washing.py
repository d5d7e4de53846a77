"""Wash trades: an account, or several of one person, that trade with themselves, so that there seems to be a market.

What is looked for: within a window several trades in one book have both sides in one hand, and they are a good part of
what that hand traded there. A few such trades happen to whoever quotes both sides; a share of them does not.

Source: "wash trades" in the Commission Delegated Regulation (EU) 2016/522, annex II.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from archstone.resilience import check
from archstone.systems.exchange.matching import Told
from archstone.systems.exchange.surveillance.flow import Fact, Found

__all__ = ["Washing", "WashingWatch"]

_SECOND_NS: Final = 1_000_000_000
_SHOWN: Final = 50
"""Trades that the evidence lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Washing:
    """What counts as wash trading."""

    window_s: float = 60.0
    """The trades are within so many seconds. Above 0, at most 3600. No second alert for as long."""
    min_trades: int = 5
    """So many of them have both sides in one hand. At least 1."""
    share_ratio: float = 0.25
    """And so much of the lots that this hand traded in the book within the window. In (0, 1]."""
    max_trades: int = 100_000
    """Trades of one hand in one book that are remembered; beyond it the oldest are forgotten. At least 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: All faults at once.
        """
        check(
            self,
            window_s=(0 < self.window_s <= 3600, "above 0, at most 3600"),
            min_trades=(self.min_trades >= 1, "at least 1"),
            share_ratio=(0 < self.share_ratio <= 1, "in (0, 1]"),
            max_trades=(self.max_trades >= 1, "at least 1"),
        )

    @property
    def horizon_s(self) -> float:
        """How far back something may matter for what is found now, seconds."""
        return self.window_s


class _Traded(NamedTuple):
    at_ns: int
    lots: int
    within: bool
    """Whether both sides were in one hand."""
    told: dict[str, Any]


@dataclass(slots=True)
class _Hand:
    """What one hand has traded in one book lately."""

    trades: deque[_Traded] = field(default_factory=deque[_Traded])
    lots: int = 0
    within: int = 0
    """Lots that it traded with itself."""
    count: int = 0
    """Trades with itself."""

    def add(self, trade: _Traded, sign: int = 1) -> None:
        self.lots += sign * trade.lots
        self.within += sign * trade.lots * trade.within
        self.count += sign * trade.within

    def forget(self, before_ns: int, most: int) -> None:
        while self.trades and (self.trades[0].at_ns < before_ns or len(self.trades) > most):
            self.add(self.trades.popleft(), -1)


class WashingWatch:
    """Looks for wash trades. Its state is the trades of the window."""

    def __init__(self, rule: Washing) -> None:
        self.rule = rule
        self.persons: Mapping[int, int] = {}
        """Which person an account belongs to; one that is not in it is a person by itself."""
        self._hands: defaultdict[tuple[int, int, bool], _Hand] = defaultdict(_Hand)
        self._quiet: dict[tuple[int, int], int] = {}
        """Until when no alert is raised again, by account and book."""
        self._swept_ns = 0
        self._window_ns = int(rule.window_s * _SECOND_NS)

    def __len__(self) -> int:
        """Count what is remembered."""
        return sum(len(hand.trades) for hand in self._hands.values()) + len(self._quiet)

    def advance(self, at_ns: int) -> None:
        """Forget what is too old to matter at a moment, once in a window."""
        if at_ns < self._swept_ns + self._window_ns:
            return
        self._swept_ns = at_ns
        for key, hand in [*self._hands.items()]:
            hand.forget(at_ns - self._window_ns, self.rule.max_trades)
            if not hand.trades:
                del self._hands[key]
        self._quiet = {key: until for key, until in self._quiet.items() if until >= at_ns}

    def remember(self, book: int, account: int, at_ns: int) -> None:
        """Raise no other alert of an account for a while: one was raised at a moment."""
        self._quiet[account, book] = at_ns + self._window_ns

    def see(self, fact: Fact) -> Iterator[Found]:
        """Look at one fact."""
        if fact.kind != Told.TRADED:
            return
        one, other = self._person(fact.account), self._person(fact.other_account)
        told = {
            "sequence": fact.sequence,
            "price": fact.price,
            "lots": fact.quantity,
            "accounts": sorted({fact.account, fact.other_account}),
        }
        trade = _Traded(fact.at_ns, fact.quantity, one == other, told)
        for person in {one, other}:
            hand = self._hands[(fact.book, *person)]
            hand.forget(fact.at_ns - self._window_ns, self.rule.max_trades - 1)
            hand.trades.append(trade)
            hand.add(trade)
            if trade.within:
                yield from self._judge(fact, hand)

    def _person(self, account: int) -> tuple[int, bool]:
        """Return in whose hand an account is: a person's, or its own."""
        person = self.persons.get(account)
        return (account, False) if person is None else (person, True)

    def _judge(self, fact: Fact, hand: _Hand) -> Iterator[Found]:
        rule, account = self.rule, min(fact.account, fact.other_account)
        if hand.count < rule.min_trades or hand.within < rule.share_ratio * hand.lots:
            return
        if self._quiet.get((account, fact.book), -1) >= fact.at_ns:
            return
        self.remember(fact.book, account, fact.at_ns)
        within = [each.told for each in hand.trades if each.within]
        evidence = {
            "lots": hand.within,
            "lots_in_all": hand.lots,
            "trades": within[-_SHOWN:],
            "more_trades": max(0, len(within) - _SHOWN),
        }
        yield Found("washing", fact.book, account, fact.sequence, fact.at_ns, evidence)
