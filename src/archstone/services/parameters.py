"""One argument of an operation, and its text form in a path or a query string."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NewType, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

__all__ = [
    "Faults",
    "Parameter",
    "adapter_of",
    "decode_text",
    "encode_text",
    "has_floats",
    "has_sets",
    "is_sequence",
    "not_finite",
    "told",
]

_adapt: Final = cast("Callable[[object], TypeAdapter[object]]", TypeAdapter)
_CONTAINERS: Final = (tuple, frozenset)
_KEPT: Final = 4096
"""Most types whose adapters are kept for the next operation that names them."""

Faults = list[tuple[str, str]]
"""Pairs of where (`body.lines.0.quantity`) and what is wrong there."""


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One argument of an operation."""

    name: str
    annotation: object
    where: Literal["path", "query", "body"]
    required: bool
    default: object
    """What an absent argument becomes; meaningless if `required`."""
    adapter: TypeAdapter[object]
    repeated: bool = field(init=False)
    """Whether it holds several values, given in a query string by repeating the name."""

    def __post_init__(self) -> None:
        """Look once at what each request would ask for."""
        object.__setattr__(self, "repeated", is_sequence(self.annotation))


def adapter_of(annotation: object) -> TypeAdapter[object]:
    """Return the compiled validator and serializer of a type: one for all operations that name it."""
    try:
        hash(annotation)
    except TypeError:  # something in `Annotated` has none
        return _adapt(annotation)
    return _adapter_of(annotation, repr(annotation))


@lru_cache(maxsize=_KEPT)
def _adapter_of(annotation: object, _written: str) -> TypeAdapter[object]:
    # `Cat | Dog` equals `Dog | Cat`, but a value that could be either is read as the one that is written first.
    return _adapt(annotation)


def is_sequence(annotation: Any) -> bool:
    """Return whether the type is a tuple or a frozenset (a NamedTuple is neither: it is one value)."""
    while True:
        if isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        else:
            return (get_origin(annotation) or annotation) in _CONTAINERS


def decode_text(parameter: Parameter, given: Mapping[str, str | Sequence[str]], found: dict[str, object]) -> Faults:
    """Put the value of `parameter` into `found`, unless it is absent, and return what is wrong with it."""
    name = parameter.name
    text = given.get(name)
    try:
        if isinstance(text, str):
            found[name] = parameter.adapter.validate_strings(text)
        elif not text:
            return [(f"{parameter.where}.{name}", "is required")] if parameter.required else []
        elif parameter.repeated:
            found[name] = parameter.adapter.validate_python(tuple(text))
        elif len(text) == 1:
            found[name] = parameter.adapter.validate_strings(text[0])
        else:
            return [(f"{parameter.where}.{name}", f"is given {len(text)} times: give it once")]
    except ValidationError as error:
        return told(error, f"{parameter.where}.{name}")
    return []


def encode_text(parameter: Parameter, value: object) -> list[str]:
    """Return the texts that stand for `value` in a path or a query string; none for None."""
    if value is None:
        return []
    plain = parameter.adapter.dump_python(value, mode="json", by_alias=True)
    values = cast("list[object]", plain) if parameter.repeated else [plain]
    return [_text(each) for each in values]


def told(error: ValidationError, where: str) -> Faults:
    """Return the faults of a pydantic error, each with its place below `where`."""
    return [
        (".".join((where, *map(str, fault["loc"]))), fault["msg"])
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


@lru_cache(maxsize=_KEPT)
def has_floats(adapter: TypeAdapter[object]) -> bool:
    """Return whether a value of the type may hold a float, at any depth."""
    schema = repr(adapter.core_schema)
    return "'type': 'float'" in schema or "'type': 'any'" in schema


@lru_cache(maxsize=_KEPT)
def has_sets(adapter: TypeAdapter[object]) -> bool:
    """Return whether a value of the type may hold a frozenset, at any depth."""
    return "frozenset" in repr(adapter.core_schema)


def not_finite(value: object, where: str) -> Iterator[str]:
    """Yield the place of each infinity and each NaN inside a value, at any depth."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield where
        return
    for name, part in _parts(value):
        yield from not_finite(part, f"{where}.{name}")


def _parts(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).items()
    if isinstance(value, tuple | list | frozenset):
        return enumerate(cast("Iterable[object]", value))
    if is_dataclass(value):
        return ((each.name, getattr(value, each.name)) for each in fields(value))
    return ()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(to_jsonable_python(value))
