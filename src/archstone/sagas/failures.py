"""Errors as data: how a saga's failure is journaled, and built again in a later process.

A `DomainError` comes back as the same type with the same arguments. Any other failure of a step is a
`StepFailedError` already when it is raised, so the body, the caller and a later process see the same.
"""

import inspect
import json
from collections.abc import Iterator
from typing import Any, Final, cast, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from archstone.errors import ArchstoneError, DomainError
from archstone.sagas.errors import SagaCancelledError, SignalLateError, StepFailedError

__all__ = ["Failure", "describe", "error_from_json", "error_json"]

_TEXT_LIMIT: Final = 500


def describe(error: BaseException) -> str:
    """Return type and text of an error, at most 500 characters and a mark where it was cut."""
    text = f"{type(error).__qualname__}: {error}" if str(error) else type(error).__qualname__
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"


Failure = DomainError | StepFailedError | SignalLateError
"""What ends a saga, from inside."""


def error_json(error: Failure | SagaCancelledError) -> bytes:
    """Return an error as a JSON object: type, code, arguments, text."""
    kind = type(error)
    head: dict[str, object] = {"type": f"{kind.__module__}:{kind.__qualname__}", "code": kind.code, "text": str(error)}
    try:
        arguments = _arguments_adapter(kind).serializer.to_json(error.args, by_alias=True)
    except (PydanticSerializationError, TypeError, ValueError, NameError):
        return to_json({**head, "args": None})
    return to_json(head)[:-1] + b',"args":' + arguments + b"}"


def error_from_json(encoded: bytes, *, saga: str) -> ArchstoneError:
    """Return the error that `error_json` wrote; a StepFailedError with its text where the type is gone."""
    found: dict[str, Any] = json.loads(encoded)
    kind = _find(found["type"], found["code"])
    if kind is not None and found["args"] is not None:
        try:
            arguments = _arguments_adapter(kind).validator.validate_json(json.dumps(found["args"]))
            return kind(*cast("tuple[object, ...]", arguments))
        except (TypeError, ValueError, NameError):
            pass  # the class took other arguments when this was written: its text is what is left
    return StepFailedError(saga, "a step", 1, f"{found['code']}: {found['text']}")


def _arguments_adapter(kind: type[ArchstoneError]) -> TypeAdapter[Any]:
    if "__init__" not in {name for base in kind.__mro__ if base not in _ROOTS for name in base.__dict__}:
        return TypeAdapter(tuple[Any, ...])
    hints = get_type_hints(kind.__init__)
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    types = tuple(hints.get(each.name, Any) for each in parameters)
    return TypeAdapter(tuple[types] if types else tuple[()])  # type: ignore[valid-type]


_ROOTS: Final = frozenset(ArchstoneError.__mro__)


def _find(path: str, code: str) -> type[ArchstoneError] | None:
    """Return the class of `path`, or else the only one of `code`: classes move between modules."""
    kinds: list[type[ArchstoneError]] = [StepFailedError, SagaCancelledError, SignalLateError, *_below(DomainError)]
    for kind in reversed(kinds):  # the youngest of two that share a path: a module that was loaded again
        if f"{kind.__module__}:{kind.__qualname__}" == path:
            return kind
    coded = [kind for kind in kinds if kind.code == code]
    return coded[0] if len(coded) == 1 else None


def _below(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
