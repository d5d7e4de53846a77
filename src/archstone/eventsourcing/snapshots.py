"""The state of an aggregate as one row, so that a long stream is not read from its beginning.

A snapshot is a copy, never the truth: one that does not fit the class as it is now is ignored, and the events are read
instead. Which class it was is told by its form: `snapshot_form`, the annotated attributes, and the code of the `@apply`
methods. So a handler that was mended is not outlived by the state that the old one made. What a handler calls is not
looked into: when that changes, raise `snapshot_form`.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, ClassVar, Final, NamedTuple, cast, get_origin, get_type_hints

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from archstone.eventsourcing.aggregate import Aggregate
from archstone.eventsourcing.errors import HandlerError

__all__ = ["form_of", "restore", "state_of"]

_OWN: Final = frozenset({"id", "version", "pending", "persons"})


class Form(NamedTuple):
    """How the state of a class is written."""

    tag: str
    """Tells one form of the class from another."""
    fields: Mapping[str, TypeAdapter[Any]]
    """Its annotated attributes."""


@lru_cache(maxsize=1024)
def form_of(kind: type[Aggregate]) -> Form:
    """Return the form of `kind`.

    Raises:
        HandlerError: An attribute has a type that cannot be written as JSON.
    """
    fields: dict[str, TypeAdapter[Any]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name in _OWN or get_origin(hint) is ClassVar or hint is ClassVar:
            continue
        try:
            fields[name] = TypeAdapter(hint)
        except PydanticUserError as error:
            reason = f"attribute {name} cannot be in a snapshot: {error.message}"
            raise HandlerError(kind.__qualname__, reason) from error
    return Form(_tag(kind, fields), fields)


def state_of(aggregate: Aggregate) -> bytes:
    """Return the present state as JSON.

    Raises:
        HandlerError: It has attributes that the class does not annotate: they would be lost.
    """
    fields = form_of(type(aggregate)).fields
    values = {name: value for name, value in vars(aggregate).items() if name not in _OWN}
    if strays := sorted(values.keys() - fields.keys()):
        raise HandlerError(
            type(aggregate).__qualname__,
            f"a snapshot would lose {', '.join(strays)}: annotate it in the body of the class",
        )
    state = {name: orjson.Fragment(fields[name].dump_json(value)) for name, value in values.items()}
    return orjson.dumps({"state": state, "persons": sorted(aggregate.persons)})


def restore(aggregate: Aggregate, state: bytes, *, version: int) -> bool:
    """Give a new aggregate the state that a snapshot of its form holds; False, and nothing done, if it does not fit."""
    fields = form_of(type(aggregate)).fields
    try:
        stored = orjson.loads(state)
        values = {name: fields[name].validate_json(orjson.dumps(each)) for name, each in stored["state"].items()}
        aggregate.persons.update(stored["persons"])
    except (ValidationError, ValueError, LookupError, TypeError, AttributeError):
        return False
    for name, value in values.items():
        setattr(aggregate, name, value)
    aggregate.version = version
    return True


def _tag(kind: type[Aggregate], fields: Mapping[str, TypeAdapter[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(fields):
        digest.update(f"{name}:{_schema(fields[name])};".encode())
    for event, handler in sorted(kind.appliers.items(), key=lambda item: (item[0].event_name, item[0].event_version)):
        digest.update(f"{event.event_name}:{event.event_version}:".encode())
        _add_code(digest, handler.__code__)
    return f"{kind.snapshot_form}.{digest.hexdigest()[:16]}"


def _schema(adapter: TypeAdapter[Any]) -> str:
    try:
        return orjson.dumps(adapter.json_schema(), option=orjson.OPT_SORT_KEYS).decode()
    except PydanticInvalidForJsonSchema:
        return repr(adapter)  # it names the type


def _add_code(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    digest.update(" ".join(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(digest, constant)
        else:
            # A set of texts has another order in each process.
            told = repr(constant)
            if isinstance(constant, frozenset):
                told = ",".join(sorted(repr(each) for each in cast("frozenset[object]", constant)))
            digest.update(f"{told};".encode())
