"""The port of a matching engine."""

from typing import Protocol

from archstone.systems.exchange.matching.arrays import Commands, Events
from archstone.systems.exchange.matching.commands import Command, Side
from archstone.systems.exchange.matching.events import Event

__all__ = ["Engine"]


class Engine(Protocol):
    """One book. Not safe to use from two threads at once. `ReferenceEngine` says what the rules are."""

    def apply(self, command: Command) -> list[Event]:
        """Do one command and return all that came of it. Never raises: what cannot be done is rejected."""
        ...

    def apply_batch(self, commands: Commands) -> Events:
        """Do commands, shape (n,), one after another, and return all that came of them, shape (m,)."""
        ...

    def depth(self, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best `levels` prices of a side: price, lots shown, orders."""
        ...

    def digest(self) -> int:
        """Return 64 bits that two books share if all that decides about their future is the same."""
        ...

    def __len__(self) -> int:
        """Count the live orders, sleeping stops too."""
        ...
