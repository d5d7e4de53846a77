"""Which messages of a channel are in memory, and which wait in the table.

A message just committed goes to its lane straight from memory. When the lane holds as many as `Sizes` says, in all or
of one key, later ones stay in the table and are read when there is room; so memory is bounded, a backlog of a million
costs no more than one of ten thousand, and a key that is blocked for long fills only its own share.

Nothing is skipped and nothing read twice:
- up to `frontier` every message has been seen: it is in the lane, gone, or of a *spilled* key and not before its
  first spilled position;
- `tail` is the last message committed. `frontier < tail` means that some wait in the table, and then newly committed
  ones wait as well, behind them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from archstone.messaging.lane import Lane, Row
from archstone.resilience import check

__all__ = ["SLOT_BITS", "Sizes", "Spill", "Window"]

SLOT_BITS: Final = 44
"""A slot is `channel number << 44 | position`: the primary key alone keeps each channel together and in order, so a
message costs one row in one tree. Room for 17 million million messages and half a million channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of one channel is in memory at once."""

    window: int = 10_000
    """Messages. At least `chunk`."""
    per_key: int = 200
    """Messages of one key that wait behind the one that goes first. At least 1."""
    chunk: int = 1_000
    """Messages read from the table at once. At least 1."""

    def __post_init__(self) -> None:
        check(
            self,
            window=(self.window >= self.chunk, f"at least chunk={self.chunk}"),
            per_key=(self.per_key >= 1, "at least 1"),
            chunk=(self.chunk >= 1, "at least 1"),
        )


class Spill:
    """Positions of the messages of one key that were left in the table: from `first` to `last`, both included."""

    __slots__ = ("first", "last")

    def __init__(self, position: int) -> None:
        self.first = position
        self.last = position


class Window:
    """The part of one channel that is in its lane, and what is known of the rest."""

    __slots__ = ("base", "depth", "frontier", "lane", "loaded", "reading", "sizes", "spilled", "tail", "thirsty")

    def __init__(self, lane: Lane, number: int, *, sizes: Sizes) -> None:
        self.lane = lane
        self.sizes = sizes
        self.base = number << SLOT_BITS
        """The slot before the first of this channel."""
        self.depth = 0
        """Messages not settled, in memory and in the table."""
        self.loaded = 0
        """Messages in the lane."""
        self.frontier = 0
        self.tail = 0
        self.spilled: dict[str, Spill] = {}
        self.thirsty: dict[str, None] = {}
        """Spilled keys with nothing left in the lane: to be read next, in this order (a set of text has none)."""
        self.reading = False
        """Whether somebody reads from the table: a second reader would read the same."""

    def committed(self, row: Row) -> None:
        """Take a message that has just become durable, or leave it in the table."""
        behind = self.frontier < self.tail
        self.tail = row.position
        if not behind and self.loaded < self.sizes.window:
            self.frontier = row.position
            self.admit(row)

    def admit(self, row: Row, *, due_s: float | None = None) -> None:
        """Put a message that is next after the frontier into the lane, unless its key has too many there."""
        key = row.key
        if key:
            if (spill := self.spilled.get(key)) is not None:
                spill.last = row.position
                return
            if self.lane.waiting(key) >= self.sizes.per_key:
                self.spilled[key] = Spill(row.position)
                return
        self.loaded += 1
        self.lane.arrive(row, due_s=due_s)

    def gone(self, row: Row) -> None:
        """Note that a message has left the lane for good."""
        self.loaded -= 1
        self.depth -= 1
        if self.spilled and row.key in self.spilled and not self.lane.waiting(row.key):
            self.thirsty[row.key] = None

    @property
    def hungry(self) -> bool:
        """Whether there is room for more messages and more to be read after the frontier."""
        return self.frontier < self.tail and self.loaded <= self.sizes.window - self.sizes.chunk

    def read(self, rows: Sequence[tuple[Row, float | None]], *, tail: int) -> None:
        """Take what was read after the frontier in a snapshot made when `tail` was the last message."""
        for row, due_s in rows:
            self.frontier = row.position
            self.admit(row, due_s=due_s)
        if len(rows) < self.sizes.chunk:
            # Everything in the snapshot was read. What was committed meanwhile is after `tail`, and is read next.
            self.frontier = max(self.frontier, tail)
            self.tail = max(self.tail, self.frontier)

    def read_key(self, key: str, rows: Sequence[tuple[Row, float | None]], *, until: int) -> None:
        """Take what was read of a spilled key, up to the position `until`."""
        self.thirsty.pop(key, None)
        for row, due_s in rows:
            self.loaded += 1
            self.lane.arrive(row, due_s=due_s)
        spill = self.spilled[key]
        if len(rows) == self.sizes.per_key:
            spill.first = rows[-1][0].position + 1
        elif spill.last > until:
            spill.first = until + 1
        else:
            del self.spilled[key]
            return
        if not rows:
            self.thirsty[key] = None
