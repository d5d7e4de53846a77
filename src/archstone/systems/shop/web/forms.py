"""What people type into the forms, checked, with words beside each field that is wrong.

What a contract allows is the contract's to say: the fields have its types. Here are the words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from archstone.systems.shop.notifications.mail import Language
from archstone.systems.shop.users.contract import Theme
from archstone.systems.shop.users.proving import Code, NewPassword, OfferedPassword, PasskeyAnswer, Ticket
from archstone.systems.shop.values import SKU, Address, Email, Line, Money, VisibleText

__all__ = [
    "CARDS",
    "COUNTRIES",
    "AppForm",
    "CheckoutForm",
    "CodeForm",
    "DeletionForm",
    "EmailForm",
    "Filled",
    "KeyForm",
    "LineForm",
    "LoginForm",
    "NameForm",
    "NewPasskeyForm",
    "PasskeyForm",
    "PasswordForm",
    "PreferencesForm",
    "ProofForm",
    "RegisterForm",
    "ResetForm",
    "SignUpForm",
    "TicketForm",
    "checked",
    "fields_of",
    "lines_text",
    "shown_again",
]

F = TypeVar("F", bound=BaseModel)

MOST_FIELDS: Final = 50
SECRET: Final = frozenset({"password", "current", "new", "code", "ticket", "offer", "ceremony", "answer"})
"""Fields that are neither trimmed nor shown again."""

COUNTRIES: Final = {
    "AT": "Austria", "BE": "Belgium", "BG": "Bulgaria", "CA": "Canada", "CH": "Switzerland", "CY": "Cyprus",
    "CZ": "Czechia", "DE": "Germany", "DK": "Denmark", "EE": "Estonia", "ES": "Spain", "FI": "Finland",
    "FR": "France", "GB": "United Kingdom", "GR": "Greece", "HR": "Croatia", "HU": "Hungary", "IE": "Ireland",
    "IS": "Iceland", "IT": "Italy", "LI": "Liechtenstein", "LT": "Lithuania", "LU": "Luxembourg", "LV": "Latvia",
    "MT": "Malta", "NL": "Netherlands", "NO": "Norway", "PL": "Poland", "PT": "Portugal", "RO": "Romania",
    "SE": "Sweden", "SI": "Slovenia", "SK": "Slovakia", "US": "United States",
}  # fmt: skip
CARDS: Final = {
    "tok_ok": ("A card that pays", "The bank takes the money at once."),
    "tok_declined": ("A card that is declined", "There is not enough money on it: the order will be cancelled."),
    "tok_timeout": ("A card with a slow bank", "The bank takes the money but answers late: the order takes longer."),
    "tok_flaky": ("A card with a failing bank", "The bank does not answer twice, then pays: the shop asks again."),
}
"""Test cards, by their token: what they are called, and what happens."""

_WORDS: Final = {
    "email": "Please enter an e-mail address, such as ann@example.com.",
    "password": "Please choose a password of 8 to 200 characters.",
    "current": "Please enter the password that you have now.",
    "new": "Please choose a password of 8 to 200 characters.",
    "name": "Please enter a name of at most 100 characters.",
    "street": "Please enter street and number, at most 100 characters.",
    "city": "Please enter a town of at most 100 characters.",
    "postcode": "Please enter a postcode of at most 20 characters.",
    "country": "Please choose a country.",
    "card": "Please choose a card.",
    "code": "Please enter the six digits of your app, or a backup code.",
    "answer": "Your device has not answered. Please try again.",
    "ceremony": "This took too long. Please try again.",
    "quantity": "Please enter a number from 0 to 99.",
    "language": "Please choose a language.",
    "theme": "Please choose a look.",
    "days": "Please choose for how long.",
}
_LINE: Final = "[A-Z0-9][A-Z0-9-]{2,19}:[1-9][0-9]?"
_OTHER: Final = "This is not what was expected here: please go back and start again."


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True)


class LoginForm(_Form):
    """Signing in."""

    email: Email
    password: OfferedPassword


class RegisterForm(_Form):
    """Registering."""

    email: Email
    name: VisibleText
    password: NewPassword


class SignUpForm(_Form):
    """Registering, for whoever has the link of a mail."""

    ticket: Ticket
    name: VisibleText
    password: NewPassword


class CodeForm(_Form):
    """The code after the password."""

    ticket: Ticket
    code: Code


class PasskeyForm(_Form):
    """Signing in with a passkey."""

    ceremony: Ticket
    answer: PasskeyAnswer


class NewPasskeyForm(PasskeyForm):
    """A passkey to register."""

    name: VisibleText


class AppForm(_Form):
    """The first code of an app."""

    offer: Ticket
    code: Code


class ProofForm(_Form):
    """Password, and a code where the account has an app."""

    password: OfferedPassword
    code: Code = ""


class EmailForm(_Form):
    """Where a link goes."""

    email: Email


class ResetForm(_Form):
    """Another password, for whoever has the link of a mail."""

    ticket: Ticket
    new: NewPassword
    code: Code = ""
    programs: Literal["", "yes"] = ""
    """Whether API keys and apps end as well."""


class TicketForm(_Form):
    """A button under the link of a mail."""

    ticket: Ticket


class NameForm(_Form):
    """Another name."""

    name: VisibleText


class PasswordForm(_Form):
    """Another password."""

    current: OfferedPassword
    new: NewPassword


class DeletionForm(_Form):
    """The end of an account."""

    password: OfferedPassword


class PreferencesForm(_Form):
    """How somebody likes the shop."""

    language: Language
    theme: Theme


class KeyForm(_Form):
    """A new API key."""

    name: VisibleText
    days: Annotated[int, Field(ge=1, le=365)]
    per_minute: Literal["", "6", "60", "600"] = ""
    """Requests a minute at most; empty: as many as any program."""


class LineForm(_Form):
    """A line of the cart."""

    sku: SKU
    quantity: Annotated[int, Field(ge=0, le=99)]


class CheckoutForm(_Form):
    """An order, with what the buyer saw when deciding."""

    name: VisibleText
    street: VisibleText
    city: VisibleText
    postcode: Annotated[VisibleText, StringConstraints(max_length=20)]
    country: Annotated[str, StringConstraints(pattern=f"^({'|'.join(COUNTRIES)})$")]
    card: Literal["tok_ok", "tok_declined", "tok_timeout", "tok_flaky"]
    key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    """Made with the form: sending it twice is one order."""
    lines: Annotated[str, StringConstraints(pattern=f"^{_LINE}(,{_LINE}){{0,49}}$")]
    """As `lines_text` writes them."""
    shown: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12} [A-Z]{3}$")]
    """The total that was shown: minor units and currency."""

    @property
    def address(self) -> Address:
        """Where the parcel goes."""
        return Address(name=self.name, street=self.street, city=self.city, postcode=self.postcode, country=self.country)

    @property
    def wanted(self) -> tuple[Line, ...]:
        """What is ordered."""
        pairs = [each.split(":") for each in self.lines.split(",")]
        return tuple(Line(sku=sku, quantity=int(quantity)) for sku, quantity in pairs)

    @property
    def total(self) -> Money:
        """What the buyer was told that it costs."""
        amount, currency = self.shown.split()
        return Money(amount=int(amount), currency=currency)


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as it is shown: what was typed, and what is wrong with it."""

    typed: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: Mapping[str, str] = field(default_factory=dict[str, str])
    """By field, in words. Under the empty name: about the form as a whole."""

    def with_fault(self, where: str, words: str) -> "Filled":
        """Return the same form with one more fault."""
        return Filled(self.typed, {**self.faults, where: words})


def fields_of(body: bytes) -> dict[str, str]:
    """Return what a form has sent, the first value of each field.

    Raises:
        ValueError: it has more than 50 fields.
    """
    text = body.decode("utf-8", "replace")
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    return {name: value if name in SECRET else value.strip() for name, value in reversed(pairs)}


def checked(form: type[F], typed: Mapping[str, str]) -> F | Filled:
    """Return the form's value, or the form to show again."""
    try:
        return form.model_validate(dict(typed))
    except ValidationError as error:
        faults = {name: _WORDS.get(name, _OTHER) for name in (str(each["loc"][0]) for each in error.errors())}
        return Filled(shown_again(typed), faults)


def shown_again(typed: Mapping[str, str]) -> dict[str, str]:
    """Return what may stand in the form when it is shown again."""
    return {name: value for name, value in typed.items() if name not in SECRET}


def lines_text(lines: tuple[Line, ...]) -> str:
    """Return lines as a hidden field carries them."""
    return ",".join(f"{line.sku}:{line.quantity}" for line in lines)
