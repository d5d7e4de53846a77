"""Whole ticks, and what people read and type."""

import pytest

from archstone.errors import ConfigError
from archstone.systems.exchange.instruments import INSTRUMENTS, Instruments, money


@pytest.mark.parametrize("about", INSTRUMENTS.all, ids=lambda about: about.symbol)
def test_what_is_shown_can_be_typed(about) -> None:
    for ticks in (1, 2, 7, 19, 20, 99, 100, 12_345, about.opening, 2**31 - 1):
        assert about.ticks(about.price(ticks)) == ticks


@pytest.mark.parametrize(
    ("symbol", "text"),
    [("ACME", "100.001"), ("BTX", "1.5"), ("ACME", "0"), ("ACME", "-1"),
     ("ACME", "21474836.48"), ("BTX", "9" * 5_000), ("ACME", ""),
     ("ACME", "."), ("ACME", "1e3"), ("ACME", "٣"), ("ACME", "1.2.3")],
)  # fmt: skip
def test_what_is_no_price_of_whole_ticks_is_refused(symbol: str, text: str) -> None:
    about = INSTRUMENTS.named(symbol)
    assert about is not None
    with pytest.raises(ValueError, match="is no"):
        about.ticks(text)


@pytest.mark.parametrize(("symbol", "text"), [("CUMU", "1.01"), ("COPR", "0.25")])
def test_a_price_between_two_ticks_is_named(symbol: str, text: str) -> None:
    about = INSTRUMENTS.named(symbol)
    assert about is not None
    with pytest.raises(ValueError, match=f"is not a multiple of {about.price(1)}"):
        about.ticks(text)


@pytest.mark.parametrize(
    ("symbol", "lots", "cost", "entry"),
    [("ACME", 10, 100_550, "100.55"), ("ACME", 3, 30_001, "100.00"), ("ACME", 2, 20_001, "100.01"),
     ("ACME", -4, -40_200, "100.50"), ("COPR", 2, 500 * 36_801, "9,200.50"), ("BTX", 1, 64_000, "64,000"),
     ("ACME", 0, 0, "")],
)  # fmt: skip
def test_a_position_began_at_what_its_lots_cost_on_average(symbol: str, lots: int, cost: int, entry: str) -> None:
    about = INSTRUMENTS.named(symbol)
    assert about is not None
    assert about.entry(lots, cost) == entry


def test_money_is_written_with_two_decimals() -> None:
    assert [money(each) for each in (0, 5, -5, 123_456_789, -100)] == ["0.00", "0.05", "-0.05", "1,234,567.89", "-1.00"]


def test_two_instruments_of_one_book_are_refused() -> None:
    with pytest.raises(ConfigError):
        Instruments(INSTRUMENTS.all[0], INSTRUMENTS.all[0])
