"""How a declared error becomes bytes: its code, and the arguments of its constructor."""

import inspect
from functools import lru_cache
from inspect import Parameter
from typing import Any, Final, cast, get_type_hints

from pydantic_core import SchemaValidator

from archstone.data import mutable_parts
from archstone.errors import ConfigError, DomainError
from archstone.services.parameters import adapter_of

__all__ = ["ErrorCodec", "error_codec"]

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class ErrorCodec:
    """The arguments of one declared error, to and from bytes.

    A class with a constructor of its own names and annotates what it carries. One without is raised with at most
    one text: `OrderClosed("it has been shipped")`.
    """

    __slots__ = ("_serializer", "_validator", "error", "fields")

    def __init__(self, error: type[DomainError]) -> None:
        self.error = error
        self.fields = _constructor_fields(error)
        """Name and type of each constructor argument, in order."""
        types = tuple(annotation for _, annotation in self.fields)
        adapter = adapter_of(cast("Any", tuple)[types] if _has_constructor(error) else tuple[str, ...])
        self._serializer = adapter.serializer
        self._validator = cast("SchemaValidator", adapter.validator)

    def encode(self, error: DomainError) -> bytes:
        """Return the JSON array of the constructor's arguments; a ValueError if they have not the right types."""
        return self._serializer.to_json(error.args, by_alias=True, warnings="error")

    def decode(self, encoded: bytes) -> DomainError:
        """Return the error built again from its arguments."""
        return self.error(*cast("tuple[object, ...]", self._validator.validate_json(encoded)))

    def named(self, error: DomainError) -> dict[str, object]:
        """Return the arguments by name, in JSON form."""
        plain = cast("list[object]", self._serializer.to_python(error.args, mode="json", by_alias=True))
        return {name: value for (name, _), value in zip(self.fields, plain, strict=False)}


@lru_cache(maxsize=1024)
def error_codec(error: type[DomainError]) -> ErrorCodec:
    """Return the codec of an error: one for all operations that declare it.

    Raises:
        ConfigError: It cannot be built again from its arguments.
    """
    return ErrorCodec(error)


def _has_constructor(error: type[DomainError]) -> bool:
    return error.__init__ is not DomainError.__init__


def _constructor_fields(error: type[DomainError]) -> tuple[tuple[str, object], ...]:
    if not _has_constructor(error):
        return ()
    hints = get_type_hints(error.__init__, include_extras=True)
    fields: list[tuple[str, object]] = []
    faults: list[str] = []
    for parameter in list(inspect.signature(error.__init__).parameters.values())[1:]:
        name, where = parameter.name, f"{error.__name__}, argument {parameter.name}"
        if parameter.kind not in _POSITIONAL or name not in hints:
            faults.append(f"{where}: cannot be built again on the other side: make it positional and annotate it")
        else:
            faults += mutable_parts(hints[name], where)
            fields.append((name, hints[name]))
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(fields)
