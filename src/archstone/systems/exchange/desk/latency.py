"""How long the engine takes, counted where it works: a venue around a venue, and a histogram of fixed size."""

from bisect import bisect_left
from typing import Final

from archstone import world
from archstone.systems.exchange.desk.contract import Bucket, Latency
from archstone.systems.exchange.matching import Commands, Events, Side
from archstone.systems.exchange.sequencer import VenueClass
from archstone.systems.exchange.venue import Standing, Venue

__all__ = ["ENGINE", "HANDED_IN", "Clocked", "ClockedVenue", "Clocks", "Histogram"]

ENGINE: Final = "matching and risk, per command"
"""What is measured of an engine in this process."""
HANDED_IN: Final = "from handed in to kept, done and read"
"""What is measured of all that is handed in."""
_FIRST_NS: Final = 128
_STEPS: Final = 120
"""Buckets, each 2**(1/4) as wide as the one before: from 128 ns to two minutes, 19 % wide at most."""
_BOUNDS: Final = tuple(round(_FIRST_NS * 2 ** (step / 4)) for step in range(_STEPS))


class Histogram:
    """Counts durations in buckets; the last takes all that are longer."""

    def __init__(self) -> None:
        self.count = 0
        self.most_ns = 0
        self._counts = [0] * _STEPS

    def add(self, took_ns: int, times: int = 1) -> None:
        """Count a duration, `times` over."""
        self.count += times
        self.most_ns = max(self.most_ns, took_ns)
        self._counts[min(bisect_left(_BOUNDS, took_ns), _STEPS - 1)] += times

    def clear(self) -> None:
        """Forget all of them."""
        self.count = self.most_ns = 0
        self._counts = [0] * _STEPS

    def quantile(self, ratio: float) -> int:
        """Return the upper bound of the bucket in which `ratio` of all durations have come, ns. 0: none was counted."""
        wanted, seen = ratio * self.count, 0
        for bound, count in zip(_BOUNDS, self._counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return min(bound, self.most_ns)
        return self.most_ns

    def told(self, what: str, engine: str) -> Latency:
        """Return it as a value, without the empty buckets at both ends."""
        filled = [place for place, count in enumerate(self._counts) if count]
        span = range(filled[0], filled[-1] + 1) if filled else range(0)
        return Latency(
            what=what, engine=engine, count=self.count, most_ns=self.most_ns,
            p50_ns=self.quantile(0.5), p99_ns=self.quantile(0.99), p999_ns=self.quantile(0.999),
            buckets=tuple(Bucket(at_most_ns=_BOUNDS[place], count=self._counts[place]) for place in span),
        )  # fmt: skip


class Clocks:
    """What is measured in one run."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, str, Histogram]] = []

    def add(self, what: str, engine: str) -> Histogram:
        """Return a new histogram of `what`, done by `engine`."""
        made = Histogram()
        self._kept.append((what, engine, made))
        return made

    def told(self) -> tuple[Latency, ...]:
        """Return all of them."""
        return tuple(histogram.told(what, engine) for what, engine, histogram in self._kept)


class ClockedVenue:
    """A venue that counts how long it took for each command; see `Venue`. A batch is shared out evenly."""

    def __init__(self, venue: Venue, took: Histogram) -> None:
        self.venue = venue
        self.took = took

    def apply(self, commands: Commands, at_ns: int) -> Events:
        """Do commands; see `Venue.apply`."""
        begun_s = world.monotonic()
        events = self.venue.apply(commands, at_ns)
        count = len(commands)
        if count:
            self.took.add(round((world.monotonic() - begun_s) * 1e9 / count), count)
        return events

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best prices of a side; see `Venue.depth`."""
        return self.venue.depth(book, side, levels)

    def standing(self, account: int) -> Standing:
        """Return an account; see `Venue.standing`."""
        return self.venue.standing(account)

    def digest(self) -> int:
        """Return 64 bits of the state; see `Venue.digest`."""
        return self.venue.digest()

    def dump(self) -> bytes:
        """Return the whole state; see `Venue.dump`."""
        return self.venue.dump()

    def __len__(self) -> int:
        """Count the live orders."""
        return len(self.venue)


class Clocked:
    """A class of venues that count into one histogram; see `VenueClass`."""

    def __init__(self, venue: VenueClass, took: Histogram) -> None:
        self._class = venue
        self._took = took

    def __call__(self) -> Venue:
        """Make one without books and accounts."""
        return ClockedVenue(self._class(), self._took)

    def load(self, dump: bytes, /) -> Venue:
        """Make the one that was dumped."""
        return ClockedVenue(self._class.load(dump), self._took)
