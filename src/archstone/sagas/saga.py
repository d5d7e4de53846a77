"""The mark that makes a coroutine function a saga, and the way from its body to its steps."""

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from archstone import context
from archstone.sagas.errors import NoSagaError, StepCodecError

if TYPE_CHECKING:
    from archstone.sagas.steps import Steps

__all__ = ["SagaMark", "current_step", "saga", "saga_mark"]

P = ParamSpec("P")
R = TypeVar("R")

_MARK: Final = "__archstone_saga__"


class SagaMark(NamedTuple):
    """What `@saga` says about a method."""

    version: int
    """A running saga of another version stops as stuck; raise it when old journals cannot fit new code."""


def saga(*, version: int = 1) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Mark a coroutine function as a saga: a body that is run again after a crash, its steps remembered.

    The body must do the same again when it runs again: everything that acts, or that could differ, is a step.

    Args:
        version: At least 1.

    Raises:
        StepCodecError: It is not a coroutine function, or the version is below 1.
    """

    def mark(body: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        name = getattr(body, "__qualname__", repr(body))
        if not inspect.iscoroutinefunction(body):
            raise StepCodecError(name, "is not a coroutine function; write `async def` below @saga")
        if not version >= 1:
            raise StepCodecError(name, f"saga version={version} must be at least 1")
        setattr(body, _MARK, SagaMark(version))
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
