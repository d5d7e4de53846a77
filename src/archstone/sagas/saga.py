"""The mark that makes a coroutine function a saga, and the way from its body to its steps."""

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from archstone import context
from archstone.sagas.errors import NoSagaError, StepCodecError
from archstone.sagas.queue import Queue

if TYPE_CHECKING:
    from archstone.sagas.steps import Steps

__all__ = ["SagaMark", "current_step", "saga", "saga_mark"]

P = ParamSpec("P")
R = TypeVar("R")

_MARK: Final = "__archstone_saga__"


class SagaMark(NamedTuple):
    """What `@saga` says about a method."""

    version: int
    """A running saga goes on with the function of its own version; raise it when old journals cannot fit new code."""
    name: str | None = None
    """What functions of several versions are called together. None: as the function."""
    queue: Queue | None = None
    """In which its sagas wait before they begin. None: in none."""


def saga(
    *, version: int = 1, name: str | None = None, queue: Queue | None = None
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Mark a coroutine function as a saga: a body that is run again after a crash, its steps remembered.

    The body must do the same again when it runs again: everything that acts, or that could differ, is a step.

    To change a saga of which some run, write the new one beside the old: those that run finish as they began.

        @saga(version=2)
        async def checkout(self, order: Order) -> Receipt: ...

        @saga(name="checkout", version=1)
        async def checkout_until_may(self, order: Order) -> Receipt: ...

    Args:
        version: At least 1.
        name: Of the saga, where the function is called otherwise: a Python name. Functions of one class or module may
            share it if their versions differ.
        queue: In which its sagas wait before they begin; not those that are steps of others.

    Raises:
        StepCodecError: It is not a coroutine function, the version is below 1, or the name is none.
    """

    def mark(body: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        called = getattr(body, "__qualname__", repr(body))
        if not inspect.iscoroutinefunction(body):
            raise StepCodecError(called, "is not a coroutine function; write `async def` below @saga")
        if not version >= 1:
            raise StepCodecError(called, f"saga version={version} must be at least 1")
        if name is not None and not name.isidentifier():
            raise StepCodecError(called, f"saga name={name!r} must be a Python name")
        setattr(body, _MARK, SagaMark(version, name, queue))
        return body

    return mark


def saga_mark(function: object) -> SagaMark | None:
    """Return the mark of a function or bound method, None if it is not a saga."""
    mark = getattr(function, _MARK, None)
    return mark if isinstance(mark, SagaMark) else None


def current_step() -> "Steps":
    """Return the steps of the saga whose body runs here; a class offers it as its property `step`.

    Raises:
        NoSagaError: No saga body runs in this context.
    """
    steps: Steps | None = context.current().step
    if steps is None:
        raise NoSagaError("current_step()")
    return steps
