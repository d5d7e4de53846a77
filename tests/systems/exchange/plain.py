"""Books without risk: what tests of readers of the stream feed it from."""

import numpy as np

from archstone.systems.exchange.matching import (
    EVENT,
    Command,
    Commands,
    Event,
    Events,
    Kind,
    Phase,
    Reason,
    ReferenceEngine,
    Side,
    Told,
    commands_of,
    rows_of,
)
from archstone.systems.exchange.venue import Standing

__all__ = ["PlainVenue", "opened", "rows"]


class PlainVenue:
    """A `Venue` that lets everybody do everything."""

    def __init__(self) -> None:
        self.books: dict[int, ReferenceEngine] = {}

    def apply(self, commands: Commands, at_ns: int) -> Events:
        pairs = zip(commands["book"].tolist(), commands_of(commands), strict=True)
        told = [(index, event) for index, (book, command) in enumerate(pairs) for event in self._do(book, command)]
        events = np.zeros(len(told), EVENT)
        events["command"] = [index for index, _ in told]
        for name in Event._fields:
            events[name] = [getattr(event, name) for _, event in told]
        return events

    def _do(self, book: int, command: Command) -> list[Event]:
        if command.kind == Kind.OPEN:
            self.books[book] = ReferenceEngine(phase=Phase(command.type or Phase.CONTINUOUS))
            return [Event(Told.OPENED, price=command.price)]
        if book not in self.books:
            return [Event(Told.REJECTED, command.id, account=command.account, reason=Reason.NO_BOOK)]
        return self.books[book].apply(command)

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        return self.books[book].depth(side, levels)

    def standing(self, account: int) -> Standing:
        raise KeyError(account)

    def digest(self) -> int:
        return sum(engine.digest() for engine in self.books.values()) & (2**64 - 1)

    def dump(self) -> bytes:
        raise NotImplementedError

    def __len__(self) -> int:
        return sum(len(engine) for engine in self.books.values())


def rows(book: int, *commands: Command) -> Commands:
    """Commands for one book."""
    found = rows_of(commands)
    found["book"] = book
    return found


def opened(*books: int, phase: Phase = Phase.CONTINUOUS) -> Commands:
    """What opens books, a lot worth 1 per tick."""
    found = rows_of(Command(Kind.OPEN, type=phase, price=1, quantity=1_000_000) for _ in books)
    found["book"] = books
    return found
