"""The shop's own table of locales against the data of the Unicode CLDR, as Babel carries them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from babel import Locale as Cldr
from babel.core import get_global
from babel.dates import format_datetime
from babel.numbers import format_currency

from archstone.systems.shop.importing.prices import read_price
from archstone.systems.shop.values import Money, minor_digits
from archstone.systems.shop.web.money import locale_of, written
from archstone.systems.shop.web.pages.admin.amounts import minor_units, typed
from archstone.systems.shop.web.rendering import moment
from archstone.systems.shop.web.words import timeline_words

LISTED = (
    "en", "de", "de-AT", "de-CH", "fr", "es", "it", "nl", "pt", "pt-PT", "pl", "cs", "da", "sv", "fi", "ja", "zh",
)  # fmt: skip
CURRENCIES = (
    "EUR", "USD", "GBP", "JPY", "CHF", "PLN", "CZK", "DKK", "SEK", "NOK", "BRL", "CNY", "KRW", "INR", "ISK", "CLP",
    "VND", "KWD", "BHD", "OMR", "JOD", "TND",
)  # fmt: skip
AMOUNTS = (
    0, 1, 5, 99, 100, 999, 1_000, 9_999, 10_000, 99_999, 100_000, 123_450, 999_999, 1_234_500, 123_456_789, 10**12,
)  # fmt: skip
GROUPED_FROM_FIVE_DIGITS = {"es", "it", "pt-PT", "pl"}
"""Where `minimumGroupingDigits` is 2, by CLDR 48. Babel has no such data."""


def by_cldr(money: Money, tag: str) -> str:
    """What the CLDR writes. Babel leaves three of its rules out and takes apostrophes for quotes: mended here."""
    value, locale = Decimal(money.amount).scaleb(-minor_digits(money.currency)), Cldr.parse(tag, sep="-")
    short = len(str(abs(int(value)))) < (5 if tag in GROUPED_FROM_FIVE_DIGITS else 4)
    text = format_currency(value, money.currency, locale=locale, group_separator=not short)
    if locale.number_symbols["latn"]["group"] == "'":
        assert locale.currency_formats["standard"].grouping == (3, 3)
        plain = str(abs(int(value)))
        text = format_currency(value, money.currency, locale=locale, group_separator=False)
        text = text.replace(plain, f"{int(plain):,}".replace(",", "'"), 1)
    text = text.replace("-", locale.number_symbols["latn"]["minusSign"])
    # `currencySpacing`: between a digit and a currency that ends in a letter.
    return "".join(
        f"\u00a0{mark}" if mark.isdigit() and before.isalpha() else mark
        for before, mark in zip(" " + text, text, strict=False)
    )


@pytest.mark.parametrize("tag", LISTED)
def test_every_locale_writes_as_the_cldr_does(tag: str) -> None:
    assert locale_of(tag).tag == tag.lower()
    for currency in CURRENCIES:
        for amount in (*AMOUNTS, *(-amount for amount in AMOUNTS if amount)):
            money = Money.model_construct(amount=amount, currency=currency)
            assert written(money, locale_of(tag)) == by_cldr(money, tag), (tag, currency, amount)


def test_the_list_above_is_the_whole_table() -> None:
    asked = {locale_of(each.replace("_", "-")).tag for each in get_global("likely_subtags")}
    assert asked <= {tag.lower() for tag in LISTED}


def test_a_currency_has_the_decimals_of_its_coins() -> None:
    digits = {code: facts[0] for code, facts in get_global("currency_fractions").items() if code != "DEFAULT"}
    for currency, found in digits.items():
        if found > 2:
            assert minor_digits(currency) == found, currency
    # Where they are none in ISO 4217 they are none in the CLDR, which also leaves out coins that nobody uses.
    for currency in ("JPY", "KRW", "VND", "CLP", "ISK", "PYG", "UGX", "XAF", "XOF", "XPF", "RWF", "KMF", "VUV"):
        assert (minor_digits(currency), digits[currency]) == (0, 0), currency


@pytest.mark.parametrize("currency", [*CURRENCIES, "XAF", "PYG", "IQD", "LYD"])
def test_what_is_imported_typed_and_shown_is_the_same_amount(currency: str) -> None:
    money = Money(amount=123_456, currency=currency)
    plain = Decimal(123_456).scaleb(-minor_digits(currency))
    assert read_price(plain, default=currency) == (money.amount, currency)
    assert minor_units(typed(money), currency) == money.amount
    assert str(money) == f"{plain} {currency}"
    shown = written(money, locale_of("en"))
    assert Decimal("".join(mark for mark in shown if mark.isdigit() or mark == ".")) == plain


def test_the_timeline_writes_amounts_as_the_rest_of_the_page() -> None:
    german = locale_of("de")
    assert (
        timeline_words("refunded 1234.50 EUR", lambda money: written(money, german))
        == "1.234,50\u00a0\u20ac given back"
    )
    asked = timeline_words("refund of 1500 JPY asked for: a scratch", lambda money: written(money, german))
    assert asked == "1.500\u00a0\u00a5 is being given back: a scratch"


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("de-CH", "de-ch"),
        ("DE-ch", "de-ch"),
        ("de-CH-1996", "de-ch"),
        ("de-LI", "de"),
        ("fr-XX", "fr"),
        ("zh-Hant-TW", "zh"),
        ("pt-BR, pt-PT;q=0.9", "pt"),
        ("pt-PT, pt;q=0.9", "pt-pt"),
        ("*", "en"),
        ("*;q=0.5, sv;q=0.1", "sv"),
        ("en;q=0.5, de ; q=0.8", "de"),
        ("en;q=0.5, de;Q=0.8", "de"),
        ("de;q=0.123, fr;q=0.124", "fr"),
        ("nl, da", "nl"),
        ("de;q=0", "en"),
        ("de;q=0.000, fr;q=0.001", "fr"),
        ("de;q=1.5, fr;q=0.1", "fr"),
        ("de;q=-1, fr;q=x, it", "it"),
        ("de;q=0.1234, fr;q=0.1", "fr"),
        ("de_DE", "en"),
        ("de\u00e9, \x00, -, ;q=1, =", "en"),
        ("-de, de-, it", "it"),
        ("\u0661de, de;q=\u0661", "en"),
        (",".join(["xx"] * 100) + ",de", "en"),
        ("a-" * 10_000 + ",de", "en"),
        (("x" * 9 + ",") * 5 + "de", "de"),
    ],
)
def test_the_language_is_the_one_that_the_reader_likes_best(header: str, tag: str) -> None:
    assert locale_of(header).tag == tag


def test_dates_are_written_in_the_words_of_the_pages_which_are_english() -> None:
    for month in range(1, 13):
        at = datetime(2026, month, 5, 7, 8, tzinfo=UTC)
        shown = moment(at)
        assert shown == format_datetime(at, "d MMM y, HH:mm 'UTC'", locale="en"), month
