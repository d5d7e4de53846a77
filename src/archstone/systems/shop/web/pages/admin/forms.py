"""What administrators type, checked, with words beside each field that is wrong.

What a contract allows is the contract's to say: the fields have its types, and here are the words.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from archstone.systems.shop.catalog.contract import CategoryId
from archstone.systems.shop.inventory.administration import MAX_PIECES
from archstone.systems.shop.values import SKU, Reason, VisibleText
from archstone.systems.shop.web.exchange import Request
from archstone.systems.shop.web.forms import Filled, shown_again
from archstone.systems.shop.web.pages.admin.frame import key_of

__all__ = [
    "AppForm",
    "ArrivalForm",
    "ClosingForm",
    "CorrectionForm",
    "NewProductForm",
    "ProductForm",
    "RefundForm",
    "RetireForm",
    "read",
    "read_keyed",
]

F = TypeVar("F", bound=BaseModel)

_WORDS: Final = {
    "how": "Please choose what the number says.",
    "number": f"Please enter a whole number of at most {MAX_PIECES:,}.",
    "quantity": f"Please enter a whole number from 1 to {MAX_PIECES:,}.",
    "sku": "Please enter 3 to 20 capital letters, digits and dashes, such as KIT-001.",
    "name": "Please enter a name of at most 100 characters.",
    "category": "Please choose a shelf.",
    "price": "Please enter a price such as 12.50.",
    "currency": "Please enter three capital letters, such as EUR.",
    "description": "Please enter at most 5,000 characters.",
    "pieces": f"Please enter a whole number from 0 to {MAX_PIECES:,}.",
    "redirect_uris": "Please enter at least one address.",
    "kind": "Please choose where it runs.",
    "reason": "Please say why, in at most 300 characters: it is kept.",
}
_TEXT: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""Anything but control characters other than line breaks and tabs, as in the catalog."""
Version = Annotated[int, Field(ge=1, le=2**53)]
_NO_KEY: Final = "Please send the form once more."
_OTHER: Final = "This is not what was expected here: please go back and start again."


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True)


class AppForm(_Form):
    """An app of others."""

    name: VisibleText
    redirect_uris: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    """Parted by blanks; the server checks each."""
    kind: Literal["server", "device"]


class ClosingForm(_Form):
    """An account that is closed."""

    reason: Reason


class CorrectionForm(_Form):
    """The books put right."""

    how: Literal["counted", "difference"]
    number: Annotated[int, Field(ge=-MAX_PIECES, le=MAX_PIECES)]
    """What was counted, at least 0, or the difference, not 0; the service refuses others."""
    reason: Reason


class RefundForm(_Form):
    """Money that is given back."""

    amount: Annotated[str, StringConstraints(max_length=20)] = ""
    """As it is typed. Empty: all that is left."""
    reason: Reason


class _Described(_Form):
    name: VisibleText
    category: CategoryId
    price: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    """As it is typed."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    description: Annotated[str, StringConstraints(max_length=5_000, pattern=_TEXT)] = ""

    @property
    def text(self) -> str:
        """The description with plain line breaks; a browser sends others."""
        return self.description.replace("\r\n", "\n")


class NewProductForm(_Described):
    """A product that is not there yet."""

    sku: SKU
    pieces: Annotated[int, Field(ge=0, le=MAX_PIECES)] = 0


class ProductForm(_Described):
    """A product as it shall be."""

    version: Version


class RetireForm(_Form):
    """A product that is taken off the shelf, or put back."""

    version: Version


class ArrivalForm(_Form):
    """Goods that have arrived."""

    quantity: Annotated[int, Field(ge=1, le=MAX_PIECES)]


def read(form: type[F], typed: Mapping[str, str]) -> F | Filled:
    """Return the form's value, or the form to show again."""
    try:
        return form.model_validate(dict(typed))
    except ValidationError as error:
        faults = {name: _WORDS.get(name, _OTHER) for name in (str(each["loc"][0]) for each in error.errors())}
        return Filled(shown_again(typed), faults)


def read_keyed(form: type[F], request: Request) -> tuple[F, str] | Filled:
    """Return the form's value and the key that came with it, or the form to show again."""
    found, key = read(form, request.form), key_of(request)
    if isinstance(found, Filled):
        return found
    return (found, key) if key is not None else Filled(shown_again(request.form), {"": _NO_KEY})
