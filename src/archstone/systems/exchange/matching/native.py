"""The engine in C++, if the distribution `archstone-matching` is there: the same rules, some hundred times faster."""

from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from archstone.systems.exchange.matching.arrays import COMMAND, EVENT, Commands, Events
from archstone.systems.exchange.matching.commands import Command, Phase, Side
from archstone.systems.exchange.matching.engine import Engine
from archstone.systems.exchange.matching.events import Event, Reason, Told
from archstone.systems.exchange.matching.reference import ReferenceEngine

__all__ = ["NativeEngine", "engine"]


class _Book(Protocol):
    def apply(self, *fields: int) -> list[tuple[int, ...]]: ...
    def apply_batch(self, commands: Commands) -> Any: ...
    def depth(self, side: int, levels: int) -> list[tuple[int, int, int]]: ...
    def digest(self) -> int: ...
    def __len__(self) -> int: ...


class NativeEngine:
    """One book in C++. A batch runs without the interpreter's lock."""

    def __init__(self, *, phase: Phase = Phase.CONTINUOUS, capacity: int = 1024) -> None:
        """Make an empty book.

        Args:
            phase: It begins with.
            capacity: Live orders that it has room for before it allocates more. At least 0.

        Raises:
            ImportError: `archstone-matching` is not installed.
        """
        try:
            module: Any = import_module("archstone_matching")
        except ImportError as error:
            message = "the engine in C++ is not installed: pip install archstone-matching"
            raise ImportError(message, name="archstone_matching") from error
        self._book: _Book = module.Book(phase=phase, capacity=capacity)

    def apply(self, command: Command) -> list[Event]:
        """Do one command and return all that came of it. What no record can hold is rejected as a fault of a field."""
        try:
            told = self._book.apply(*command)
        except TypeError:
            return [Event(Told.REJECTED, command.id, account=command.account, reason=Reason.FIELD)]
        return [Event(*each) for each in told]

    def apply_batch(self, commands: Commands) -> Events:
        """Do commands, shape (n,), one after another, and return all that came of them, shape (m,)."""
        if commands.dtype != COMMAND:
            raise TypeError(f"commands have the dtype COMMAND, not {commands.dtype}")
        return cast("Events", self._book.apply_batch(np.ascontiguousarray(commands)).view(EVENT))

    def depth(self, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best `levels` prices of a side: price, lots shown, orders."""
        return self._book.depth(side, levels)

    def digest(self) -> int:
        """Return 64 bits that two books share if all that decides about their future is the same."""
        return self._book.digest()

    def __len__(self) -> int:
        """Count the live orders, sleeping stops too."""
        return len(self._book)


def engine(*, phase: Phase = Phase.CONTINUOUS) -> Engine:
    """Return a book of the fastest engine that is installed; its class says which."""
    try:
        return NativeEngine(phase=phase)
    except ImportError:
        return ReferenceEngine(phase=phase)
