"""Layering: large orders that are not meant, on one side, gone soon after a trade on the other.

What is looked for: an account trades; on the other side it has several orders, placed shortly before and away from the
price, together many times as large as the trade, and as what it has on the trade's side; and soon after the trade most
of them are cancelled, not filled. Such orders move others towards the price that the account wants. A market maker who
requotes both sides is not meant; one who requotes a single side looks similar: so the rule has parameters, and the
alert shows its evidence.

Source: the patterns "layering" and "spoofing" of the Commission Delegated Regulation (EU) 2016/522, annex II, and the
Dodd-Frank Act, section 747 ("bidding or offering with the intent to cancel before execution").
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from archstone.resilience import check
from archstone.systems.exchange.matching import Reason, Side, Told
from archstone.systems.exchange.surveillance.flow import Fact, Found

__all__ = ["Layering", "LayeringWatch"]

_SECOND_NS: Final = 1_000_000_000
_SHOWN: Final = 50
"""Orders that the evidence lists."""
_BY_CHOICE: Final = frozenset({Reason.USER, Reason.MASS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layering:
    """What counts as layering."""

    window_s: float = 10.0
    """The orders were placed within so many seconds before the trade. Above 0, at most 600."""
    within_s: float = 2.0
    """They are cancelled within so many seconds after it. Above 0, at most 600. No second alert for as long."""
    min_orders: int = 5
    """So many of them at least. At least 1."""
    times: float = 5.0
    """So many times the lots of the trade, together. Above 0."""
    one_sided: float = 3.0
    """So many times the lots that it has on the side of the trade, placed as lately. At least 0."""
    cancelled_ratio: float = 0.8
    """So much of their lots is cancelled, and so many of the orders are. In (0, 1]."""
    away_ticks: int = 1
    """Each of them is so far behind the price of the trade, at least. At least 0."""
    max_orders: int = 100_000
    """Orders that are remembered, and as many again of trades that are looked at; beyond it the oldest are forgotten.
    At least 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: All faults at once.
        """
        check(
            self,
            window_s=(0 < self.window_s <= 600, "above 0, at most 600"),
            within_s=(0 < self.within_s <= 600, "above 0, at most 600"),
            min_orders=(self.min_orders >= 1, "at least 1"),
            times=(0 < self.times < float("inf"), "above 0 and finite"),
            one_sided=(0 <= self.one_sided < float("inf"), "at least 0 and finite"),
            cancelled_ratio=(0 < self.cancelled_ratio <= 1, "in (0, 1]"),
            away_ticks=(self.away_ticks >= 0, "at least 0"),
            max_orders=(self.max_orders >= 1, "at least 1"),
        )

    @property
    def horizon_s(self) -> float:
        """How far back something may matter for what is found now, seconds."""
        return self.window_s + self.within_s


@dataclass(slots=True)
class _Order:
    """An order that was placed within the window."""

    id: int
    account: int
    book: int
    side: int
    price: int
    lots: int
    """Still open."""
    sequence: int
    at_ns: int
    suspicions: list["_Suspicion"] = field(default_factory=list["_Suspicion"])


@dataclass(slots=True)
class _Suspicion:
    """A trade, and the orders on its other side that may not have been meant."""

    trade: Fact
    account: int
    side: int
    """Of the trade, as the account made it."""
    ends_ns: int
    lots: int
    """Of the orders together."""
    orders: dict[int, dict[str, Any]]
    """Lots and more of each when the trade was made, by its id."""
    cancelled: int = 0
    """Lots."""
    gone: int = 0
    """Orders of which some lots were cancelled."""


class LayeringWatch:
    """Looks for layering. Its state is the orders of the last seconds, and trades that are looked at more closely."""

    def __init__(self, rule: Layering) -> None:
        self.rule = rule
        self._orders: dict[int, _Order] = {}
        """By id, oldest first."""
        self._sides: defaultdict[tuple[int, int, int], dict[int, _Order]] = defaultdict(dict)
        """The same by account, book and side."""
        self._suspicions: deque[_Suspicion] = deque()
        self._suspected = 0
        """Orders of all suspicions."""
        self._command = 0
        self._suspects: set[tuple[int, int, int]] = set()
        """Whom a trade of this command has made suspect, where and on which side: the next says nothing more of them,
        and one command can trade a thousand times."""
        self._quiet: dict[tuple[int, int], int] = {}
        """Until when no alert is raised again, by account and book."""
        self._window_ns = int(rule.window_s * _SECOND_NS)
        self._within_ns = int(rule.within_s * _SECOND_NS)

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._orders) + self._suspected + len(self._quiet)

    def advance(self, at_ns: int) -> None:
        """Forget what is too old to matter at a moment."""
        while self._suspicions and self._suspicions[0].ends_ns < at_ns:
            self._drop_oldest()
        oldest = next(iter(self._orders.values()), None)
        while oldest is not None and (
            oldest.at_ns < at_ns - self._window_ns - self._within_ns or len(self._orders) > self.rule.max_orders
        ):
            self._forget(oldest)
            oldest = next(iter(self._orders.values()), None)
        if self._quiet and min(self._quiet.values()) < at_ns:
            self._quiet = {key: until for key, until in self._quiet.items() if until >= at_ns}

    def remember(self, book: int, account: int, at_ns: int) -> None:
        """Raise no other alert of an account for a while: one was raised at a moment."""
        self._quiet[account, book] = at_ns + self._within_ns

    def see(self, fact: Fact) -> Iterator[Found]:
        """Look at one fact."""
        if fact.kind == Told.TRADED:
            self._traded(fact)
        elif fact.kind == Told.ACCEPTED:
            self._placed(fact)
        elif fact.kind == Told.REPLACED:
            yield from self._gone(fact, fact.quantity)
        elif fact.kind == Told.CANCELED:
            yield from self._gone(fact, 0)

    def _placed(self, fact: Fact) -> None:
        if fact.price:  # a market order never rests
            order = _Order(
                fact.id, fact.account, fact.book, fact.side, fact.price, fact.quantity, fact.sequence, fact.at_ns
            )
            self._orders[order.id] = order
            self._sides[order.account, order.book, order.side][order.id] = order

    def _traded(self, fact: Fact) -> None:
        for number, left in ((fact.id, fact.left), (fact.other, fact.other_left)):
            order = self._orders.get(number)
            if order is not None:
                order.lots = left
                if not left:
                    self._forget(order)
        first = fact.side or Side.BUY
        self._suspect(fact, fact.account, first)
        self._suspect(fact, fact.other_account, Side.SELL if first == Side.BUY else Side.BUY)

    def _suspect(self, fact: Fact, account: int, side: int) -> None:
        """Look at what an account that has traded has on the other side."""
        if fact.sequence != self._command:
            self._command = fact.sequence
            self._suspects.clear()
        if (account, fact.book, side) in self._suspects:
            return
        rule = self.rule
        behind = 1 if side == Side.BUY else -1  # one who buys has sells above the price
        orders = [
            each
            for each in self._lately(fact, account, 3 - side)
            if (each.price - fact.price) * behind >= rule.away_ticks
        ]
        lots = sum(each.lots for each in orders)
        if len(orders) < rule.min_orders or lots < rule.times * fact.quantity:
            return
        if lots < rule.one_sided * sum(each.lots for each in self._lately(fact, account, side)):
            return
        told = {
            each.id: {"order": each.id & 0xFFFF_FFFF, "price": each.price, "lots": each.lots, "placed": each.sequence}
            for each in orders
        }
        suspicion = _Suspicion(fact, account, side, fact.at_ns + self._within_ns, lots, told)
        self._suspects.add((account, fact.book, side))
        self._suspicions.append(suspicion)
        self._suspected += len(told)
        for each in orders:
            each.suspicions.append(suspicion)
        while self._suspected > rule.max_orders and len(self._suspicions) > 1:
            self._drop_oldest()

    def _lately(self, fact: Fact, account: int, side: int) -> Iterator[_Order]:
        """Give what an account has open on a side that was placed within the window."""
        orders = self._sides.get((account, fact.book, side), {}).values()
        return (each for each in orders if each.at_ns >= fact.at_ns - self._window_ns)

    def _gone(self, fact: Fact, left: int) -> Iterator[Found]:
        """Count lots that an account has taken back; `left` of the order stay."""
        order = self._orders.get(fact.id)
        if order is None:
            return
        back, order.lots = order.lots - left, left
        order.price = fact.price or order.price
        chosen = fact.kind == Told.REPLACED or fact.reason in _BY_CHOICE
        for suspicion in order.suspicions if chosen and back > 0 else ():
            yield from self._count(suspicion, order, back, fact)
        if not left:
            self._forget(order)

    def _count(self, suspicion: _Suspicion, order: _Order, back: int, fact: Fact) -> Iterator[Found]:
        if fact.at_ns > suspicion.ends_ns:
            return
        suspicion.cancelled += back
        suspicion.gone += "cancelled" not in suspicion.orders[order.id]
        suspicion.orders[order.id]["cancelled"] = fact.sequence
        ratio = self.rule.cancelled_ratio
        if suspicion.cancelled < ratio * suspicion.lots or suspicion.gone < ratio * len(suspicion.orders):
            return
        trade = suspicion.trade
        if self._quiet.get((suspicion.account, trade.book), -1) >= fact.at_ns:
            return
        self.remember(trade.book, suspicion.account, fact.at_ns)
        yield Found("layering", trade.book, suspicion.account, fact.sequence, fact.at_ns, _evidence(suspicion))

    def _forget(self, order: _Order) -> None:
        self._orders.pop(order.id, None)
        key = order.account, order.book, order.side
        self._sides[key].pop(order.id, None)
        if not self._sides[key]:
            del self._sides[key]

    def _drop_oldest(self) -> None:
        suspicion = self._suspicions.popleft()
        self._suspected -= len(suspicion.orders)
        for number in suspicion.orders:
            order = self._orders.get(number)
            if order is not None:
                order.suspicions.remove(suspicion)


def _evidence(suspicion: _Suspicion) -> dict[str, Any]:
    trade = suspicion.trade
    return {
        "trade": {
            "sequence": trade.sequence,
            "price": trade.price,
            "lots": trade.quantity,
            "side": "buy" if suspicion.side == Side.BUY else "sell",
        },
        "lots": suspicion.lots,
        "cancelled": suspicion.cancelled,
        "orders": [*suspicion.orders.values()][:_SHOWN],
        "more_orders": max(0, len(suspicion.orders) - _SHOWN),
    }
