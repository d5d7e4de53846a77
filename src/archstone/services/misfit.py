"""Say in our words how a value misses the type that it is encoded as. Only for what has failed: it parses texts."""

import re
from typing import Final

from pydantic import ValidationError

__all__ = ["misfit"]

_EXPECTED: Final = re.compile(r"Expected `(.+?)`(?: - |\s|$)")
_FIELD: Final = re.compile(r"\[field_name='([^']*)'")
_GOT: Final = re.compile(r"input_type=([^\],]+)\]")
_INSTEAD: Final = {
    "list": "make it a tuple: tuple(...)",
    "set": "make it a frozenset: frozenset(...)",
    "dict": "make the model of it: Model(**...)",
    "NoneType": "return a value, or say in the contract that there may be None",
}
_OTHERWISE: Final = "return what the contract says, or change the contract"


def misfit(error: ValueError) -> str:
    """Return the place, the type that is expected there, the type that is there, and what to do.

    Args:
        error: Of pydantic: from the serializer, or from reading back what it wrote. Its text holds the value, which
            may be a secret; the text returned here does not.
    """
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(("result", *map(str, fault["loc"])))
        got = type(fault["input"]).__name__
        return f"{place}: {fault['msg']}, got {got}: {_INSTEAD.get(got, _OTHERWISE)}"
    text = str(error)
    expected, field, found = _EXPECTED.search(text), _FIELD.search(text), _GOT.search(text)
    if expected is None or found is None:
        return f"{text.partition('[')[0].strip()}: {_OTHERWISE}"
    place = f"result, field {field[1]}" if field else "result"
    return f"{place}: expected {expected[1]}, got {found[1]}: {_INSTEAD.get(found[1], _OTHERWISE)}"
