"""Which roles read and set which fields: found in the types of what the operations of a system take and return."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final, NamedTuple, cast, get_args

from pydantic import BaseModel

from archstone.services import ANYONE, SIGNED_IN, Operation, System

__all__ = ["Fields", "fields_of", "roles_of"]

_ALL: Final = {ANYONE: "anybody", SIGNED_IN: "whoever is signed in"}


class Fields(NamedTuple):
    """One type, or the plain arguments of an operation."""

    name: str
    fields: tuple[str, ...]
    read: tuple[str, ...]
    """Roles to whom some operation tells it; () if none does."""
    set: tuple[str, ...]
    """Roles from whom some operation takes it."""


def roles_of(system: System, operation: Operation) -> list[str]:
    """Return who may ask for an operation."""
    if operation.requires in _ALL:
        return [_ALL[operation.requires]]
    return [operation.requires] if system.roles is None else [*system.roles.holders(operation.requires)]


def fields_of(system: System) -> list[Fields]:
    """Return every type that crosses the gateway, with the roles that may read and set it, by name.

    A field that is for other roles than the rest of its type needs a type of its own: so types are the rules.
    """
    found: dict[object, Fields] = {}

    def note(key: object, new: Fields) -> None:
        known = found.get(key, new)
        found[key] = Fields(new.name, new.fields, _merged(known.read, new.read), _merged(known.set, new.set))

    for each in system.operations:
        if not each.public:
            continue
        roles = tuple(roles_of(system, each))
        plain = [one.name for one in each.parameters if one.where == "body" and not [*_types(one.annotation)]]
        if plain:
            note(each, Fields(each.full_name, tuple(plain), (), roles))
        for kind in _types(each.codec.result_type):
            note(kind, Fields(kind.__name__, _names(kind), roles, ()))
        for kind in (kind for one in each.parameters for kind in _types(one.annotation)):
            note(kind, Fields(kind.__name__, _names(kind), (), roles))
    return sorted(found.values())


def _merged(known: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Return all of both, in an order that does not depend on which operation came first."""
    return tuple(sorted({*known, *more}))


def _types(annotation: object, above: frozenset[type] = frozenset()) -> Iterator[type]:
    """Return the models and dataclasses in an annotation, and in their fields."""
    if isinstance(annotation, type):
        kind = cast("type[Any]", annotation)
        if kind in above or not (issubclass(kind, BaseModel) or is_dataclass(kind)):
            return
        yield kind
        for inner in _annotations(kind):
            yield from _types(inner, above | {kind})
    for inner in get_args(annotation):
        yield from _types(inner, above)


def _annotations(kind: type[Any]) -> list[object]:
    if issubclass(kind, BaseModel):
        return [each.annotation for each in kind.model_fields.values()]
    return [each.type for each in fields(kind)]


def _names(kind: type[Any]) -> tuple[str, ...]:
    if issubclass(kind, BaseModel):
        return (*kind.model_fields, *kind.model_computed_fields)
    return tuple(each.name for each in fields(kind))
