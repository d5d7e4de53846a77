"""Names for what steps call, so that the journal can hold them as data, and the way back.

| callable | name |
| --- | --- |
| method of the owner | `confirm` |
| method of an attribute of the owner, such as a client | `inventory.reserve` |
| function of a module, static or class method | `package.module:function` |
"""

from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from inspect import get_annotations
from types import FunctionType
from typing import Final, cast

from archstone.sagas.codec import Codec
from archstone.sagas.errors import StepCodecError

__all__ = ["Callee", "Invoke", "Operation", "Operations"]

Callee = Callable[..., Awaitable[object]]

Invoke = Callable[[Callee, tuple[object, ...]], Awaitable[object]]
"""Makes a call for the engine: how a step reaches a local method that needs a transaction of its own."""

_MAX_OPERATIONS: Final = 10_000


class Operation:
    """A callable under its name, with the codec of its values."""

    __slots__ = ("call", "codec", "name", "span")

    def __init__(self, name: str, call: Callee) -> None:
        self.name = name
        self.call = call
        self.codec = Codec(name, call)
        self.span = f"step {name}"


class Operations:
    """Names every callable of one owner and finds it again, each compiled once.

    Args:
        owner: The object whose methods and attributes are named. None: functions of modules only.
    """

    def __init__(self, owner: object | None) -> None:
        self._owner = owner
        self._known: dict[Callee, Operation] = {}
        self._named: dict[str, Operation] = {}

    def of(self, function: Callee) -> Operation:
        """Return the operation of a callable.

        Raises:
            StepCodecError: It has no name that could be found again, or no annotations.
        """
        known = self._known.get(function)
        return known if known is not None else self._learn(function)

    def find(self, name: str) -> Operation:
        """Return the operation that the journal calls `name`.

        Raises:
            StepCodecError: The code no longer has it.
        """
        known = self._named.get(name)
        if known is None:
            call = self._resolve(name)
            known = self._named[name] = Operation(name, call)
        return known

    def container(self, leading: str) -> object:
        """Return what has the attributes that names with this beginning name: `""`, `inventory.`, `package.module:`.

        Raises:
            StepCodecError: The code no longer has it.
        """
        if not leading:
            return self._owner
        if leading.endswith(":"):
            return _module(leading[:-1])
        return self._found(leading[:-1])

    def _learn(self, function: Callee) -> Operation:
        operation = Operation(self._name(function), function)
        if len(self._known) >= _MAX_OPERATIONS:
            self._known.clear()  # somebody makes callables without end: slow then, never unbounded
        self._known[function] = operation
        return operation

    def _name(self, function: Callee) -> str:
        subject = getattr(function, "__self__", function)
        method: str = getattr(function, "__name__", "")
        if subject is self._owner:
            return method
        for attribute, value in self._attributes():
            if value is function:
                return attribute
            if value is subject and subject is not function:
                return f"{attribute}.{method}"
        if isinstance(function, FunctionType) or isinstance(subject, type):
            return _module_name(function)
        what = getattr(function, "__qualname__", repr(function))
        reason = "is neither a method of the saga's owner, nor of one of its attributes, nor a function"
        raise StepCodecError(what, reason)

    def _attributes(self) -> Iterator[tuple[str, object]]:
        owner = self._owner
        names: dict[str, None] = dict.fromkeys(getattr(owner, "__dict__", ()))
        for base in type(owner).__mro__:
            names.update(dict.fromkeys(base.__dict__.get("__slots__", ())))
            names.update(dict.fromkeys(get_annotations(base).keys()))
        for name in names:
            if (value := getattr(owner, name, None)) is not None:
                yield name, value

    def _resolve(self, name: str) -> Callee:
        return cast("Callee", self._found(name))

    def _found(self, name: str) -> object:
        module, colon, path = name.partition(":")
        try:
            found: object = import_module(module) if colon else self._owner
            for part in (path if colon else name).split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise StepCodecError(name, f"the journal names it, the code no longer has it ({error})") from error
        return found


def _module(name: str) -> object:
    try:
        return import_module(name)
    except ImportError as error:
        raise StepCodecError(name, f"the journal names it, the code no longer has it ({error})") from error


def _module_name(function: Callee) -> str:
    path: str = getattr(function, "__qualname__", "")
    if "<" in path:
        raise StepCodecError(path, "is local, a later process could not find it; move it to a module or a class")
    return f"{function.__module__}:{path}"
