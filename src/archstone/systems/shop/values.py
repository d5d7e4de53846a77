"""The words that the services of the shop share: ids, money, addresses and lines.

All are immutable and check themselves when they are made, so that a service never sees a negative quantity or an
endless name. A value used by one service only lives in that service's contract.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from archstone.errors import DomainError
from archstone.systems.shop.unseen import SEEN, without_unseen

__all__ = [
    "SKU",
    "Address",
    "Cursor",
    "Email",
    "Line",
    "Lines",
    "Moment",
    "Money",
    "OrderId",
    "PageSize",
    "Reason",
    "RefundId",
    "TooManyError",
    "UserId",
    "Value",
    "VisibleText",
    "merged",
    "minor_digits",
]

MAX_QUANTITY: Final = 99
MAX_LINES: Final = 50
MAX_MINOR_UNITS: Final = 10**12
_MINOR_DIGITS: Final = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
         "XPF"), 0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip
"""Where they are not two, by ISO 4217."""
_IS_SEEN: Final = re.compile(SEEN).fullmatch
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII).fullmatch


def minor_digits(currency: str) -> int:
    """Return how many decimals an amount of a currency has: 2, but none for the yen and its like, 3 for some dinars."""
    return _MINOR_DIGITS.get(currency, 2)


class Value(BaseModel):
    """A model that cannot be changed once made; equal when its fields are."""

    model_config = ConfigDict(frozen=True)


def _normal_email(text: str) -> str:
    try:
        # Asking DNS would make registration wait for strangers' servers.
        found = validate_email(text, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error
    # Servers may tell Ann@ from ann@ by RFC 5321; none that people use does, and two accounts for one inbox are worse.
    return found.normalized.lower()


def _written_out(value: object) -> object:
    # Left alone, 0.5 would be half a second after the beginning of 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and _MOMENT(value)):
        return value
    raise ValueError("a moment is written as 2026-03-01T12:00:00Z")


def _seen(text: str) -> str:
    if not _IS_SEEN(text):
        raise ValueError("begin with a character that can be seen, and leave out control characters")
    return without_unseen(text)


_SEEN: Final = (AfterValidator(_seen), Field(json_schema_extra={"pattern": SEEN}))
SKU = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9-]{2,19}$")]
"""Stock keeping unit: 3 to 20 capitals, digits and hyphens."""
UserId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""32 hex digits, as `world.new_id()` makes them."""
OrderId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""32 hex digits, as `world.new_id()` makes them."""
RefundId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""32 hex digits, as `world.new_id()` makes them."""
Moment = Annotated[datetime, BeforeValidator(_written_out)]
"""A date and time as RFC 3339 writes it; without an offset it is UTC."""
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254),
    AfterValidator(_normal_email),
    Field(json_schema_extra={"format": "email"}),
]
"""An address that could receive mail, in lower case. Whether it does is not asked."""
VisibleText = Annotated[str, StringConstraints(min_length=1, max_length=100), *_SEEN]
"""1 to 100 characters, the first not blank, none a control character: safe in a line of mail or of a log.

What nobody sees is taken out (see `unseen.py`): nothing in it turns the text around it. Not refused, since it comes
along unseen when somebody pastes an address; unless nothing else is there.
"""
Reason = Annotated[str, StringConstraints(min_length=1, max_length=300), *_SEEN]
"""Why, in words: 1 to 300 characters, else as `VisibleText`."""
PageSize = Annotated[int, Field(ge=1, le=100)]
"""Items wanted at most, in [1, 100]."""
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=500)]
"""Where the page before ended. Opaque: made by the service, given back unchanged."""


class Money(Value):
    """An amount in minor units (cents) of one currency. Never a float, never negative."""

    amount: Annotated[int, Field(ge=0, le=MAX_MINOR_UNITS)]
    """Minor units, in [0, 10**12]."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    """ISO 4217 code."""

    def __add__(self, other: "Money") -> "Money":
        """Return the sum.

        Raises:
            ValueError: the currencies differ; nobody here knows a rate.
        """
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}: convert one of them first")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def times(self, quantity: int) -> "Money":
        """Return `quantity` times this amount."""
        return Money(amount=self.amount * quantity, currency=self.currency)

    def __str__(self) -> str:
        digits = minor_digits(self.currency)
        whole, rest = divmod(self.amount, 10**digits)
        return f"{whole}.{rest:0{digits}d} {self.currency}" if digits else f"{whole} {self.currency}"


class Address(Value):
    """Where a parcel goes."""

    name: VisibleText
    street: VisibleText
    city: VisibleText
    postcode: Annotated[str, StringConstraints(min_length=1, max_length=20), *_SEEN]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    """ISO 3166 code of two letters."""


class Line(Value):
    """So many of one product."""

    sku: SKU
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
    """Pieces, in [1, 99]."""


Lines = Annotated[tuple[Line, ...], Field(min_length=1, max_length=MAX_LINES)]
"""1 to 50 lines."""


class TooManyError(DomainError, code="orders.too-many", status=409):
    """More of one product than a single order may hold."""

    def __init__(self, sku: str, quantity: int) -> None:
        super().__init__(sku, quantity)
        self.sku = sku
        self.quantity = quantity

    def __str__(self) -> str:
        return f"{self.quantity} of {self.sku} are asked for, the limit is {MAX_QUANTITY}: place several orders"


def merged(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Return the lines with each product once, in the order of their first mention.

    Raises:
        TooManyError: together they ask for more than 99 of one product.
    """
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    for sku, quantity in quantities.items():
        if quantity > MAX_QUANTITY:
            raise TooManyError(sku, quantity)
    return tuple(Line(sku=sku, quantity=quantity) for sku, quantity in quantities.items())
