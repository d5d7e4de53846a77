"""How the arguments and the result of one operation become bytes, and bytes become them again.

Types are compiled once, when a contract that names them is made; the arguments of an operation as a whole when it is
first called. The canonical form is JSON with the arguments in their declared order and sets sorted: the same call
always gives the same bytes, which serve as its fingerprint.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NotRequired, cast
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaValidator, to_json
from typing_extensions import TypedDict

from archstone.services.errors import RequestInvalidError, ResultError
from archstone.services.misfit import misfit
from archstone.services.parameters import (
    Faults,
    Parameter,
    adapter_of,
    decode_text,
    encode_text,
    has_floats,
    has_sets,
    not_finite,
    told,
)

__all__ = ["ArgumentCodec", "Request", "ResultCodec"]

_MAX_FAULTS: Final = 50
_NOT_FINITE: Final = "must be a finite number"
_PLAIN: Final = frozenset({"bool", "int", "none", "str"})
"""Kinds of result that the validator, asked for their type, looks through whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of a call as an HTTP request has them."""

    target: str
    """Path with its parameters filled in and quoted, and the query string if there is one."""
    body: bytes | None
    """The JSON object of the arguments that travel in the body; None if none do."""


class ArgumentCodec:
    """The arguments of one operation, to and from bytes."""

    def __init__(self, operation: str, path: str, parameters: Sequence[Parameter]) -> None:
        self._operation = operation
        self._path = path
        self._parameters = tuple(parameters)
        self._names = tuple(each.name for each in parameters)
        self._defaults = {each.name: each.default for each in parameters if not each.required}
        self._inside = tuple(each for each in parameters if each.where == "body")
        self._outside = tuple(each for each in parameters if each.where != "body")
        self._in_order = not self._outside or not self._inside
        self._query = frozenset(each.name for each in parameters if each.where == "query")
        self._unordered = any(has_sets(each.adapter) for each in parameters)
        self._floats = tuple(each for each in parameters if has_floats(each.adapter))

    @cached_property
    def _whole(self) -> "_Fields":
        return _Fields(self._operation, self._parameters)

    @cached_property
    def _body(self) -> "_Fields":
        return _Fields(self._operation, self._inside) if self._outside else self._whole

    def decode(
        self, path: Mapping[str, str], query: Mapping[str, Sequence[str]], body: bytes | None, *, strict: bool
    ) -> dict[str, object]:
        """Return the arguments of an HTTP request, see `Operation.decode`."""
        found: dict[str, object] = {}
        faults: Faults = []
        for parameter in self._outside:
            faults += decode_text(parameter, path if parameter.where == "path" else query, found)
        if strict and query:
            faults += [(f"query.{name}", "no such parameter") for name in query if name not in self._query]
        if self._inside or (strict and body):
            try:
                inside = self._body.decode(body or b"{}", strict=strict)
            except ValidationError as error:
                faults += told(error, "body")
            else:
                found = found | inside if found else inside
        if self._floats:
            faults += self._endless(found)
        if faults:
            raise RequestInvalidError(self._operation, tuple(faults[:_MAX_FAULTS]))
        # Decoding keeps the declared order; only defaults, and parameters beside a body, have a place to find.
        return found if self._in_order and len(found) == len(self._names) else self._ordered(found)

    def encode(self, arguments: dict[str, object]) -> bytes:
        """Return the canonical JSON of `arguments`, see `Operation.encode_arguments`."""
        self._check_finite(arguments)
        try:
            if self._unordered:
                # A set has a different order in every process: the fingerprint of one call would differ.
                return to_json(_sorted_sets(self._whole.plain(arguments)), by_alias=True)
            return self._whole.encode(arguments)
        except PydanticSerializationError as error:
            raise RequestInvalidError(self._operation, (("arguments", str(error)),)) from error

    def decode_whole(self, encoded: bytes) -> dict[str, object]:
        """Return the arguments that `encode` made into bytes; unknown fields are ignored."""
        try:
            found = self._whole.decode(encoded, strict=False)
        except ValidationError as error:
            raise RequestInvalidError(self._operation, tuple(told(error, "arguments")[:_MAX_FAULTS])) from error
        return found if len(found) == len(self._names) else self._ordered(found)

    def request(self, arguments: dict[str, object]) -> Request:
        """Return `arguments` as path, query string and body, see `Operation.encode_request`."""
        self._check_finite(arguments)
        try:
            body = self._body.encode_part(arguments) if self._inside else None
            if not self._outside:
                return Request(self._path, body)
            return Request(self._target(arguments), body)
        except PydanticSerializationError as error:
            raise RequestInvalidError(self._operation, (("arguments", str(error)),)) from error

    def _target(self, arguments: Mapping[str, object]) -> str:
        target = self._path
        pairs: list[tuple[str, str]] = []
        for parameter in self._outside:
            texts = encode_text(parameter, arguments[parameter.name])
            if parameter.where == "query":
                pairs += [(parameter.name, text) for text in texts]
            elif texts == [""]:
                raise RequestInvalidError(self._operation, ((f"path.{parameter.name}", "must not be empty"),))
            else:
                target = target.replace(f"{{{parameter.name}}}", quote(texts[0], safe=""), 1)
        return f"{target}?{urlencode(pairs)}" if pairs else target

    def _check_finite(self, arguments: Mapping[str, object]) -> None:
        if self._floats and (faults := self._endless(arguments)):
            raise RequestInvalidError(self._operation, tuple(faults[:_MAX_FAULTS]))

    def _endless(self, found: Mapping[str, object]) -> Faults:
        """Return a fault for each infinity and each NaN: JSON has no word for them, and neither can be counted with."""
        return [
            (place, _NOT_FINITE)
            for each in self._floats
            for place in not_finite(found.get(each.name), f"{each.where}.{each.name}")
        ]

    def _ordered(self, found: Mapping[str, object]) -> dict[str, object]:
        whole = {**self._defaults, **found}
        return {name: whole[name] for name in self._names}


class ResultCodec:
    """The result of one operation, to and from bytes."""

    __slots__ = ("_fits", "_floats", "_operation", "_plain", "_serialize", "adapter", "decode")

    def __init__(self, operation: str, annotation: object) -> None:
        self._operation = operation
        self.adapter = adapter_of(annotation)
        validator = cast("SchemaValidator", self.adapter.validator)
        self.decode: Callable[[bytes], object] = validator.validate_json
        self._serialize = self.adapter.serializer.to_json
        self._fits = validator.isinstance_python
        self._floats = has_floats(self.adapter)
        self._plain = self.adapter.core_schema["type"] in _PLAIN

    def encode(self, value: object) -> bytes:
        """Return the JSON of `value`; a ResultError if it has not the type that the contract says."""
        if self._floats and (place := next(not_finite(value, "result"), None)) is not None:
            raise ResultError(self._operation, f"{place} {_NOT_FINITE}")
        fits = self._fits(value, strict=True)
        if fits and self._plain:
            return self._serialize(value)
        # Of a model the validator sees the class alone, and `model_copy(update=...)` puts in anything. The serializer
        # looks at every field, but takes None for whatever it is asked for: a null is read back before it is sent.
        try:
            encoded = self._serialize(value, by_alias=True, warnings="error")
            if not fits or encoded.find(b"null") >= 0:  # half of what `in` costs
                self.decode(encoded)
        except ValueError as error:
            # Not chained: pydantic's own text holds the value, which may be a secret, and this goes to the log.
            raise ResultError(self._operation, misfit(error)) from None
        return encoded


class _Fields:
    """Some arguments of an operation as one JSON object."""

    __slots__ = ("_names", "_serialize", "_validate", "plain")

    def __init__(self, operation: str, parameters: Sequence[Parameter]) -> None:
        fields = {each.name: each.annotation if each.required else NotRequired[each.annotation] for each in parameters}
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", TypedDict)(f"{operation}Arguments", fields))
        self._names = tuple(fields)
        self._validate = cast("SchemaValidator", adapter.validator).validate_json
        self._serialize = adapter.serializer.to_json
        self.plain = adapter.serializer.to_python

    def decode(self, encoded: bytes, *, strict: bool) -> dict[str, object]:
        if strict:
            return self._validate(encoded, strict=True, extra="forbid")
        return self._validate(encoded)

    def encode(self, arguments: dict[str, object]) -> bytes:
        return self._serialize(arguments, by_alias=True, warnings="error")

    def encode_part(self, arguments: dict[str, object]) -> bytes:
        """Encode the arguments that belong here, out of all."""
        if len(self._names) == len(arguments):
            return self.encode(arguments)
        return self.encode({name: arguments[name] for name in self._names})


def _sorted_sets(value: object) -> object:
    """Return the dumped value with each set as a list sorted by the JSON of its members."""
    if isinstance(value, dict):
        return {name: _sorted_sets(part) for name, part in cast("dict[str, object]", value).items()}
    if isinstance(value, frozenset):
        return sorted((_sorted_sets(part) for part in cast("frozenset[object]", value)), key=to_json)
    if isinstance(value, list | tuple):
        return [_sorted_sets(part) for part in cast("Sequence[object]", value)]
    return value
