"""How long values are good for, and what a value of some age calls for: the policy, apart from store and clock.

loaded          soon                     fresh_s        + stale_while_revalidate_s   + stale_if_error_s
age  0 --------------+------------------------+--------------+----------------------------+------>
served          served, refreshed in     served,        served only if a load fails   gone
the background           refreshed
"""

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypedDict

from archstone import world
from archstone.cache.codec import Codec
from archstone.cache.store import Entry, Write
from archstone.resilience import check

__all__ = ["Life", "LifeChanges", "Verdict"]

_FAR: Final = 7.0
"""Early refresh is asked for from this many load times (by beta) before the end: earlier its chance is below 1/1000."""


class Verdict(Enum):
    """What a value calls for."""

    SERVE = auto()
    REFRESH = auto()
    """Serve it, and load in the background."""
    LOAD = auto()
    """Load; serve it only if that fails."""


class LifeChanges(TypedDict, total=False):
    """The fields of `Life`, as keywords of a cache or of one decorated function."""

    ttl_s: float
    jitter_ratio: float
    refresh_ahead_ratio: float | None
    early_beta: float | None
    stale_while_revalidate_s: float
    stale_if_error_s: float
    negative_ttl_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How long a value is good for."""

    ttl_s: float = 300.0
    """Seconds that a value is fresh. Above 0 and finite."""
    jitter_ratio: float = 0.1
    """Up to this part of `ttl_s`, drawn per value, is taken off: what was loaded together does not end together. In
    [0, 1)."""
    refresh_ahead_ratio: float | None = None
    """From this part of its time on, a hit is served and loads anew in the background. In (0, 1); None: not."""
    early_beta: float | None = None
    """Each hit near the end refreshes by chance, more likely the nearer the end and the slower the load was; 1 is right
    for most. Above 0; None: not."""
    stale_while_revalidate_s: float = 0.0
    """So many seconds after its end a value is still served while a load runs in the background. At least 0."""
    stale_if_error_s: float = 0.0
    """So many seconds after its end a value is served if the load fails. At least 0."""
    negative_ttl_s: float | None = None
    """Seconds that None, "there is no such thing", is kept. Above 0; None: it is not kept."""

    def __post_init__(self) -> None:
        ahead, beta, negative = self.refresh_ahead_ratio, self.early_beta, self.negative_ttl_s
        check(
            self,
            ttl_s=(0 < self.ttl_s < math.inf, "above 0 and finite"),
            jitter_ratio=(0 <= self.jitter_ratio < 1, "in [0, 1)"),
            refresh_ahead_ratio=(ahead is None or 0 < ahead < 1, "in (0, 1), or None"),
            early_beta=(beta is None or 0 < beta < math.inf, "above 0, or None"),
            stale_while_revalidate_s=(0 <= self.stale_while_revalidate_s < math.inf, "at least 0 and finite"),
            stale_if_error_s=(0 <= self.stale_if_error_s < math.inf, "at least 0 and finite"),
            negative_ttl_s=(negative is None or 0 < negative < math.inf, "above 0, or None"),
        )

    def write(self, value: object, codec: Codec, *, tags: tuple[str, ...], load_s: float = 0.0) -> Write | None:
        """Return how to keep `value`, loaded just now; None: it is not to be kept."""
        ttl_s = self.ttl_s
        if value is None:
            if self.negative_ttl_s is None:
                return None
            ttl_s = self.negative_ttl_s
        if self.jitter_ratio:
            ttl_s *= 1 - self.jitter_ratio * world.random().random()
        soon_s = ttl_s
        if self.refresh_ahead_ratio is not None:
            soon_s = ttl_s * self.refresh_ahead_ratio
        if self.early_beta is not None:
            soon_s = min(soon_s, max(0.0, ttl_s - _FAR * self.early_beta * load_s))
        keep_s = ttl_s + max(self.stale_while_revalidate_s, self.stale_if_error_s)
        return Write(value, codec, tags, ttl_s, keep_s, soon_s, load_s)

    def verdict(self, entry: Entry) -> Verdict:
        """Return what `entry` calls for at its age.

        Source: for `early_beta` Vattani, Chierichetti and Lowenstein 2015, "Optimal probabilistic cache stampede
        prevention", section 3. We serve the value while the load runs, and draw from `_FAR` load times on only.
        """
        age_s = entry.age_s
        if age_s < entry.soon_s:
            return Verdict.SERVE
        if age_s >= entry.fresh_s:
            stale = age_s < entry.fresh_s + self.stale_while_revalidate_s
            return Verdict.REFRESH if stale else Verdict.LOAD
        if self.refresh_ahead_ratio is not None and age_s >= entry.fresh_s * self.refresh_ahead_ratio:
            return Verdict.REFRESH
        if self.early_beta is not None:
            chance = 1 - world.random().random()  # in (0, 1]
            if age_s - entry.load_s * self.early_beta * math.log(chance) >= entry.fresh_s:
                return Verdict.REFRESH
        return Verdict.SERVE
