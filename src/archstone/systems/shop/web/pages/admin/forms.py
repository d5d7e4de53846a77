"""What administrators type, checked, with words beside each field that is wrong.

What a contract allows is the contract's to say: the fields have its types, and here are the words.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from archstone.systems.shop.inventory.administration import MAX_PIECES, Reason
from archstone.systems.shop.web.forms import Filled, shown_again

__all__ = ["ArrivalForm", "ClosingForm", "CorrectionForm", "RefundForm", "read"]

F = TypeVar("F", bound=BaseModel)

_WORDS: Final = {
    "how": "Please choose what the number says.",
    "number": f"Please enter a whole number of at most {MAX_PIECES:,}.",
    "quantity": f"Please enter a whole number from 1 to {MAX_PIECES:,}.",
    "reason": "Please say why, in at most 300 characters: it is kept.",
}
_OTHER: Final = "This is not what was expected here: please go back and start again."


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True)


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
