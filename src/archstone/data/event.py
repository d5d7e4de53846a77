"""Facts that others hear about: immutable, named, versioned, and registered by name and version.

    class StockReserved(Event, name="inventory.stock-reserved", version=1, key="order_id"):
        order_id: str
        lines: tuple[Line, ...]

`tx.publish(StockReserved(...))` stages it in the outbox of the database, in the transaction of the change it tells of.
"""

import re
from typing import Any, ClassVar, Final, cast

from pydantic import BaseModel, ConfigDict

from archstone.data.errors import EventError
from archstone.data.immutable import mutable_parts, type_of_field

__all__ = ["Event", "event_class", "event_classes"]

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+")

_registry: "dict[tuple[str, int], type[Event]]" = {}


class Event(BaseModel):
    """A fact in the past tense. Subclass it with `name`, `version` and `key` as class arguments.

    A subclass without a name is a base for others and cannot be published. Unknown fields are ignored when decoded, so
    that a newer sender can be read.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_name: ClassVar[str] = ""
    """Stable name on the wire, `topic.what-happened`."""
    event_version: ClassVar[int] = 1
    """Version of the fields, at least 1; raise it when old readers would misread the new form."""
    event_key: ClassVar[str | None] = None
    """The field whose value orders events: those of one key arrive in order. None: no order."""
    event_topic: ClassVar[str] = ""
    """The part of the name before the first dot."""

    def __init_subclass__(cls, *, name: str = "", version: int = 1, key: str | None = None, **config: Any) -> None:
        super().__init_subclass__(**config)
        cls.event_name, cls.event_version, cls.event_key = name, version, key
        cls.event_topic = name.partition(".")[0]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__()
        if cls.event_name:
            _check(cls)
            _registry[cls.event_name, cls.event_version] = cls

    @classmethod
    def decode(cls, payload: bytes) -> "Event":
        """Return the event of this class that `payload` (JSON) holds; pydantic's ValidationError if it does not fit."""
        return cast("Event", cls.__pydantic_validator__.validate_json(payload))

    def encode(self) -> bytes:
        """Return the fields as JSON."""
        return self.__pydantic_serializer__.to_json(self)


def _check(cls: type[Event]) -> None:
    faults: list[str] = []
    if not _NAME.fullmatch(cls.event_name):
        faults.append(f"name {cls.event_name!r} must be lower case words joined by dots, such as orders.order-placed")
    if cls.event_version < 1:
        faults.append(f"version={cls.event_version} must be at least 1")
    if cls.event_key is not None and cls.event_key not in cls.model_fields:
        faults.append(f"key={cls.event_key!r} is none of its fields")
    if not cls.model_config.get("frozen"):
        faults.append("must stay frozen")
    for name, field in cls.model_fields.items():
        faults += mutable_parts(type_of_field(field), name)
    twin = _registry.get((cls.event_name, cls.event_version))
    if twin is not None and (twin.__module__, twin.__qualname__) != (cls.__module__, cls.__qualname__):
        faults.append(f"{cls.event_name} version {cls.event_version} is already {twin.__module__}.{twin.__qualname__}")
    if faults:
        raise EventError(cls.__qualname__, "; ".join(faults))


def event_class(name: str, version: int) -> type[Event]:
    """Return the class registered under `name` and `version`.

    Raises:
        EventError: None is; the module that defines it may not have been imported.
    """
    found = _registry.get((name, version))
    if found is None:
        raise EventError(name, f"version {version} is not known; import the module that defines it")
    return found


def event_classes() -> "dict[tuple[str, int], type[Event]]":
    """Return every registered event class by name and version: a copy."""
    return dict(_registry)
