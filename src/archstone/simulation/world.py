"""The world inside a simulation: the loop's clock, a fixed calendar, seeded chance and seeded secrets."""

import random
from datetime import UTC, datetime
from typing import Final

from archstone.simulation.loop import VirtualLoop
from archstone.simulation.trace import Trace
from archstone.world import World

__all__ = ["STARTS_AT", "SimulatedWorld"]

STARTS_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall-clock instant of virtual time 0."""


class SimulatedWorld(World):
    """Time from a virtual loop, chance and secrets from a seed: everything that happens can be had again.

    Secrets are guessable here by design. Never use it outside tests and simulations.
    """

    simulated: Final = True
    """True here only; `getattr(world.current(), "simulated", False)` tells whether a run is simulated."""

    def __init__(self, loop: VirtualLoop, *, seed: int | str | None = None, starts_at: datetime = STARTS_AT) -> None:
        super().__init__()
        self._loop = loop
        self._starts_us = round(starts_at.timestamp() * 1_000_000)
        self._random = random.Random(f"chance/{seed}")
        self._secrets = random.Random(f"secrets/{seed}")
        self.trace: Trace | None = loop.trace
        """The trace of this run, or None. A block tells it what sqlite3 and spans do not: messages in memory."""
        self.trace_sql = None if loop.trace is None else loop.trace.sql
        """Given to sqlite3 as the trace callback by whoever opens a connection, or None."""

    def monotonic(self) -> float:
        """Return the virtual seconds since the run began."""
        return self._loop.time()

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch: the fixed start plus virtual time."""
        return self._starts_us + round(self._loop.time() * 1_000_000)

    def secret_bytes(self, count: int) -> bytes:
        """Return `count` bytes drawn from the seed."""
        return self._secrets.randbytes(count)
