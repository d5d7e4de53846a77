"""Arguments and answers of one callable, to JSON and back, by its annotations.

Compiled once per callable. JSON is what the journal holds, what a replay compares and what an undo is called
with, so a value that does not survive it is refused before anything happens.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError

from archstone.sagas.errors import StepCodecError

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

__all__ = ["Codec", "Values", "same_arguments", "value_codec"]

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_NULL: Final = b"null"
_PLAIN: Final = frozenset({bool, int, str, type(None)})
_SHALLOW: Final = frozenset(
    {
        "none", "bool", "int", "str", "uuid", "date", "time", "datetime", "timedelta", "literal", "enum", "nullable",
        "tuple", "list", "set", "frozenset", "dict",
    }
)  # fmt: skip
"""Kinds that the validator checks to the bottom and whose every value has its JSON: a float does not, it can be NaN."""
_adapt = cast("Callable[[object], TypeAdapter[Any]]", TypeAdapter)


class Codec:
    """How the values of one callable are journaled.

    Args:
        operation: The name to use in errors.
        function: A coroutine function, bound or not, or what stands for one and is declared by a base class.

    Raises:
        StepCodecError: A parameter or the return value is not annotated, or its type has no JSON form.
    """

    __slots__ = ("_answer", "_by_count", "_nothing", "_operation", "_parameters", "_required")

    def __init__(self, operation: str, function: Callable[..., object]) -> None:
        self._operation = operation
        declared = _declared(operation, function)
        self._parameters, self._required = _positional(operation, declared)
        answer = _hints(operation, declared)["return"]
        self._nothing = answer is type(None)
        adapter = self._adapter(answer, "its return value")
        self._answer = Values(operation, adapter)
        self._by_count: dict[int, Values] = {}

    def arguments_json(self, arguments: tuple[object, ...]) -> bytes:
        """Return the JSON array of positional `arguments`."""
        return (self._by_count.get(len(arguments)) or self._compile(len(arguments))).encode(arguments)

    def arguments(self, encoded: bytes) -> tuple[object, ...]:
        """Return the arguments that `arguments_json` wrote; StepCodecError if they do not fit any more."""
        count = len(json.loads(encoded)) if len(self._parameters) != self._required else self._required
        values = self._by_count.get(count) or self._compile(count)
        return cast("tuple[object, ...]", values.decode(encoded, "the arguments in the journal do"))

    def answer_json(self, answer: object) -> bytes:
        """Return the JSON of an answer."""
        return _NULL if self._nothing and answer is None else self._answer.encode(answer)

    def answer(self, encoded: bytes) -> object:
        """Return the answer that `answer_json` wrote; StepCodecError if it does not fit any more."""
        if self._nothing and encoded == _NULL:
            return None
        return self._answer.decode(encoded, "the answer in the journal does")

    def kept(self, answer: object) -> tuple[bytes, object]:
        """Return the JSON of an answer, and the answer as a replay sees it: the body never sees more than that."""
        if self._nothing and answer is None:
            return _NULL, None
        if type(answer) in _PLAIN:
            return self._answer.encode(answer), answer
        return self._answer.round_trip(answer)

    def _compile(self, count: int) -> "Values":
        if not self._required <= count <= len(self._parameters):
            most = len(self._parameters)
            wanted = str(most) if most == self._required else f"{self._required} to {most}"
            raise StepCodecError(self._operation, f"takes {wanted} positional argument(s), {count} given")
        types = self._parameters[:count]
        annotation = tuple[types] if types else tuple[()]  # type: ignore[valid-type] - made at run time, for pydantic
        values = self._by_count[count] = Values(self._operation, self._adapter(annotation, "its arguments"))
        return values

    def _adapter(self, annotation: object, what: str) -> TypeAdapter[Any]:
        try:
            return _adapt(annotation)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError) as error:
            reason = f"{what} cannot be journaled, {str(error).splitlines()[0]}"
            raise StepCodecError(self._operation, reason) from error


class Values:
    """Values of one type, to JSON and back."""

    __slots__ = ("_operation", "_shallow", "_to_json", "_validator")

    def __init__(self, operation: str, adapter: TypeAdapter[Any]) -> None:
        self._operation = operation
        self._to_json = adapter.serializer.to_json
        self._validator = cast("SchemaValidator", adapter.validator)
        self._shallow = set(_kinds(adapter.core_schema)) <= _SHALLOW

    def encode(self, value: object) -> bytes:
        """Return the JSON of a value that can be read again."""
        # The serializer alone would write anything and merely warn. Asking it to raise costs microseconds, asking the
        # validator first a tenth of that. But the validator takes an instance of a model as it is, and a field may be
        # wrong (`model_copy(update=...)` checks nothing), so what holds one is read again as a replay would read it.
        if self._shallow and self._validator.isinstance_python(value, strict=True):
            return self._to_json(value, by_alias=True)
        return self.round_trip(value)[0]

    def round_trip(self, value: object) -> tuple[bytes, object]:
        """Return the JSON of a value, and what it is read as."""
        try:
            encoded = self._to_json(value, by_alias=True, warnings="error")
        except ValueError as error:
            raise self._wrong(str(error).splitlines()[-1].strip()) from error
        try:
            return encoded, self._validator.validate_json(encoded)
        except ValidationError as error:
            raise self._wrong(_first_of(error)) from error

    def decode(self, encoded: bytes, what: str) -> object:
        """Return the value that `encode` wrote; `what` it is and does, for the error."""
        try:
            return self._validator.validate_json(encoded)
        except ValidationError as error:
            raise StepCodecError(self._operation, f"{what} not fit its annotations: {_first_of(error)}") from error

    def _wrong(self, why: str) -> StepCodecError:
        return StepCodecError(self._operation, f"a value does not fit its annotation: {why}")


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"


def _kinds(schema: object) -> Iterator[str]:
    """Return the kind of everything in a core schema."""
    if isinstance(schema, dict):
        kind = cast("dict[str, object]", schema).get("type")
        if isinstance(kind, str):
            yield kind
        for value in cast("dict[str, object]", schema).values():
            yield from _kinds(value)
    elif isinstance(schema, list):
        for value in cast("list[object]", schema):
            yield from _kinds(value)


def value_codec(what: str, kind: object) -> Values:
    """Return the codec of values of one type; `what` they are, for errors. Each type is compiled once."""
    return Values(what, _adapter_of(kind))


@lru_cache(maxsize=1000)
def _adapter_of(kind: object) -> TypeAdapter[Any]:
    try:
        return _adapt(kind)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise StepCodecError(repr(kind), f"cannot be journaled, {str(error).splitlines()[0]}") from error


def same_arguments(codec: Codec, one: bytes, other: bytes) -> bool:
    """Tell whether two encodings of arguments mean the same; sets have no order, so bytes alone do not decide."""
    if one == other or json.loads(one) == json.loads(other):
        return True
    try:
        return codec.arguments(one) == codec.arguments(other)
    except ValueError:
        return False  # the old ones do not fit the types of today


def _declared(operation: str, function: Callable[..., object]) -> Callable[..., object]:
    """Return the declaration to read: the function itself, or the first one above it that is annotated."""
    for candidate in _candidates(function):
        if inspect.iscoroutinefunction(candidate) and not _missing(candidate):
            return candidate
    if not any(map(inspect.iscoroutinefunction, _candidates(function))):
        raise StepCodecError(operation, "is not a coroutine function (`async def`)")
    raise StepCodecError(operation, f"cannot be journaled, annotate {', '.join(_missing(function))}")


def _candidates(function: Callable[..., object]) -> Iterable[Callable[..., object]]:
    yield function
    owner = getattr(function, "__self__", None)
    name: str = getattr(function, "__name__", "")
    for base in type(owner).__mro__ if owner is not None else ():
        if callable(found := base.__dict__.get(name)):
            # Bound like the method itself, so that all candidates take the same arguments.
            yield cast("Callable[..., object]", found.__get__(owner)) if hasattr(found, "__get__") else found


def _missing(function: Callable[..., object]) -> list[str]:
    signature = inspect.signature(function)
    missing = [each.name for each in signature.parameters.values() if each.annotation is Parameter.empty]
    return [*missing, "the return value"] if signature.return_annotation is inspect.Signature.empty else missing


def _positional(operation: str, function: Callable[..., object]) -> tuple[tuple[object, ...], int]:
    hints = _hints(operation, function)
    types: list[object] = []
    required = 0
    for each in inspect.signature(function).parameters.values():
        if each.kind in _POSITIONAL:
            types.append(hints[each.name])
            required += each.default is Parameter.empty
        elif each.kind is Parameter.VAR_POSITIONAL or (
            each.kind is Parameter.KEYWORD_ONLY and each.default is Parameter.empty
        ):
            raise StepCodecError(operation, f"parameter {each.name!r} must be positional and one value")
    return tuple(types), required


def _hints(operation: str, function: Callable[..., object]) -> dict[str, object]:
    try:
        return get_type_hints(inspect.unwrap(getattr(function, "__func__", function)), include_extras=True)
    except NameError as error:
        raise StepCodecError(operation, f"an annotation names what cannot be found at run time: {error}") from error
