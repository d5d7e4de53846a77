"""Which method handles which event: read once, from the annotation of its parameter, when the class is made.

A marked method names the event, or a union of events, that it handles. What comes out is a dict by type, so that
finding a handler costs one look-up.
"""

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Union, get_args, get_origin

from archstone.data import Event
from archstone.eventsourcing.errors import HandlerError

__all__ = ["handlers_of", "mark"]

_MARK: Final = "_archstone_handler"


def mark(method: Callable[..., object], decorator: str) -> None:
    """Remember that `method` is a handler, marked with `decorator`."""
    method.__dict__[_MARK] = decorator


def handlers_of(cls: type[Any], *, inherited: Mapping[type[Event], Any], at: int) -> dict[type[Event], Any]:
    """Return the handlers of `cls` by the type of event, its own before those it inherits.

    Args:
        cls: The class whose marked methods are read.
        inherited: The handlers of its base.
        at: Which parameter is the event; 0 is `self`.

    Raises:
        HandlerError: A handler names no event, or two of this class name the same one. All faults are told.
    """
    faults: list[str] = []
    own: dict[type[Event], Any] = {}
    for name, method in vars(cls).items():
        decorator = getattr(method, "__dict__", {}).get(_MARK)
        if decorator is None:
            continue
        try:
            kinds = _kinds(method, at)
        except HandlerError as error:
            faults.append(f"@{decorator} {name} {error.reason}")
            continue
        for kind in kinds:
            if kind in own:
                faults.append(f"{own[kind].__name__} and {name} both handle {kind.__qualname__}: keep one")
            own[kind] = method
    if faults:
        raise HandlerError(cls.__qualname__, "; ".join(faults))
    return {**inherited, **own}


def _kinds(method: Callable[..., object], at: int) -> list[type[Event]]:
    """Return the events that the annotation of parameter `at` names."""
    names = list(inspect.signature(method).parameters)
    if len(names) <= at:
        raise HandlerError("", f"takes {len(names)} parameters: the event is number {at + 1}")
    try:
        annotation = inspect.get_annotations(method, eval_str=True).get(names[at])
    except NameError as error:
        raise HandlerError(
            "", f"has an annotation that cannot be resolved ({error}): import it in its module"
        ) from error
    parts: tuple[Any, ...] = (
        get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    )
    kinds = [part for part in parts if inspect.isclass(part) and issubclass(part, Event)]
    if len(kinds) < len(parts) or not all(kind.event_name for kind in kinds):
        raise HandlerError("", f"annotates {names[at]} with {annotation}: name Event classes that have a name")
    return kinds
