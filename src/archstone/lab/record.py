"""What became of each request, counted by second and kind in bounded space.

A second is that in which a request was *due*, not that in which it was sent or answered: what a stall delays counts
where it should have happened.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

from archstone.lab.histogram import Histogram

__all__ = ["OUTCOMES", "Cell", "Outcome", "Record", "outcome_of"]

Outcome = Literal["ok", "late", "limited", "shed", "shed_mute", "refused", "failed", "timeout", "broken", "not_sent"]
"""`ok` and `late` were served; `limited` is 429, `shed` 503 with Retry-After and `shed_mute` without, `refused` any
other 4xx, `failed` any other 5xx, `broken` a connection that ended, `not_sent` no connection free in time."""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
SERVED: Final = frozenset({"ok", "late"})


def outcome_of(status: int, latency_s: float, *, late_after_s: float, retry_after: bool) -> Outcome:
    """Return what an answer counts as. Status 0 is a connection that ended."""
    if status == 429:
        return "limited"
    if status == 503:
        return "shed" if retry_after else "shed_mute"
    if 200 <= status < 400:
        return "ok" if latency_s <= late_after_s else "late"
    if status >= 500:
        return "failed"
    return "refused" if status >= 400 else "broken"


class Cell:
    """Requests of one kind in one second, or any sum of such."""

    __slots__ = ("outcomes", "refusals", "served")

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.served = Histogram()
        """Times of answers that were wanted, on time or late, from when the request was due."""
        self.refusals = Histogram()
        """Times of 429 and 503."""

    @property
    def due(self) -> int:
        """Requests that were due."""
        return self.outcomes.total()

    @property
    def good(self) -> int:
        """Requests served in time."""
        return self.outcomes["ok"]

    def merge(self, other: "Cell") -> None:
        """Count what `other` has counted, too."""
        self.outcomes.update(other.outcomes)
        self.served.merge(other.served)
        self.refusals.merge(other.refusals)


class Record:
    """All that a run came to."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, str], Cell] = {}
        self.lags = Histogram()
        """Time from when a request was due to when it was sent."""
        self.trail: list[tuple[float, float | None]] = []
        """Due instant and time to the answer (None: not served in time) of each request after `trail_from_s`."""
        self.trail_from_s = float("inf")

    def add(self, kind: str, due_s: float, *, outcome: Outcome, took_s: float) -> None:
        """Count one request.

        Args:
            kind: Its kind.
            due_s: When it was due, seconds from the start of the run.
            outcome: What became of it.
            took_s: Seconds from then to its end.
        """
        cell = self._cells.get((int(due_s), kind))
        if cell is None:
            cell = self._cells[int(due_s), kind] = Cell()
        cell.outcomes[outcome] += 1
        if outcome in SERVED:
            cell.served.add(took_s)
        elif outcome in {"limited", "shed", "shed_mute"}:
            cell.refusals.add(took_s)
        if due_s >= self.trail_from_s:
            self.trail.append((due_s, took_s if outcome in SERVED else None))

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds that were due, by name."""
        return sorted({kind for _, kind in self._cells})

    def sum(self, seconds: Iterable[int], kind: str | None = None) -> Cell:
        """Return the sum over seconds, of one kind or (None) of all."""
        total = Cell()
        for second in seconds:
            for name in self.kinds if kind is None else (kind,):
                if (cell := self._cells.get((second, name))) is not None:
                    total.merge(cell)
        return total
