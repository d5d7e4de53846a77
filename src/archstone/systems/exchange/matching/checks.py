"""What an order must be, whatever the book: each field in its range, and no two that contradict each other."""

from typing import Final

from archstone.systems.exchange.matching.commands import (
    MAX_PRICE,
    MAX_QUANTITY,
    Command,
    Flag,
    SelfTrade,
    Side,
    TimeInForce,
    Type,
)
from archstone.systems.exchange.matching.events import Reason

__all__ = ["fault_of"]

_SIDES: Final = frozenset(Side)
_TYPES: Final = frozenset(Type)
_TIMES: Final = frozenset(TimeInForce)
_CHOICES: Final = frozenset(SelfTrade)
_FLAGS: Final = frozenset({Flag.NONE, Flag.POST_ONLY, Flag.PROTECTED})
_AT_ONCE: Final = frozenset({TimeInForce.IOC, TimeInForce.FOK})


def fault_of(command: Command) -> Reason:
    """Return FIELD if a new order cannot be meant so, else NONE."""
    return Reason.NONE if _in_range(command) and _makes_sense(command) else Reason.FIELD


def _in_range(command: Command) -> bool:
    return (
        command.id > 0
        and command.account > 0
        and command.side in _SIDES
        and command.type in _TYPES
        and command.tif in _TIMES
        and command.stp in _CHOICES
        and command.flags in _FLAGS
        and 0 <= command.price <= MAX_PRICE
        and 0 < command.quantity <= MAX_QUANTITY
        and 0 <= command.display <= command.quantity
        and 0 <= command.trigger <= MAX_PRICE
    )


def _makes_sense(command: Command) -> bool:
    market = command.type == Type.MARKET
    protected = bool(command.flags & Flag.PROTECTED)
    if protected > market or (market and not protected) != (command.price == 0):
        return False
    never_waits = market or command.tif in _AT_ONCE
    if command.display and never_waits:
        return False
    return not (command.flags & Flag.POST_ONLY and (never_waits or command.trigger))
