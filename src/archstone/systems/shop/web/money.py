"""Prices as their reader writes numbers: separators and the place of the currency, for the languages named here.

Not for sorting, dates or words: a table of some lines in place of a library of 30 MB. Who reads none of these
languages sees English numbers.

A language of a country that is not listed is written as at home: `es-MX` as `es`. The tests hold each locale against
the CLDR's own data.

Source: Unicode CLDR 48, `numbers/symbols`, `currencyFormats/standard`, `currencies` and `minimumGroupingDigits`.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from archstone.systems.shop.values import MAX_MINOR_UNITS, Money, minor_digits

__all__ = ["Locale", "locale_of", "many", "total_of", "written"]

_NBSP: Final = "\u00a0"
_NARROW: Final = "\u202f"
_MINUS: Final = "\u2212"
_LONGEST: Final = 500
"""Characters of `Accept-Language` that are looked at."""
_MOST_TAGS: Final = 20
_RANGE: Final = re.compile(
    r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)(?:\s*;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?", re.ASCII | re.IGNORECASE
)


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
    minus: str = "-"
    inner_minus: str | None = None
    """What parts the currency from the number where the sign stands between them. None: it stands before both."""
    symbols: Mapping[str, str] = MappingProxyType({})
    """Where they are others than in English. A currency's own code: it has none here."""


def _symbols(text: str) -> Mapping[str, str]:
    """Return `USD=US$ JPY` as a mapping; a code that stands alone is its own symbol."""
    pairs = (word.partition("=") for word in text.split())
    return MappingProxyType({code: symbol or code for code, _, symbol in pairs})


_ENGLISH: Final = Locale("en")
_COMMA_AFTER: Final = _ENGLISH._replace(decimal=",", group=".", before=False, space=_NBSP)
_COMMA_BEFORE: Final = _COMMA_AFTER._replace(before=True)
_SPACED: Final = _COMMA_AFTER._replace(group=_NBSP)
_FRENCH: Final = "USD=$US GBP=\u00a3GB JPY CNY CLP=$CL"
_SPANISH: Final = "USD=US$ GBP JPY BRL CNY KRW INR"
_POLISH: Final = "USD GBP JPY PLN=z\u0142 CNY KRW INR VND"
_CZECH: Final = "USD=US$ JPY=JP\u00a5 CZK=K\u010d INR VND"
_SWEDISH: Final = "USD=US$ GBP JPY DKK=Dkr SEK=kr NOK=Nkr BRL=BR$ CNY KRW INR ISK=Ikr VND"
_US_JP: Final = _symbols("USD=US$ JPY=JP\u00a5")
_LOCALES: Final = {
    locale.tag: locale
    for locale in (
        _ENGLISH,
        _COMMA_AFTER._replace(tag="de"),
        _COMMA_BEFORE._replace(tag="de-at"),
        Locale("de-ch", ".", "'", space=_NBSP, inner_minus="", symbols=_symbols("EUR")),
        _COMMA_AFTER._replace(tag="fr", group=_NARROW, symbols=_symbols(_FRENCH)),
        _COMMA_AFTER._replace(tag="es", ungrouped=4, symbols=_symbols(_SPANISH)),
        _COMMA_AFTER._replace(tag="it", ungrouped=4, symbols=_symbols("USD JPY BRL KRW INR VND")),
        _COMMA_BEFORE._replace(tag="nl", inner_minus=_NBSP, symbols=_US_JP),
        _COMMA_BEFORE._replace(tag="pt", symbols=_US_JP),
        _SPACED._replace(tag="pt-pt", ungrouped=4, symbols=_US_JP),
        _SPACED._replace(tag="pl", ungrouped=4, symbols=_symbols(_POLISH)),
        _SPACED._replace(tag="cs", symbols=_symbols(_CZECH)),
        _COMMA_AFTER._replace(tag="da", symbols=_symbols("USD JPY=JP\u00a5 DKK=kr.")),
        _SPACED._replace(tag="sv", minus=_MINUS, symbols=_symbols(_SWEDISH)),
        _SPACED._replace(tag="fi", minus=_MINUS, symbols=_symbols("BRL CNY KRW INR VND")),
        Locale("ja", symbols=_symbols("JPY=\uffe5 CNY=\u5143")),
        Locale("zh", symbols=_symbols("USD=US$ JPY=JP\u00a5 CNY=\u00a5")),
    )
}
_SYMBOLS: Final = {
    "EUR": "\u20ac", "USD": "$", "GBP": "\u00a3", "JPY": "\u00a5", "BRL": "R$", "CNY": "CN\u00a5", "KRW": "\u20a9",
    "INR": "\u20b9", "VND": "\u20ab",
}  # fmt: skip
"""A currency that is not named is written as its code, which nobody mistakes."""


@lru_cache(maxsize=1024)
def locale_of(accept_language: str) -> Locale:
    """Return the first language of the header that is known, by preference; English if none is."""
    ranges = [_RANGE.fullmatch(part.strip()) for part in accept_language[:_LONGEST].split(",")[:_MOST_TAGS]]
    wanted = [(-float(found[2] or 1), found[1].lower()) for found in ranges if found is not None]
    for _, tag in sorted((each for each in wanted if each[0] < 0), key=lambda each: each[0]):
        locale = _nearest(tag)
        if locale is not None:
            return locale
    return _ENGLISH


def _nearest(tag: str) -> Locale | None:
    """Return the locale of a tag, or of its longest beginning that has one (RFC 4647, lookup)."""
    while tag:
        if (locale := _LOCALES.get(tag)) is not None:
            return locale
        tag = tag.rpartition("-")[0]
    return None


def written(money: Money, locale: Locale) -> str:
    """Return an amount as `locale` writes it, such as `1.234,56 \u20ac`. Also one below 0."""
    number = _number(money, locale)
    symbol = locale.symbols.get(money.currency) or _SYMBOLS.get(money.currency, money.currency)
    minus = locale.minus if money.amount < 0 else ""
    if not locale.before:
        return f"{minus}{number}{locale.space}{symbol}"
    if minus and locale.inner_minus is not None:
        return f"{symbol}{locale.inner_minus}{minus}{number}"
    # What ends in a letter keeps its distance also where a sign does not.
    space = locale.space or (_NBSP if symbol[-1].isalpha() else "")
    return f"{minus}{symbol}{space}{number}"


def _number(money: Money, locale: Locale) -> str:
    digits = minor_digits(money.currency)
    whole, rest = divmod(abs(money.amount), 10**digits)
    number = str(whole) if len(str(whole)) <= locale.ungrouped else f"{whole:,}".replace(",", locale.group)
    return f"{number}{locale.decimal}{rest:0{digits}d}" if digits else number


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
