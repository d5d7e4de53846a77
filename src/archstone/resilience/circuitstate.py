"""The moves of a circuit, apart from locks, metrics and stores.

    closed     --too many failures-->     open until now + open_s      (or --by hand-->)
    open       --a call at its end-->     half open, that call is its first trial
    half open  --all trials worked-->     closed, nothing counted
    half open  --one trial failed-->      open until now + open_s
    half open  --no end after open_s-->   half open, as many trials anew
    any        --by hand-->               open until closed by hand; closed

Each move raises the epoch. A call remembers the epoch that it began in, and its result counts in that epoch only: a
slow old call that ends late says nothing about the state that follows.

Instants are seconds on any clock that all users of one state share. The state is plain data, so that it can be stored.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Literal

from archstone.resilience.breaker import Breaker, Ratio

__all__ = ["CircuitState", "Outcome", "Refused", "StateName", "Window"]

StateName = Literal["closed", "open", "half open"]

SLICES: Final = 10
"""Parts of a window of seconds; the oldest falls out as a whole."""


class Outcome:
    """How a call ended, as far as a circuit is concerned."""

    WORKED: Final = 0
    FAILED: Final = 1
    NEITHER: Final = 2


@dataclass(frozen=True, slots=True)
class Refused:
    """A call must not be made."""

    reason: str
    retry_after_s: float


@dataclass(slots=True)
class Window:
    """What the last calls came to: [slice, calls, failures] each, the oldest first; with over_calls one per call."""

    slices: list[list[int]] = field(default_factory=list[list[int]])
    calls: int = 0
    failures: int = 0

    def add(self, ratio: Ratio, failed: int, now_s: float) -> None:
        """Count one call that ended now."""
        if ratio.over_s is None:
            self.slices.append([0, 1, failed])
        else:
            number = math.floor(now_s * SLICES / ratio.over_s)
            if not self.slices or self.slices[-1][0] < number:
                self.forget(ratio, now_s)
                self.slices.append([number, 0, 0])
            last = self.slices[-1]
            last[1] += 1
            last[2] += failed
        self.calls += 1
        self.failures += failed
        if ratio.over_calls is not None and len(self.slices) > ratio.over_calls:
            self._drop(1)

    def forget(self, ratio: Ratio, now_s: float) -> None:
        """Drop what has left a window of seconds."""
        if ratio.over_s is None:
            return
        first = math.floor(now_s * SLICES / ratio.over_s) - SLICES + 1
        gone = 0
        while gone < len(self.slices) and self.slices[gone][0] < first:
            gone += 1
        self._drop(gone)

    def _drop(self, count: int) -> None:
        for _, calls, failures in self.slices[:count]:
            self.calls -= calls
            self.failures -= failures
        del self.slices[:count]

    def over(self, ratio: Ratio) -> bool:
        """Say whether there are too many failures."""
        return self.calls >= ratio.min_calls and self.failures >= ratio.limit * self.calls


@dataclass(slots=True)
class CircuitState:
    """Where a circuit stands."""

    name: StateName = "closed"
    epoch: int = 0
    until_s: float = 0.0
    """Open: when trials may begin, infinite when opened by hand. Half open: when trials that did not end give way."""
    failures: int = 0
    """Closed, counted in a row."""
    free: int = 0
    """Half open: trials that may still begin."""
    worked: int = 0
    """Half open: trials that have worked."""
    window: Window = field(default_factory=Window)

    def admit(self, policy: Breaker, now_s: float) -> Refused | None:
        """Let one call through in the epoch that this leaves, or say why not."""
        if self.name == "closed":
            return None
        if self.name == "open":
            if now_s < self.until_s:
                by_hand = math.isinf(self.until_s)
                return Refused(
                    "opened by hand" if by_hand else "open", policy.open_s if by_hand else self.until_s - now_s
                )
            self._try(policy, now_s)
        elif not self.free:
            if now_s < self.until_s:
                return Refused("half open", min(1.0, self.until_s - now_s))
            # The trials may have died with their processes; nobody would ever give their places back.
            self._try(policy, now_s)
        self.free -= 1
        return None

    def end(self, policy: Breaker, epoch: int, outcome: int, now_s: float) -> None:
        """Count a call that began in `epoch` and ended now."""
        if epoch != self.epoch:
            return
        if outcome == Outcome.NEITHER:
            self.free += self.name == "half open"
        elif self.name == "half open":
            self._end_trial(policy, outcome, now_s)
        elif self.name == "closed":
            self._count(policy, outcome, now_s)

    def open(self, until_s: float) -> None:
        """Refuse calls until an instant, for ever if it is infinite."""
        self._move("open")
        self.until_s = until_s

    def close(self) -> None:
        """Let calls through, with nothing counted."""
        self._move("closed")

    def _count(self, policy: Breaker, outcome: int, now_s: float) -> None:
        if isinstance(policy.failures, Ratio):
            self.window.add(policy.failures, outcome, now_s)
            over = outcome == Outcome.FAILED and self.window.over(policy.failures)
        else:
            self.failures = self.failures + 1 if outcome == Outcome.FAILED else 0
            over = self.failures >= policy.failures
        if over:
            self.open(now_s + policy.open_s)

    def _end_trial(self, policy: Breaker, outcome: int, now_s: float) -> None:
        if outcome == Outcome.FAILED:
            self.open(now_s + policy.open_s)
            return
        self.worked += 1
        if self.worked >= policy.trials:
            self.close()

    def _try(self, policy: Breaker, now_s: float) -> None:
        self._move("half open")
        self.until_s = now_s + policy.open_s
        self.free = policy.trials

    def _move(self, name: StateName) -> None:
        self.name = name
        self.epoch += 1
        self.until_s = 0.0
        self.failures = self.free = self.worked = 0
        self.window = Window()
