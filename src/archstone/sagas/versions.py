"""The functions that are sagas, by name and version: those that run finish on the version on which they began.

They stand beside each other in the class of the owner, in an attribute of it, or in a module. The name of a saga is
that of its function, or what `@saga(name=...)` says, after whatever leads to it: `checkout`, `packing.pack`,
`package.module:checkout`.
"""

import inspect
import re
from collections.abc import Callable
from typing import Final

from archstone.sagas.errors import SagaVersionError, StepCodecError
from archstone.sagas.operations import Callee, Operation, Operations
from archstone.sagas.queue import Queue
from archstone.sagas.saga import SagaMark, saga_mark

__all__ = ["Versions"]

_PARTS: Final = re.compile(r"(.*[.:])?([^.:]+)")


class Versions:
    """Finds the saga of a function, and the function of a saga, each compiled once.

    Raises:
        StepCodecError: Two functions of the owner are the same version of a saga.
    """

    def __init__(self, operations: Operations, owner: object | None) -> None:
        self._operations = operations
        self._by_method: dict[Callee, Operation] = {}
        self._found: dict[tuple[str, int], Operation] = {}
        self._places: dict[str, dict[tuple[str, int], str]] = {}
        if owner is not None:
            self._place("")

    def of(self, method: Callee) -> Operation:
        """Return the saga that a function is, under the saga's name.

        Raises:
            StepCodecError: It is none, or has no name that could be found again.
        """
        known = self._by_method.get(method)
        return known if known is not None else self._learn(method)

    def find(self, name: str, version: int) -> Operation:
        """Return a version of a saga.

        Raises:
            SagaVersionError: The code has other versions of it.
            StepCodecError: The code does not have it at all.
        """
        known = self._found.get((name, version))
        if known is None:
            known = self._found[name, version] = self._look(name, version)
        return known

    def nearest(self, name: str, version: int) -> Operation:
        """Return a version of a saga, or the newest that there is: to read what an old one has answered."""
        try:
            return self.find(name, version)
        except SagaVersionError as error:
            return self.find(name, error.there[-1])

    def queues(self) -> list[Queue]:
        """Return the queues of the owner's sagas, one for each function that has one."""
        marks = [saga_mark(self._operations.find(attribute).call) for attribute in self._place("").values()]
        return [mark.queue for mark in marks if mark is not None and mark.queue is not None]

    def _learn(self, method: Callee) -> Operation:
        operation = self._operations.of(method)
        mark = saga_mark(method)
        if mark is None:
            raise StepCodecError(operation.name, "is not a saga; write @saga() above it")
        if mark.name is not None:
            leading, _ = _parts(operation.name)
            operation = Operation(leading + mark.name, method)
        self._by_method[method] = operation
        return operation

    def _look(self, name: str, version: int) -> Operation:
        leading, last = _parts(name)
        place = self._place(leading)
        attribute = place.get((last, version))
        if attribute is not None:
            return Operation(name, self._operations.find(leading + attribute).call)
        there = sorted(other for called, other in place if called == last)
        if there:
            raise SagaVersionError(name, version, tuple(there))
        self._operations.find(name)
        raise StepCodecError(name, "is no saga any more")

    def _place(self, leading: str) -> dict[tuple[str, int], str]:
        """Return the names of the functions that are sagas in one place, by the name and version of the saga."""
        if (place := self._places.get(leading)) is None:
            place = self._places[leading] = _sagas_in(self._operations.container(leading))
        return place


def _parts(name: str) -> tuple[str, str]:
    found = _PARTS.fullmatch(name)
    return (found[1] or "", found[2]) if found is not None else ("", name)


def _sagas_in(container: object) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    functions: dict[tuple[str, int], object] = {}
    for attribute in dir(container):
        function = _function(inspect.getattr_static(container, attribute, None))
        mark: SagaMark | None = saga_mark(function)
        if mark is None:
            continue
        saga = (mark.name or attribute, mark.version)
        if functions.setdefault(saga, function) is not function:
            both = f"{found[saga]} and {attribute} are both its version {mark.version}"
            raise StepCodecError(saga[0], f"{both}; give one of them another")
        found.setdefault(saga, attribute)
    return found


def _function(attribute: object) -> Callable[..., object] | None:
    inner = getattr(attribute, "__func__", attribute)
    return inner if inspect.isfunction(inner) else None
