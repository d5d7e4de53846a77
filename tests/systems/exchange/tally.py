"""A venue of a few lines: it takes each order once, and its state is which orders it took, in which order, and when."""

import json
import zlib
from typing import Self

import numpy as np

from archstone.systems.exchange.matching import EVENT, Command, Commands, Events, Kind, Reason, Side, Told, rows_of
from archstone.systems.exchange.venue import Standing

__all__ = ["Tally", "orders"]


def orders(first: int, count: int = 1) -> Commands:
    """Commands with the ids `first` and up."""
    return rows_of(
        [Command(Kind.NEW, number, 1, Side.BUY, price=1, quantity=1) for number in range(first, first + count)]
    )


class Tally:
    """See `Venue`."""

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}
        self.mixed = 0

    def apply(self, commands: Commands, at_ns: int) -> Events:
        assert len(commands)
        events = np.zeros(len(commands), EVENT)
        events["command"] = range(len(commands))
        events["id"] = commands["id"]
        events["kind"] = Told.ACCEPTED
        for index, order in enumerate(commands["id"].tolist()):
            if order in self.taken:
                events["kind"][index] = Told.REJECTED
                events["reason"][index] = Reason.NUMBER
            self.taken.setdefault(order, at_ns)
        self.mixed = zlib.crc32(commands.tobytes() + at_ns.to_bytes(8, "little"), self.mixed)
        return events

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        return []

    def standing(self, account: int) -> Standing:
        return Standing(account=account)

    def digest(self) -> int:
        return self.mixed << 32 | len(self.taken)

    def dump(self) -> bytes:
        return json.dumps([list(self.taken.items()), self.mixed]).encode()

    @classmethod
    def load(cls, dump: bytes, /) -> Self:
        venue = cls()
        taken, venue.mixed = json.loads(dump)
        venue.taken = dict(taken)
        return venue

    def __len__(self) -> int:
        return len(self.taken)
