"""The rules of a venue, as plain Python."""

import pickle
from collections.abc import Callable

import numpy as np

from archstone.systems.exchange.matching import (
    EVENT,
    Command,
    Commands,
    Event,
    Events,
    Kind,
    Reason,
    ReferenceEngine,
    Side,
    Told,
    commands_of,
)
from archstone.systems.exchange.venue.port import Standing

__all__ = ["ReferenceVenue"]


class ReferenceVenue:
    """See `Venue`."""

    def __init__(self) -> None:
        """Make one without books and accounts."""
        self._books: dict[int, ReferenceEngine] = {}
        self._standings: dict[int, Standing] = {}

    def apply(self, commands: Commands, at_ns: int) -> Events:
        """Do commands; see `Venue.apply`."""
        told: list[tuple[int, Event]] = []
        books = commands["book"].tolist()
        for index, (book, command) in enumerate(zip(books, commands_of(commands), strict=True)):
            told += [(index, event) for event in self._do(book, command)]
        events = np.zeros(len(told), EVENT)
        events["command"] = [index for index, _ in told]
        for name in Event._fields:
            events[name] = [getattr(event, name) for _, event in told]
        return events

    def _do(self, book: int, command: Command) -> list[Event]:
        own: dict[int, Callable[[int, Command], list[Event]]] = {Kind.OPEN: self._open}
        if (act := own.get(command.kind)) is not None:
            return act(book, command)
        engine = self._books.get(book)
        if engine is None:
            return [Event(Told.REJECTED, command.id, account=command.account, reason=Reason.NO_BOOK)]
        return engine.apply(command)

    def _open(self, book: int, command: Command) -> list[Event]:
        self._books[book] = ReferenceEngine()
        return [Event(Told.OPENED, price=command.price)]

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best prices of a side; see `Venue.depth`."""
        return self._books[book].depth(side, levels)

    def standing(self, account: int) -> Standing:
        """Return an account; see `Venue.standing`."""
        return self._standings[account]

    def digest(self) -> int:
        """Return 64 bits of the state; see `Venue.digest`."""
        return sum(engine.digest() for engine in self._books.values()) & (2**64 - 1)

    def dump(self) -> bytes:
        """Return the whole state; see `Venue.dump`."""
        return pickle.dumps(self)

    def __len__(self) -> int:
        """Count the live orders."""
        return sum(len(engine) for engine in self._books.values())
