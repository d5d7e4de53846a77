"""Prices as people write them, into whole minor units. A price is never a float.

`$1,234.50` is 123450 of USD, `1.234,50 €` is 123450 of EUR. What can be read in two ways is refused, not guessed.
"""

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from archstone.systems.shop.values import minor_digits

__all__ = ["PriceError", "read_price"]

SIGNS: Final = {
    "US$": "USD", "A$": "AUD", "C$": "CAD", "R$": "BRL", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR",
    "₩": "KRW", "₺": "TRY", "₽": "RUB", "₪": "ILS", "₫": "VND", "฿": "THB", "₱": "PHP", "₴": "UAH", "zł": "PLN",
    "Kč": "CZK",
}  # fmt: skip
_PARTS: Final = re.compile(r"(?P<before>[^\d.,+-]*)(?P<number>[-+]?[\d.,'\u2019\s]*\d[.,]?-{0,2})(?P<after>[^\d.,]*)")
_GROUPED: Final = {
    mark: re.compile(rf"\d{{1,3}}({re.escape(mark)}\d{{2,3}})*{re.escape(mark)}\d{{3}}") for mark in ",."
}
_SPACED: Final = re.compile(r"[\s'\u2019]")
_WELL_SPACED: Final = re.compile(r"[-+]?\d{1,3}([\s'\u2019]\d{3})+([.,]\d*)?")
MAX_CHARACTERS: Final = 64


class PriceError(ValueError):
    """A text is no price; it says why, in words for a report."""


def read_price(found: object, *, default: str) -> tuple[int, str]:
    """Return an amount in minor units, at least 0 and rounded half up, and its currency.

    Args:
        found: A Decimal or an int, or text with or without sign, code and thousands separators.
        default: The currency where the text names none; ISO 4217.

    Raises:
        PriceError: it is none, or it can be read in two ways, such as `1.234`.
    """
    if isinstance(found, Decimal | int) and not isinstance(found, bool):
        return _minor(Decimal(found), default, shown=str(found)), default
    if not isinstance(found, str):
        raise PriceError(f"price {str(found)[:MAX_CHARACTERS]!r} is no number")
    text = found.strip().replace("\xa0", " ").replace("\u202f", " ")
    match = _PARTS.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        raise PriceError(f"price {found[:MAX_CHARACTERS]!r} is no number")
    currency = _currency(match["before"], match["after"], default=default, shown=found)
    try:
        value = Decimal(_plain(match["number"], shown=found))
    except InvalidOperation as error:
        raise PriceError(f"price {found!r} is no number") from error
    return _minor(value, currency, shown=found), currency


def _currency(before: str, after: str, *, default: str, shown: str) -> str:
    named = [word for word in (before.strip(" ."), after.strip(" .")) if word]
    known = {SIGNS.get(word) or _code(word) for word in named}
    if not named:
        return default
    if None in known or len(known) > 1:
        raise PriceError(f"price {shown!r} names no currency that is known, or two")
    return known.pop() or default


def _code(word: str) -> str | None:
    upper = word.upper()
    return upper if len(upper) == 3 and upper.isascii() and upper.isalpha() else None


def _plain(number: str, *, shown: str) -> str:
    """Return the number with a point for its decimals and no separators."""
    number = number.strip().rstrip("-").rstrip(".,")
    if _SPACED.search(number) and not _WELL_SPACED.fullmatch(number):
        raise PriceError(f"price {shown!r} is no number: its digits stand in odd groups")
    bare = _SPACED.sub("", number)
    marks = [mark for mark in ",." if mark in bare]
    if len(marks) == 2:
        marks.sort(key=bare.rfind)
        whole, _, decimals = bare.rpartition(marks[1])
        if marks[1] in whole:
            raise PriceError(f"price {shown!r} can be read in two ways")
        return f"{_ungrouped(whole, marks[0], shown=shown)}.{decimals}"
    return _one_mark(bare, marks[0], shown=shown) if marks else bare


def _one_mark(bare: str, mark: str, *, shown: str) -> str:
    whole, _, decimals = bare.lstrip("+-").rpartition(mark)
    if mark in whole:
        return _ungrouped(bare, mark, shown=shown)
    if len(decimals) == 3 and whole.strip("0") and len(whole) <= 3:
        # $1,299 is common; 1.299 is 1299 for one half of the world and 1.30 for the other: nobody is to guess.
        if mark == ",":
            return _ungrouped(bare, mark, shown=shown)
        raise PriceError(f"price {shown!r} can be read in two ways: write it with two decimals")
    return bare.replace(mark, ".")


def _ungrouped(bare: str, mark: str, *, shown: str) -> str:
    if not _GROUPED[mark].fullmatch(bare.lstrip("+-")):
        raise PriceError(f"price {shown!r} can be read in two ways")
    return bare.replace(mark, "")


def _minor(value: Decimal, currency: str, *, shown: str) -> int:
    # Compared before anything is scaled: 1e999999999 is a Decimal, too.
    if not value.is_finite() or value < 0:
        raise PriceError(f"price {shown[:MAX_CHARACTERS]!r} is below 0, or no number")
    if value > 10**9:
        raise PriceError(f"price {shown[:MAX_CHARACTERS]!r} is above {10**9}")
    return int(value.scaleb(minor_digits(currency)).to_integral_value(ROUND_HALF_UP))
