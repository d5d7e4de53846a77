"""Amounts as they are typed: with a point or a comma, in the units of their currency."""

import re
from typing import Final

from archstone.systems.shop.values import MAX_MINOR_UNITS, Money, minor_digits

__all__ = ["minor_units", "typed"]

_AMOUNT: Final = re.compile(r"([0-9]{1,10})(?:[.,]([0-9]{1,4}))?")


def minor_units(text: str, currency: str) -> int | None:
    """Return an amount above 0 in minor units. None: the text is none, or has more digits than the currency."""
    found, digits = _AMOUNT.fullmatch(text), minor_digits(currency)
    if found is None or len(found[2] or "") > digits:
        return None
    amount = int(found[1] + (found[2] or "").ljust(digits, "0"))
    return amount if 0 < amount <= MAX_MINOR_UNITS else None


def typed(money: Money) -> str:
    """Return an amount as one would type it."""
    digits = minor_digits(money.currency)
    whole, rest = divmod(money.amount, 10**digits)
    return f"{whole}.{rest:0{digits}d}" if digits else str(whole)
