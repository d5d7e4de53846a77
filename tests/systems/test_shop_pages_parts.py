"""Parts of the pages by themselves: amounts in the reader's writing, addresses, routes, forms."""

import pytest

from archstone.gateway import client_key
from archstone.systems.shop.values import Line, Money
from archstone.systems.shop.web.forms import CheckoutForm, Filled, checked, fields_of, lines_text
from archstone.systems.shop.web.money import locale_of, written
from archstone.systems.shop.web.routes import find

EUROS = Money(amount=123456789)


@pytest.mark.parametrize(
    ("languages", "text"),
    [
        ("en", "€1,234,567.89"),
        ("de-DE,de;q=0.9", "1.234.567,89\u00a0€"),
        ("de-AT", "€\u00a01.234.567,89"),
        ("de-CH", "EUR\u00a01'234'567.89"),
        ("fr-FR", "1\u202f234\u202f567,89\u00a0€"),
        ("nl", "€\u00a01.234.567,89"),
        ("sv-SE", "1\u00a0234\u00a0567,89\u00a0€"),
        ("ja", "€1,234,567.89"),
        ("tlh,*", "€1,234,567.89"),
        ("tlh, fr;q=0.3, de;q=0.8", "1.234.567,89\u00a0€"),
        ("de;q=0, fr;q=0.1", "1\u202f234\u202f567,89\u00a0€"),
        ("", "€1,234,567.89"),
        (";;;q=,,--", "€1,234,567.89"),
        ("de" * 5_000, "€1,234,567.89"),
    ],
)
def test_an_amount_is_written_as_the_reader_writes_it(languages: str, text: str) -> None:
    assert written(EUROS, locale_of(languages)) == text


def test_spanish_groups_begin_at_five_digits() -> None:
    spanish = locale_of("es")
    assert written(Money(amount=123450), spanish) == "1234,50\u00a0€"
    assert written(Money(amount=1234500), spanish) == "12.345,00\u00a0€"


def test_a_currency_has_its_own_digits_and_a_code_keeps_its_distance() -> None:
    english = locale_of("en")
    assert written(Money(amount=1500, currency="JPY"), english) == "¥1,500"
    assert written(Money(amount=1500, currency="KWD"), english) == "KWD\u00a01.500"
    assert written(Money(amount=5, currency="SEK"), locale_of("sv")) == "0,05\u00a0kr"


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (("192.0.2.7", 1), "address:192.0.2.7"),
        (("2001:db8:1:2:3::4", 1), "address:2001:db8:1:2::/64"),
        (("::ffff:192.0.2.7", 1), "address:192.0.2.7"),
        (("fe80::1%eth0", 1), "address:fe80::/64"),
        (("unix", 0), "address:unix"),
        (None, "address:unknown"),
    ],
)
def test_a_visitor_is_counted_by_what_one_host_owns(client: tuple[str, int] | None, key: str) -> None:
    assert client_key({"client": client}) == key


def test_a_path_is_found_with_its_parts_or_not_at_all() -> None:
    found = find("/orders/" + "a" * 32)
    assert found is not None
    assert (set(found[0]), found[1]) == ({"GET"}, {"order": "a" * 32})
    for path in ("/orders/" + "A" * 32, "/orders/", "/c/", "/c/A", "/p/kit", "/cart/", "//", "", "/checkout/x\n"):
        assert find(path) is None, path


def test_the_first_value_of_a_field_counts_and_only_passwords_keep_their_spaces() -> None:
    assert fields_of(b"name=+Ann+&name=Bob&password=+x+&empty=") == {"name": "Ann", "password": " x ", "empty": ""}


def test_the_lines_of_a_form_come_back_as_they_were() -> None:
    lines = (Line(sku="KIT-001", quantity=1), Line(sku="A-99", quantity=99))
    typed = {
        "name": "A", "street": "B", "city": "C", "postcode": "1", "country": "DE", "card": "tok_ok", "key": "0" * 32,
        "lines": lines_text(lines), "shown": "100 EUR",
    }  # fmt: skip
    form = checked(CheckoutForm, typed)
    assert isinstance(form, CheckoutForm)
    assert form.wanted == lines
    assert form.total == Money(amount=100)
    for field, wrong in (
        ("lines", "KIT-001:0"), ("lines", ",".join(["KIT-001:1"] * 51)), ("lines", "KIT-001:100"), ("lines", "-A-:1"),
        ("shown", "-1 EUR"), ("shown", "9999999999999 EUR"), ("card", "tok_other"), ("key", "0" * 31),
    ):  # fmt: skip
        again = checked(CheckoutForm, {**typed, field: wrong})
        assert isinstance(again, Filled), (field, wrong)
        assert field in again.faults
