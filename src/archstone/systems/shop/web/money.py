"""Prices as their reader writes numbers: separators and the place of the currency, for the languages named here.

Not for sorting, dates or words: a table of some lines in place of a library of 30 MB. Who reads none of these
languages sees English numbers.

Source: Unicode CLDR 45, `numbers/symbols`, `currencyFormats/standard` and `minimumGroupingDigits`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from archstone.systems.shop.values import MAX_MINOR_UNITS, Money

__all__ = ["Locale", "locale_of", "many", "total_of", "written"]

_NBSP: Final = "\u00a0"
_NARROW: Final = "\u202f"
_LONGEST: Final = 500
"""Characters of `Accept-Language` that are looked at."""
_MOST_TAGS: Final = 20
_RANGE: Final = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)(?:\s*;\s*q=([01](?:\.\d{0,3})?))?")


class Locale(NamedTuple):
    """How somebody writes an amount."""

    tag: str
    decimal: str = "."
    group: str = ","
    before: bool = True
    """Whether the currency stands before the number."""
    space: str = ""
    """Between the currency and the number."""
    ungrouped: int = 3
    """Digits before the decimal that are written without groups."""


_ENGLISH: Final = Locale("en")
_LOCALES: Final = {
    locale.tag: locale
    for locale in (
        _ENGLISH,
        Locale("de", ",", ".", before=False, space=_NBSP),
        Locale("de-at", ",", _NBSP, before=True, space=_NBSP),
        Locale("de-ch", ".", "\u2019", before=True, space=_NBSP),
        Locale("fr", ",", _NARROW, before=False, space=_NBSP),
        Locale("es", ",", ".", before=False, space=_NBSP, ungrouped=4),
        Locale("it", ",", ".", before=False, space=_NBSP),
        Locale("nl", ",", ".", before=True, space=_NBSP),
        Locale("pt", ",", ".", before=True, space=_NBSP),
        Locale("pt-pt", ",", _NBSP, before=False, space=_NBSP, ungrouped=4),
        Locale("pl", ",", _NBSP, before=False, space=_NBSP, ungrouped=4),
        Locale("cs", ",", _NBSP, before=False, space=_NBSP),
        Locale("da", ",", ".", before=False, space=_NBSP),
        Locale("sv", ",", _NBSP, before=False, space=_NBSP),
        Locale("fi", ",", _NBSP, before=False, space=_NBSP),
        Locale("ja"),
        Locale("zh"),
    )
}
_SYMBOLS: Final = {"EUR": "\u20ac", "USD": "$", "GBP": "\u00a3", "JPY": "\u00a5"}
_DIGITS: Final = {
    "JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "KWD": 3, "BHD": 3, "OMR": 3, "JOD": 3, "TND": 3,
}  # fmt: skip
"""Digits of the minor unit where it is not two (ISO 4217)."""


@lru_cache(maxsize=1024)
def locale_of(accept_language: str) -> Locale:
    """Return the first language of the header that is known, by preference; English if none is."""
    ranges = [_RANGE.fullmatch(part.strip()) for part in accept_language[:_LONGEST].split(",")[:_MOST_TAGS]]
    wanted = [(-float(found[2] or 1), found[1].lower()) for found in ranges if found is not None]
    for _, tag in sorted((each for each in wanted if each[0] < 0), key=lambda each: each[0]):
        locale = _LOCALES.get(tag) or _LOCALES.get(tag.partition("-")[0])
        if locale is not None:
            return locale
    return _ENGLISH


def written(money: Money, locale: Locale) -> str:
    """Return an amount as `locale` writes it, such as `1.234,56 \u20ac`."""
    digits = _DIGITS.get(money.currency, 2)
    whole, rest = divmod(money.amount, 10**digits)
    number = str(whole) if len(str(whole)) <= locale.ungrouped else f"{whole:,}".replace(",", locale.group)
    if digits:
        number += f"{locale.decimal}{rest:0{digits}d}"
    symbol = _SYMBOLS.get(money.currency)
    # A code of letters keeps its distance also where a symbol does not.
    space = locale.space or ("" if symbol else _NBSP)
    symbol = symbol or money.currency
    return f"{symbol}{space}{number}" if locale.before else f"{number}{space}{symbol}"


def many(price: Money, quantity: int) -> Money:
    """Return what so many pieces cost, to be shown: also where that is more than an order may cost."""
    return Money.model_construct(amount=price.amount * quantity, currency=price.currency)


def total_of(amounts: Iterable[Money]) -> Money | None:
    """Return the sum. None: there is nothing, the currencies differ, or it is more than an order may cost."""
    found = list(amounts)
    total = sum(amount.amount for amount in found)
    if len({amount.currency for amount in found}) != 1 or total > MAX_MINOR_UNITS:
        return None
    return Money(amount=total, currency=found[0].currency)
