"""An origin of bounded capacity: it works on so many values at once, and the others stand in line.

Whoever gives up is not taken out of the line: a database does not know that the page which asked has been closed. That
is what makes an overload last longer than its cause: the origin is busy with work that nobody waits for any more.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final, NamedTuple

from archstone import world

__all__ = ["STEP_S", "Origin", "OriginFullError", "OriginRecord", "OriginSettings"]

STEP_S: Final = 0.1
"""Seconds of one value in a record."""
_MAX_WAITING: Final = 5_000
_SPREAD: Final = 0.2


class OriginFullError(ConnectionError):
    """The line is full: the origin does not take the request."""


class OriginSettings(NamedTuple):
    """How much an origin can do."""

    places: int
    load_s: float
    seed: str
    """Draws how long each load takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginRecord:
    """What an origin has seen from `begin` on."""

    loads: int
    """Loads that it was asked for."""
    keys: int
    """Different keys among them."""
    wasted: int
    """Loads for somebody who had given up: made, or still in line at the end."""
    peak: int
    """Most loads at one time, those in line included."""
    held: Sequence[int]
    """The same for each step of `STEP_S`, the first first."""

    def as_json(self) -> dict[str, Any]:
        """Return it for a document, or for another process."""
        return asdict(self)


class Origin:
    """The model: no work is done, time passes."""

    def __init__(self, settings: OriginSettings) -> None:
        self._settings = settings
        self._chance = Random(f"origin/{settings.seed}")
        self._line: deque[asyncio.Future[None]] = deque()
        self._busy = 0
        self._loads: list[str] = []
        self._wasted = 0
        self._changes: list[tuple[float, int]] = []
        self._began_s = 0.0

    async def begin(self) -> None:
        """Count from now on."""
        self._began_s = world.monotonic()

    async def load(self, key: str) -> bytes:
        """Return the value of `key`, when its turn has come and it is done.

        Raises:
            OriginFullError: 5,000 are in line.
        """
        self._loads.append(key)
        if len(self._line) >= _MAX_WAITING:
            raise OriginFullError(f"{_MAX_WAITING} in line")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(done)
        self._work()
        self._changed()
        await done
        return key.encode()

    async def end(self) -> OriginRecord:
        """Return what was seen since `begin`."""
        return OriginRecord(
            loads=len(self._loads),
            keys=len(set(self._loads)),
            wasted=self._wasted + sum(waiting.done() for waiting in self._line),
            peak=max((held for _, held in self._changes), default=0),
            held=_by_step(self._changes, world.monotonic() - self._began_s),
        )

    def _work(self) -> None:
        while self._line and self._busy < self._settings.places:
            self._busy += 1
            takes_s = self._settings.load_s * self._chance.uniform(1 - _SPREAD, 1 + _SPREAD)
            asyncio.get_running_loop().call_later(takes_s, self._finish, self._line.popleft())

    def _finish(self, done: "asyncio.Future[None]") -> None:
        self._busy -= 1
        if done.done():  # cancelled
            self._wasted += 1
        else:
            done.set_result(None)
        self._work()
        self._changed()

    def _changed(self) -> None:
        self._changes.append((world.monotonic() - self._began_s, self._busy + len(self._line)))


def _by_step(changes: Sequence[tuple[float, int]], duration_s: float) -> list[int]:
    """Return the most that was held in each step."""
    steps: list[int] = []
    held, at = 0, 0
    for number in range(round(duration_s / STEP_S)):
        most = held
        while at < len(changes) and changes[at][0] < (number + 1) * STEP_S:
            held = changes[at][1]
            most = max(most, held)
            at += 1
        steps.append(most)
    return steps
