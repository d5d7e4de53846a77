"""Whether a type is immutable all the way down.

What crosses a boundary by reference in one mode and by copy in another behaves the same in both only if nobody can
change it. So events and contracts check their types when the class is made.
"""

import dataclasses
import enum
import types
import typing
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, Union, cast, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

__all__ = ["mutable_parts"]

_ATOMS: Final = (str, bytes, int, float, complex, bool, type(None), Decimal, date, time, timedelta, UUID, enum.Enum)


def mutable_parts(annotation: Any, where: str = "value") -> list[str]:
    """Return what makes `annotation` mutable, one text per part ("lines: list"), or an empty list.

    Allowed: numbers, text, bytes, dates, UUIDs, enums, literals, tuples, frozensets, unions and new types of such, and
    frozen pydantic models, frozen dataclasses and NamedTuples of such fields.
    """
    return _faults(annotation, where, frozenset())


def _faults(annotation: Any, where: str, seen: frozenset[Any]) -> list[str]:
    if hasattr(annotation, "__supertype__"):
        return _faults(annotation.__supertype__, where, seen)
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _faults(get_args(annotation)[0], where, seen)
    if origin is Literal or annotation is None:
        return []
    if origin in (Union, types.UnionType, tuple, frozenset):
        parts = [part for part in get_args(annotation) if part is not Ellipsis]
        return [fault for part in parts for fault in _faults(part, where, seen)]
    if origin is None and isinstance(annotation, type):
        return _class_faults(cast("type[Any]", annotation), where, seen)
    return [f"{where}: {str(annotation).removeprefix('typing.')}"]


def _class_faults(cls: type[Any], where: str, seen: frozenset[Any]) -> list[str]:
    if issubclass(cls, _ATOMS) or cls in seen:
        return []
    fields = _frozen_fields(cls)
    if fields is None:
        return [f"{where}: {cls.__name__}"]
    inner = seen | {cls}
    return [fault for name, kind in fields.items() for fault in _faults(kind, f"{where}.{name}", inner)]


def _frozen_fields(cls: Any) -> dict[str, Any] | None:
    if issubclass(cls, BaseModel):
        fields = {name: field.annotation for name, field in cls.model_fields.items()}
        return fields if cls.model_config.get("frozen") else None
    if dataclasses.is_dataclass(cls):
        parameters: Any = getattr(cls, "__dataclass_params__", None)
        return typing.get_type_hints(cls) if parameters.frozen else None
    return typing.get_type_hints(cls) if hasattr(cls, "_fields") else None
