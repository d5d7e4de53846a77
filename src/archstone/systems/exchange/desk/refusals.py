"""Why an order was refused, for the one who sent it: in words, with the numbers that count, and what to do about it."""

from collections.abc import Callable, Mapping
from typing import Final

from archstone.systems.exchange.desk.power import Asked, Means, collar
from archstone.systems.exchange.desk.words import PHASES, PhaseWord, why
from archstone.systems.exchange.instruments import money
from archstone.systems.exchange.matching import MAX_QUANTITY, Limit, Phase, Reason

__all__ = ["advice"]

_Advice = Callable[[Means, Asked, int], str]


def advice(reason: int, means: Means, asked: Asked, *, base: int, phase: PhaseWord) -> str:
    """Return why, and what to do; as `why` says it where there is nothing to add.

    Args:
        reason: Of the refusal.
        means: What the account has, now that it was refused.
        asked: The order.
        base: The price that its own is measured by: the last one, or its trigger.
        phase: Of its book.
    """
    if reason == Reason.PHASE:
        return _PHASES.get(PHASES[phase], why(reason))
    more = _ADVICE.get(reason)
    return why(reason) + ("" if more is None else f": {more(means, asked, base)}")


def _quantity(means: Means, asked: Asked, _base: int) -> str:
    own = means.owner.limits.get(Limit.QUANTITY, MAX_QUANTITY)
    return f"at most {min(own, asked.about.most_lots or own):,} of {asked.about.symbol}"


def _value(means: Means, asked: Asked, _base: int) -> str:
    limit = means.owner.limits.get(Limit.VALUE, 0)
    return f"at most {money(limit)}, which is {limit // (asked.highest * asked.about.value):,} lots here"


def _collar(_means: Means, asked: Asked, base: int) -> str:
    if not base:
        return "nothing says yet where prices are, send a limit order"
    low, high = map(asked.about.price, collar(asked.about, base))
    return f"{low} to {high} are taken now"


def _credit(means: Means, asked: Asked, _base: int) -> str:
    left = money(max(0, means.power.available))
    return f"{left} is left after open orders and what is owed, good for {means.most(asked):,} lots; order fewer"


def _position(means: Means, _asked: Asked, _base: int) -> str:
    return f"at most {means.owner.limits.get(Limit.POSITION, 0):,} lots, held or owed, with what is open"


def _orders(means: Means, _asked: Asked, _base: int) -> str:
    return f"{len(means.owner.live):,} work; cancel some first"


def _rate(means: Means, _asked: Asked, _base: int) -> str:
    return f"at most {means.owner.limits.get(Limit.RATE, 0):,}; send it again in a second"


def _kill(means: Means, _asked: Asked, _base: int) -> str:
    whose = "of your account" if means.owner.killed else "of the whole exchange"
    return f"that {whose}; orders are taken again when who watches over risk has taken it off"


_ADVICE: Final[Mapping[int, _Advice]] = {
    Reason.QUANTITY: _quantity,
    Reason.VALUE: _value,
    Reason.COLLAR: _collar,
    Reason.CREDIT: _credit,
    Reason.POSITION: _position,
    Reason.ORDERS: _orders,
    Reason.RATE: _rate,
    Reason.KILL: _kill,
    Reason.POST_ONLY: lambda _means, _asked, _base: "leave out post only, or choose a price that nobody meets",
}
_PHASES: Final[Mapping[int, str]] = {
    Phase.HALTED: "trading is halted: orders are taken again when an auction begins, cancels are taken now",
    Phase.CLOSED: "trading is closed: orders are taken again when it opens, cancels are taken now",
    Phase.AUCTION: "an auction gathers orders: those that must trade at once are not taken, send a limit order",
}
