"""Fields that tell something about a person, and what takes their place once the person is erased.

    class UserCreated(Event, name="users.user-created", key="user_id"):
        user_id: str
        email: Annotated[str, Personal("user_id")]
        born: Annotated[date | None, Personal("user_id", erased=None)] = None

Such a field is stored encrypted under a key of its person (`sealing`); `EventStore.erase` destroys the key.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from archstone.data import Event, EventError
from archstone.data.immutable import type_of_field

__all__ = ["ERASED", "PersonErased", "Personal", "PersonalField", "any_personal", "personal_fields"]

ERASED: Final = "(erased)"
"""What readers get in place of a personal text of somebody who was erased."""


@dataclass(frozen=True, slots=True)
class Personal:
    """Marks a field of an event as personal: the outermost metadata of its annotation."""

    person: str
    """The field of the same event that holds the id of the person. It stays readable: use an id, never an address."""
    _: KW_ONLY
    erased: object = ERASED
    """What takes the place of the value once the person is erased. A JSON value that fits the field."""


class PersonErased(Event, name="archstone.person-erased", key="person"):
    """The key of a person was destroyed. Projections handle it and take what they have copied out of what they show."""

    person: str


class PersonalField(NamedTuple):
    """A personal field of an event class."""

    name: str
    person: str
    erased: object


@lru_cache(maxsize=4096)
def personal_fields(kind: type[Event]) -> tuple[PersonalField, ...]:
    """Return the personal fields of an event class; most have none.

    Raises:
        EventError: A mark is where it would do nothing, or names no field, or its placeholder does not fit. All faults.
    """
    found: list[PersonalField] = []
    faults: list[str] = []
    for name, field in kind.model_fields.items():
        marks = [each for each in field.metadata if isinstance(each, Personal)]
        found += [PersonalField(name, mark.person, mark.erased) for mark in marks]
        faults += [fault for mark in marks for fault in _faults(kind, name, mark)]
        if any(_hidden(field.annotation, set())):
            faults.append(f"{name}: Personal counts on a field of the event itself: Annotated[X | None, Personal(...)]")
    if faults:
        raise EventError(kind.__qualname__, "; ".join(faults))
    return tuple(found)


def any_personal(events: Sequence[Event]) -> bool:
    """Return whether one of `events` has a personal field."""
    return any([personal_fields(kind) for kind in {*map(type, events)}])  # noqa: C419 - a generator costs more


def _faults(kind: type[Event], name: str, mark: Personal) -> Iterator[str]:
    field = kind.model_fields[name]
    person = kind.model_fields.get(mark.person)
    if person is None or any(isinstance(each, Personal) for each in person.metadata):
        yield f"{name}: Personal({mark.person!r}) must name a field of the event that is not personal itself"
    try:
        TypeAdapter[object](cast("Any", type_of_field(field))).validate_python(mark.erased)
    except ValidationError:
        yield f"{name}: erased={mark.erased!r} does not fit its type: say Personal({mark.person!r}, erased=...)"


def _hidden(annotation: Any, seen: set[object]) -> Iterator[Personal]:
    """Yield the marks inside of a type, where they would do nothing."""
    if annotation in seen:
        return
    seen.add(annotation)
    if get_origin(annotation) is Annotated:
        yield from (each for each in annotation.__metadata__ if isinstance(each, Personal))
    for part in get_args(annotation):
        yield from _hidden(part, seen)
    if inspect.isclass(annotation) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        hints: dict[str, object] = get_type_hints(annotation, include_extras=True)
        for hint in hints.values():
            yield from _hidden(hint, seen)
