"""Implementations of a port by name, such as the scheme of a URL: ours, and those that other packages bring.

A package brings one by an entry point of the port's group. Nothing is imported before it is asked for, and a name of
ours is always ours: what is installed beside cannot take it.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

__all__ = ["Implementations"]

T = TypeVar("T")


class Implementations(Generic[T]):
    """Those of one port."""

    def __init__(self, group: str, ours: Mapping[str, str]) -> None:
        """Describe them; nothing is looked up.

        Args:
            group: Of entry points, whose names are names of implementations.
            ours: Name to `module:object`.
        """
        self._group = group
        self._ours = ours

    def find(self, name: str) -> T | None:
        """Return the implementation, imported; None: there is none of this name."""
        ours = self._ours.get(name)
        if ours is None:
            return next((cast("T", each.load()) for each in entry_points(group=self._group, name=name)), None)
        module, _, path = ours.partition(":")
        found: object = import_module(module)
        for each in path.split("."):
            found = getattr(found, each)
        return cast("T", found)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted({*self._ours, *entry_points(group=self._group).names})
