"""Money, addresses, lines and e-mail addresses refuse what they must never hold."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from archstone.systems.shop.unseen import without_unseen
from archstone.systems.shop.values import Address, Email, Line, Money, TooManyError, VisibleText, merged

amounts = st.integers(0, 10**11)
email = TypeAdapter(Email)


@given(amounts, amounts)
def test_money_adds_without_losing_a_cent(one: int, other: int) -> None:
    assert (Money(amount=one) + Money(amount=other)).amount == one + other


@given(st.integers(0, 10**6), st.integers(1, 99))
def test_money_times_a_quantity_is_adding_it_as_often(amount: int, quantity: int) -> None:
    total = Money(amount=0)
    for _ in range(quantity):
        total += Money(amount=amount)
    assert Money(amount=amount).times(quantity) == total


def test_money_of_two_currencies_is_never_added() -> None:
    with pytest.raises(ValueError, match="cannot add USD to EUR"):
        Money(amount=1) + Money(amount=1, currency="USD")


@pytest.mark.parametrize("amount", [-1, 10**12 + 1, 1.5, "x"])
def test_money_refuses_what_is_no_amount(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount": amount})


def test_money_reads_as_people_write_it() -> None:
    assert str(Money(amount=1999)) == "19.99 EUR"
    assert str(Money(amount=5)) == "0.05 EUR"


@pytest.mark.parametrize("quantity", [0, 100, -1])
def test_a_line_holds_one_to_ninety_nine_pieces(quantity: int) -> None:
    with pytest.raises(ValidationError):
        Line(sku="KIT-001", quantity=quantity)


def test_lines_of_one_product_become_one() -> None:
    lines = (Line(sku="KIT-001", quantity=2), Line(sku="DES-001", quantity=1), Line(sku="KIT-001", quantity=3))
    assert merged(lines) == (Line(sku="KIT-001", quantity=5), Line(sku="DES-001", quantity=1))


def test_together_they_stay_below_a_hundred() -> None:
    with pytest.raises(TooManyError) as caught:
        merged((Line(sku="KIT-001", quantity=60), Line(sku="KIT-001", quantity=40)))
    assert str(caught.value) == "100 of KIT-001 are asked for, the limit is 99: place several orders"


@pytest.mark.parametrize("name", ["", " Ann", "Ann\nBcc: all@example.com", "x" * 101, "\x00"])
def test_an_address_is_safe_in_a_line_of_mail(name: str) -> None:
    with pytest.raises(ValidationError):
        Address(name=name, street="Mill Lane 1", city="Tarn", postcode="1", country="DE")


@pytest.mark.parametrize("code", [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200E, 0x85, 0xAD, 0xFEFF])
def test_nothing_unseen_comes_along_with_a_name(code: int) -> None:
    typed = f"{chr(code)}Ann{chr(code)} Alder"
    address = Address(name=typed, street=typed, city=typed, postcode=typed, country="DE")
    assert {address.name, address.street, address.city, address.postcode} == {"Ann Alder"}
    with pytest.raises(ValidationError):
        Address(name=chr(code), street="Mill Lane 1", city="Tarn", postcode="1", country="DE")


JOINED = ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937", "\U0001f469\u200d\U0001f680")


@pytest.mark.parametrize("name", JOINED, ids=["Persian", "Hindi", "emoji"])
def test_joiners_stay_where_they_join(name: str) -> None:
    assert without_unseen(name) == name
    assert without_unseen(f"{name}\u200d\u200c \u200dA\u200cnn") == f"{name} Ann"


@pytest.mark.parametrize("text", ["ann", "ann@", "@example.com", "ann@localhost", "a@b@example.com", "a" * 300])
def test_what_could_receive_no_mail_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        email.validate_python(text)


def test_addresses_are_lower_case() -> None:
    assert email.validate_python("Ann@Example.COM") == "ann@example.com"


@pytest.mark.parametrize(
    "text", ["\u0093", "\u200d\u200c", "\u200b Ann", " Ann", "Ann\n", "A\x00nn", "\U000e0001", "\u2028"]
)
def test_a_text_of_which_nothing_is_left_is_refused_in_words_and_by_its_schema(text: str) -> None:
    texts = TypeAdapter(VisibleText)
    with pytest.raises(ValidationError, match="begin with a character that can be seen"):
        texts.validate_python(text)
    assert re.fullmatch(texts.json_schema()["pattern"], text) is None


@pytest.mark.parametrize("text", ["Ann", "\u200bAnn", "A\u202enn", "\u0915\u200d\u0937", "\x85A"])
def test_a_text_of_which_something_is_left_fits_its_schema(text: str) -> None:
    texts = TypeAdapter(VisibleText)
    assert texts.validate_python(text) == without_unseen(text)
    assert re.fullmatch(texts.json_schema()["pattern"], text)
