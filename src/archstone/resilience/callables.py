"""What a policy needs to know of the function that it is put around."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from archstone.resilience.check import SettingsError

__all__ = ["is_coroutine_function", "name_of", "need_coroutine_function", "refuse_generators"]


def is_coroutine_function(function: Callable[..., object]) -> bool:
    """Say whether calling `function` gives something to await; a partial is judged by what is inside."""
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    # An object that is called, such as a client, is judged by its __call__.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def name_of(function: Callable[..., object]) -> str:
    """Return what errors and metrics call `function`."""
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def refuse_generators(owner: str, function: Callable[..., object]) -> None:
    """Raise SettingsError for a generator: its work is done after the call has returned, where no policy sees it."""
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        fault = f"{name_of(function)!r} must not be a generator: its items may be out already"
        raise SettingsError(owner, (fault,))


def need_coroutine_function(owner: str, function: Callable[..., object]) -> Callable[..., Awaitable[Any]]:
    """Return `function` if it is a coroutine function, or raise SettingsError."""
    refuse_generators(owner, function)
    if not is_coroutine_function(function):
        fault = f"{name_of(function)!r} must be a coroutine function: a plain one cannot wait without its thread"
        raise SettingsError(owner, (fault,))
    return cast("Callable[..., Awaitable[Any]]", function)
