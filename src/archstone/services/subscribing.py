"""What a service does unasked: handlers of events, and periodic work."""

import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar, cast

from archstone.data import Event
from archstone.errors import ConfigError
from archstone.sagas import saga_mark

__all__ = ["Every", "Handler", "every", "handlers_of", "on", "periodic_of"]

S = TypeVar("S")
E = TypeVar("E", bound=Event)
P = ParamSpec("P")

_EVENTS: Final = "__archstone_on__"
_EVERY: Final = "__archstone_every__"


class Handler(NamedTuple):
    """A method that handles an event."""

    event: type[Event]
    method: str
    is_saga: bool


class Every(NamedTuple):
    """A method that is run again and again."""

    seconds: float
    method: str
    is_saga: bool


def on(
    event: type[E],
) -> Callable[[Callable[[S, E], Coroutine[Any, Any, None]]], Callable[[S, E], Coroutine[Any, Any, None]]]:
    """Mark a method of a service as a handler of `event`, handled once per service in effect.

    Its body is one transaction of the service's database, `self.tx`, in which it is also recorded that the event has
    been handled. A handler that must reach others is a `@saga` as well (`@on` above `@saga`): then the saga starts in
    that transaction. What it raises makes the bus deliver the event again. Several `@on` on one method add up.
    """
    if not event.event_name:
        msg = f"@on({event.__name__}): the event has no name and is never published: name it"
        raise ConfigError(msg)

    def mark(method: Callable[[S, E], Coroutine[Any, Any, None]]) -> Callable[[S, E], Coroutine[Any, Any, None]]:
        _refuse_plain(method, f"@on({event.__name__})")
        setattr(method, _EVENTS, (*getattr(method, _EVENTS, ()), event))
        return method

    return mark


def every(
    seconds: float,
) -> Callable[
    [Callable[Concatenate[S, P], Coroutine[Any, Any, None]]], Callable[Concatenate[S, P], Coroutine[Any, Any, None]]
]:
    """Mark a method of a service, without arguments, as work that is done every `seconds`.

    Its body is one transaction, like that of a command, or a `@saga`. A run that fails is logged; the next one comes
    in its time. Runs do not overlap, and the time counts from the end of one to the beginning of the next.

    Args:
        seconds: Above 0, finite.
    """
    if not 0 < seconds < float("inf"):
        msg = f"@every({seconds!r}): seconds must be above 0 and finite"
        raise ConfigError(msg)

    def mark(
        method: Callable[Concatenate[S, P], Coroutine[Any, Any, None]],
    ) -> Callable[Concatenate[S, P], Coroutine[Any, Any, None]]:
        _refuse_plain(method, f"@every({seconds})")
        setattr(method, _EVERY, seconds)
        return method

    return mark


def handlers_of(cls: type, faults: list[str]) -> tuple[Handler, ...]:
    """Return the handlers of a service class."""
    found: list[Handler] = []
    for name, method in _methods(cls):
        events = cast("tuple[type[Event], ...]", getattr(method, _EVENTS, ()))
        if events and _argument_count(method) != 1:
            faults.append(f"{cls.__name__}.{name}: a handler takes the event and nothing else")
        found += [Handler(event, name, saga_mark(method) is not None) for event in events]
    return tuple(found)


def periodic_of(cls: type, faults: list[str]) -> tuple[Every, ...]:
    """Return the periodic work of a service class."""
    found: list[Every] = []
    for name, method in _methods(cls):
        seconds = cast("float | None", getattr(method, _EVERY, None))
        if seconds is None:
            continue
        if _argument_count(method):
            faults.append(f"{cls.__name__}.{name}: nobody gives arguments to periodic work: take none")
        found.append(Every(seconds, name, saga_mark(method) is not None))
    return tuple(found)


def _methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    return ((name, found) for name in names if inspect.isfunction(found := inspect.getattr_static(cls, name)))


def _argument_count(method: Callable[..., Any]) -> int:
    return len(inspect.signature(method).parameters) - 1


def _refuse_plain(method: Callable[..., Any], what: str) -> None:
    if not inspect.iscoroutinefunction(method):
        msg = f"{what} on {getattr(method, '__qualname__', method)!r}: not a coroutine function: write async def"
        raise ConfigError(msg)
