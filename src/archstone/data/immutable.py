"""The check that what crosses a boundary, in a contract or as an event, is immutable all the way down.

In one process values are handed over as they are, between processes as JSON. Only when nobody can change them
do both mean the same. The check runs once, when the class is made, and names every fault with the type to use instead.
"""

import dataclasses
import enum
import types
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel, EncodedBytes, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

__all__ = ["mutable_parts", "type_of_field"]

_SCALARS: Final = (
    bool, int, float, str, Decimal, UUID, date, time, timedelta, enum.Enum, PurePath,
    IPv4Address, IPv6Address, IPv4Network, IPv6Network, type(None),
)  # fmt: skip
_INSTEAD: Final[tuple[tuple[type, str], ...]] = (
    (list, "use tuple[X, ...]"),
    (set, "use frozenset[X]"),
    (dict, "use tuple[tuple[K, V], ...] or a frozen model"),
    (bytearray, "use pydantic.Base64Bytes"),
    (bytes, "use pydantic.Base64Bytes, since JSON has no bytes"),
    (SecretStr, "it encodes as asterisks; use str, and record=False if the answer holds it"),
    (SecretBytes, "it encodes as asterisks; use pydantic.Base64Bytes"),
)


def mutable_parts(annotation: object, where: str = "value") -> list[str]:
    """Return one sentence for each part of `annotation` that is mutable or has no JSON form; none if it may cross.

    Allowed: numbers, text, dates, UUIDs, paths, addresses, enums, literals, bytes with an encoding (`Base64Bytes`);
    tuples, frozensets, unions and new types of such; frozen pydantic models, frozen dataclasses and NamedTuples.

    Args:
        annotation: A resolved type, such as `tuple[Line, ...]`.
        where: What to call it in the sentences, such as `Inventory.reserve, argument lines`.
    """
    return list(_parts(annotation, where, set()))


def type_of_field(field: FieldInfo) -> object:
    """Return the type of a model's field together with its metadata, such as the encoding of bytes."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _parts(annotation: Any, where: str, seen: set[object]) -> Iterator[str]:
    annotation = _unwrapped(annotation)
    origin = get_origin(annotation)
    if annotation is None or origin is Literal:
        return
    if origin in (Union, types.UnionType, tuple, frozenset):
        for part in get_args(annotation):
            if part is not Ellipsis:
                yield from _parts(part, where, seen)
    elif isinstance(origin or annotation, type):
        yield from _class_parts(annotation, origin or annotation, where, seen)
    else:
        yield f"{where}: {_told(annotation)} says nothing about the value: name a type"


def _unwrapped(annotation: Any) -> Any:
    """Return the type below `Annotated`, `NewType` and aliases; None, which is fine, for bytes with an encoding."""
    while True:
        if get_origin(annotation) is Annotated:
            if any(isinstance(extra, EncodedBytes) for extra in annotation.__metadata__):
                return None
            annotation = annotation.__origin__
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def _class_parts(annotation: Any, cls: type[Any], where: str, seen: set[object]) -> Iterator[str]:
    for wrong, instead in _INSTEAD:
        if issubclass(cls, wrong):
            yield f"{where}: {_told(annotation)} cannot cross: {instead}"
            return
    if issubclass(cls, Mapping):
        yield f"{where}: {_told(annotation)} can be changed behind it: use tuple[tuple[K, V], ...] or a frozen model"
    elif cls in (tuple, frozenset, object, Any):
        yield f"{where}: {_told(annotation)} says nothing about what it holds: name a type"
    elif (issubclass(cls, _SCALARS) and not hasattr(cls, "_fields")) or cls.__module__ == "pydantic.networks":
        return
    elif annotation not in seen:
        seen.add(annotation)
        yield from _record_parts(annotation, cls, where, seen)


def _record_parts(annotation: Any, cls: type[Any], where: str, seen: set[object]) -> Iterator[str]:
    """Check a class with fields: is it frozen, and are its fields?"""
    frozen = _is_frozen(cls)
    if frozen is None:
        yield f"{where}: {_told(annotation)} has no known form: use a frozen pydantic model or a frozen dataclass"
        return
    if not frozen:
        yield f"{where}: {cls.__name__} is not frozen: declare it with frozen=True"
    if issubclass(cls, BaseModel):
        if cls.model_config.get("extra") == "allow":
            yield f"{where}: {cls.__name__} allows extra fields, which are mutable: drop extra='allow'"
        for name, field in cls.model_fields.items():
            yield from _parts(type_of_field(field), f"{where}: {cls.__name__}.{name}", seen)
        return
    bound: dict[object, object] = dict(zip(getattr(cls, "__parameters__", ()), get_args(annotation), strict=False))
    names = _field_names(cls)
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if name in names:
            yield from _parts(_substituted(hint, bound), f"{where}: {cls.__name__}.{name}", seen)


def _is_frozen(cls: type[Any]) -> bool | None:
    """Return whether instances are frozen; None if the class is none of the known kinds."""
    if issubclass(cls, BaseModel):
        return bool(cls.model_config.get("frozen"))
    if dataclasses.is_dataclass(cls):
        return cast("Any", cls).__dataclass_params__.frozen
    return True if hasattr(cls, "_fields") else None


def _field_names(cls: type[Any]) -> frozenset[str]:
    if dataclasses.is_dataclass(cls):
        return frozenset(field.name for field in dataclasses.fields(cls))
    return frozenset(cast("tuple[str, ...]", getattr(cls, "_fields", ())))


def _substituted(hint: Any, bound: Mapping[object, object]) -> object:
    """Put the type arguments of a generic class in place of its type variables."""
    if isinstance(hint, TypeVar):
        return bound.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if parameters and bound:
        return hint[tuple(bound.get(parameter, parameter) for parameter in parameters)]
    return hint


def _told(annotation: Any) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return repr(annotation).replace("typing.", "")
