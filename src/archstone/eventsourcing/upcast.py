"""Old forms of events, brought to the present one when they are read. What is stored is never rewritten.

    @upcast("users.user-created", 1)                # version 1 had one name, version 2 has two
    def two_names(fields: dict[str, Any]) -> dict[str, Any]:
        first, _, last = fields.pop("name").partition(" ")
        return {**fields, "first_name": first, "last_name": last}

Each function leads from one version to the next, so a form that is three versions old goes through three of them. Write
one when the meaning of the fields changes; a new field with a default needs none.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import orjson

from archstone.data import Event, event_class, event_classes
from archstone.eventsourcing.errors import HandlerError, NewerEventError

__all__ = ["Decode", "Upcast", "decoder", "upcast"]

Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the JSON fields of one version, which it may change, and returns those of the next."""

Decode: TypeAlias = Callable[[bytes], Event]
"""Makes the event of a stored payload; pydantic's ValidationError if it does not fit."""

_upcasts: Final[dict[tuple[str, int], Upcast]] = {}
_decoders: Final[dict[tuple[str, int], Decode]] = {}


def upcast(name: str, version: int) -> Callable[[Upcast], Upcast]:
    """Register the function that turns the fields of `version` of the event `name` into those of `version + 1`.

    Raises:
        HandlerError: There is another one for that version.
    """

    def register(function: Upcast) -> Upcast:
        twin = _upcasts.get((name, version))
        if twin is not None and (twin.__module__, twin.__qualname__) != (function.__module__, function.__qualname__):
            both = f"{twin.__qualname__} and {function.__qualname__}"
            raise HandlerError(f"@upcast({name!r}, {version})", f"{both} both lead on from there: keep one")
        _upcasts[name, version] = function
        _decoders.clear()
        return function

    return register


def decoder(name: str, form: int) -> Decode:
    """Return what decodes events stored as version `form` of `name`. Compiled once, then a look-up.

    Raises:
        NewerEventError: The highest version known here is lower.
        EventError: The event is not known at all.
        HandlerError: There is no class for this version, and no upcast that leads from it.
    """
    found = _decoders.get((name, form))
    if found is None:
        found = _decoders[name, form] = _compile(name, form)
    return found


def _compile(name: str, form: int) -> Decode:
    chain: list[Upcast] = []
    version = form
    while (step := _upcasts.get((name, version))) is not None:
        chain.append(step)
        version += 1
    known = [number for known_name, number in event_classes() if known_name == name]
    if version > max(known, default=version):
        raise NewerEventError(name, version, max(known))
    if known and version not in known:
        reason = f"version {version} is stored, and there is neither a class nor an @upcast for it"
        raise HandlerError(f"event {name}", reason)
    validate = event_class(name, version).__pydantic_validator__.validate_json
    if not chain:
        return validate

    def decode(payload: bytes) -> Event:
        fields: dict[str, Any] = orjson.loads(payload)
        for each in chain:
            fields = each(fields)
        # Through JSON once more, so that an upcast event is read by the very rules that any other is.
        return validate(orjson.dumps(fields))

    return decode
