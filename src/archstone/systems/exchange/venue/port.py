"""The port of a venue, and how its orders are named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from archstone.systems.exchange.matching import Commands, Events, Side

__all__ = ["MAX_JUMP", "MAX_NS", "MAX_NUMBER", "Standing", "Venue", "order_id", "order_of"]

MAX_NUMBER: Final = 2**32 - 1
"""The highest number that an account gives to an order; the lowest is 1."""

MAX_JUMP: Final = 2**31
"""How far above an account's last number the next one may be: the highest, sent by mistake, does not use up all."""

MAX_NS: Final = 2**62
"""The latest time, nanoseconds since 1970, which is in 2116: any later one is taken for it."""


def order_id(account: int, number: int) -> int:
    """Return the id of an order: whose it is, and the number that they gave it.

    An account's numbers rise with each new order, so that a venue needs to remember only the last one to refuse what
    was sent twice.
    """
    return account << 32 | number


def order_of(id: int) -> tuple[int, int]:
    """Return account and number of an order."""
    return id >> 32, id & MAX_NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account as the venue knows it. Money in the smallest unit, positions in lots."""

    account: int
    cash: int = 0
    reserved: int = 0
    """Of the cash and the credit, for what is open."""
    positions: Mapping[int, int] = field(default_factory=dict[int, int])
    """By book; below 0: owed."""
    exposure: int = 0
    """What all positions are worth at the last prices, each taken as positive."""
    profit: int = 0
    """Realised and not: cash and positions at the last prices, less all that was paid in."""
    killed: bool = False


class Venue(Protocol):
    """One state machine. Not safe to use from two threads at once."""

    def apply(self, commands: Commands, at_ns: int) -> Events:
        """Do commands, shape (n,), at one moment, and return all that came of them, shape (m,).

        Never raises for what a command says: what cannot be done is rejected. `at_ns` never goes back, and not beyond
        `MAX_NS`.
        """
        ...

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best `levels` prices of a side: price, lots shown, orders. KeyError: no such book."""
        ...

    def standing(self, account: int) -> Standing:
        """Return an account. KeyError: there is none."""
        ...

    def digest(self) -> int:
        """Return 64 bits that two venues share if all that decides about their future is the same."""
        ...

    def dump(self) -> bytes:
        """Return the whole state, queues in order; `load` of the same class makes an equal venue of it."""
        ...

    def __len__(self) -> int:
        """Count the live orders, sleeping stops too."""
        ...
