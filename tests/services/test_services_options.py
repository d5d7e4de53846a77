"""A system takes the options that it declares, with their defaults and choices, and no others."""

import pytest

from archstone.errors import ConfigError
from archstone.services import Contract, Option, Service, System, command, option_fault, option_values

DECLARED = (
    Option("parcels", about="How fast parcels come.", default="slow", choices=("slow", "fast")),
    Option("mailer", about="Where mails go.", default="files"),
    Option("bank_*", about="Options of the bank's plug-in."),
)


class Lamp(Contract, version="1.0"):
    @command("/on")
    async def turn_on(self) -> None: ...


class LampService(Service, Lamp, name="lamp"):
    async def turn_on(self) -> None: ...


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("parcels", "fast", None),
        ("mailer", "anything at all", None),
        ("bank_url", "x", None),
        ("parcels", "quick", "take one of slow, fast"),
        ("parcel", "fast", "there is no such option, did you mean parcels; there are bank_*, mailer, parcels"),
        ("colour", "red", "there is no such option; there are bank_*, mailer, parcels"),
        ("bank_", "x", "there is no such option, did you mean bank_*; there are bank_*, mailer, parcels"),
    ],
)
def test_an_option_that_does_not_fit_is_told_with_what_there_is(name: str, value: str, told: str | None) -> None:
    assert option_fault(DECLARED, name, value) == told


def test_what_is_not_given_has_its_default() -> None:
    assert option_values(DECLARED, {"bank_url": "x", "parcels": "fast"}) == {
        "parcels": "fast",
        "mailer": "files",
        "bank_url": "x",
    }
    assert option_values((), {}) == {}


def test_all_that_do_not_fit_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"option parcel='fast': there is no .*; option mail='x': there is no such"):
        option_values(DECLARED, {"parcel": "fast", "mail": "x"})
    with pytest.raises(ConfigError, match="there is no such option; the system has none"):
        option_values((), {"a": "b"})


@pytest.mark.parametrize("name", ["", "Upper", "with-dash", "*", "a*b", "1st"])
def test_a_name_that_cannot_be_set_from_everywhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="lower case letters, digits and underscores"):
        Option(name, about="x")


def test_a_default_is_one_of_the_choices() -> None:
    with pytest.raises(ConfigError, match="its default 'a' is not one of its choices, b, c"):
        Option("x", about="x", default="a", choices=("b", "c"))


def test_a_system_declares_an_option_once() -> None:
    assert System("lamp", services=[LampService]).options == ()
    assert System("lamp", services=[LampService], options=DECLARED).options == DECLARED
    with pytest.raises(ConfigError, match="option 'mailer' is declared twice"):
        System("lamp", services=[LampService], options=(*DECLARED, DECLARED[1]))
