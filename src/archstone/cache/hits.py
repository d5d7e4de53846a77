"""The way to a hit in memory, with no call on it that can be spared.

A wrapper that takes any arguments packs them into a tuple and a dict, which costs more than all else that a hit needs.
So one is written with the parameters of the function it stands for, as `dataclasses` writes `__init__`.
"""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from archstone.cache.keys import KeyMaker

__all__ = ["Near", "near_first"]

P = ParamSpec("P")
T = TypeVar("T")

_SOURCE: Final = """
async def cached({parameters}):
    {key}
    __kept = __known(__key)
    if __kept is not None and __near.clock() < __kept.soon_s and __kept.checked == __near.number:
        __kept.hits += 1
        return __kept.value
    if (__kept := __near.peek(__key)) is not None:
        return __kept.value
    return await __miss(__key, {arguments})
"""
_COMMON: Final = "__key = {text} if __type({name}) is __str and {name}.isalnum() else __make_key({arguments})"
_ANY: Final = "__key = __make_key({arguments})"


class Near(Protocol):
    """Entries in this process, looked at without suspending."""

    @property
    def known(self) -> Callable[[str], Any]:
        """Returns what is kept, or was let go, under a key."""
        ...

    @property
    def peek(self) -> Callable[[str], Any]:
        """Returns the entry of a key if a hit calls for nothing else."""
        ...


def near_first(
    function: Callable[P, Coroutine[Any, Any, T]],
    near: Near,
    make_key: KeyMaker,
    miss: Callable[[str, tuple[Any, ...], Mapping[str, Any]], Coroutine[Any, Any, T]],
    only: tuple[str, str, str] | None,
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a coroutine function with the parameters of `function` that looks into `near` first.

    Args:
        function: What it stands for.
        near: Entries in this process.
        make_key: Makes the key of a call.
        miss: What is called with key and arguments where there is nothing.
        only: Of a key with one field, the text before it, its name, the text after: text of letters and digits needs no
            escape and no call.
    """
    parameters = list(inspect.signature(function).parameters.values())
    arguments = _arguments(parameters)
    names: dict[str, Any] = {"__known": near.known, "__near": near, "__miss": miss, "__make_key": make_key}
    names |= {"__type": type, "__str": str}  # parameters may be called so
    key = _ANY.format(arguments=arguments)
    if only is not None:
        before, name, after = only
        text = " + ".join([*([repr(before)] if before else []), name, *([repr(after)] if after else [])])
        key = _COMMON.format(text=text, name=name, arguments=arguments)
    source = _SOURCE.format(parameters=_parameters(parameters, names), key=key, arguments=arguments)
    exec(compile(source, "<archstone.cache.aside>", "exec"), names)  # noqa: S102 - of names of parameters and literals
    return wraps(function)(names["cached"])


def _parameters(parameters: list[inspect.Parameter], names: dict[str, Any]) -> str:
    """Return parameters as they are written, defaults by names that `names` is given."""
    bare: list[inspect.Parameter] = []
    for each in parameters:
        default = each.default
        if default is not inspect.Parameter.empty:
            names[f"__default_{each.name}"] = default
            default = _Name(f"__default_{each.name}")
        bare.append(each.replace(annotation=inspect.Parameter.empty, default=default))
    return str(inspect.Signature(bare))[1:-1]


def _arguments(parameters: list[inspect.Parameter]) -> str:
    """Return what makes a tuple of positional arguments and a dict of named ones."""
    kinds = inspect.Parameter
    args = "".join(
        f"{'*' if each.kind is kinds.VAR_POSITIONAL else ''}{each.name}, "
        for each in parameters
        if each.kind not in {kinds.KEYWORD_ONLY, kinds.VAR_KEYWORD}
    )
    named = "".join(
        f"**{each.name}, " if each.kind is kinds.VAR_KEYWORD else f"{each.name!r}: {each.name}, "
        for each in parameters
        if each.kind in {kinds.KEYWORD_ONLY, kinds.VAR_KEYWORD}
    )
    return f"({args}), {{{named}}}"


class _Name(str):
    """A name that is written as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
