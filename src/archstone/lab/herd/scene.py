"""What happens in one run: which keys are asked for how often, and when their values end.

The values of a warm cache are half their time old when a scene begins, so they end half their time later, all at one
instant unless a defence has spread them. A scene ends before any of them would end twice, so each key needs one load:
what is more than one is the herd.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random
from typing import Final

__all__ = ["SCENES", "Arrival", "Scene"]

Arrival = tuple[float, str]
"""When a read is due, seconds from the start, and its key."""

_WARM_AGE_RATIO: Final = 0.5
_ENDS_AT_RATIO: Final = 1.4
_COLD_RATIO: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Readers, values, and an origin of a known capacity: `places / load_s` loads a second."""

    name: str
    about: str
    """One sentence for the table and the page."""
    keys: int
    """At least 1."""
    rate_per_s: float
    """Reads a second, at random instants."""
    ttl_s: float
    """Seconds that a value is good for."""
    load_s: float
    """Seconds that the origin works on a value, a fifth more or less."""
    places: int
    """Values that the origin works on at once; others stand in line."""
    cold: bool = False
    """Whether the cache is empty at the beginning."""
    skew: float = 0.8
    """How unequal the keys are: the n-th is asked for as often as `1 / n ** skew` says. At least 0."""
    patience_s: float = 2.0
    """Seconds after which a reader gives up."""

    @property
    def event_s(self) -> float:
        """When the values end, seconds from the start, had nobody spread or renewed them; 0 where there are none."""
        return 0.0 if self.cold else self.ttl_s * (1 - _WARM_AGE_RATIO)

    @property
    def warm_age_s(self) -> float:
        """How old the values of a warm cache are at the start."""
        return self.ttl_s * _WARM_AGE_RATIO

    @property
    def to_s(self) -> float:
        """When the last read is due, at the latest."""
        return self.ttl_s * (_COLD_RATIO if self.cold else _ENDS_AT_RATIO - _WARM_AGE_RATIO)

    def names(self) -> Sequence[str]:
        """Return the keys, the most popular first."""
        return [f"key-{number}" for number in range(self.keys)]

    def arrivals(self, seed: int) -> list[Arrival]:
        """Return the reads in the order of time. The same seed gives the same reads."""
        chance = Random(f"{seed}/{self.name}")
        names = self.names()
        weights = list(accumulate((number + 1) ** -self.skew for number in range(self.keys)))
        found: list[Arrival] = []
        at_s = chance.expovariate(self.rate_per_s)
        while at_s < self.to_s:
            found.append((at_s, names[bisect(weights, chance.random() * weights[-1])]))
            at_s += chance.expovariate(self.rate_per_s)
        return found

    def shorter(self) -> "Scene":
        """Return the scene in half the time: half of all but the rate, so that it goes the same way."""
        return replace(
            self,
            keys=max(1, self.keys // 2),
            ttl_s=self.ttl_s / 2,
            load_s=self.load_s / 2,
            places=max(1, self.places // 2),
            patience_s=self.patience_s / 2,
        )


SCENES: Final = (
    Scene(
        name="hot",
        about="one popular key ends",
        keys=1,
        rate_per_s=400.0,
        ttl_s=4.0,
        load_s=0.2,
        places=8,
    ),
    Scene(
        name="together",
        about="many keys that were loaded together end together",
        keys=400,
        rate_per_s=400.0,
        ttl_s=10.0,
        load_s=0.1,
        places=8,
    ),
    Scene(
        name="cold",
        about="a restart: the cache is empty, and the readers are there",
        keys=400,
        rate_per_s=400.0,
        ttl_s=10.0,
        load_s=0.1,
        places=8,
        cold=True,
    ),
)
