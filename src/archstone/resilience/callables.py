"""What a policy needs to know of the function that it is put around."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import cast

from archstone.resilience.check import SettingsError

__all__ = ["is_coroutine_function", "name_of", "refuse_generators"]


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
