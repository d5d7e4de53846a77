"""Virtual time and seeded order: run a program that waits without waiting, and again exactly as it was.

    answer = simulation.run(main, seed=7)

`run` gives the program a `VirtualLoop` (time jumps to the next timer; ready callbacks in an order drawn from the
seed) and a `SimulatedWorld` (clock, chance, ids and secrets from the seed). A `Trace` sums up everything that
happened in one hash. Use it for every test that waits and for searching interleavings; do not use it to measure
speed, or for code that needs sockets, subprocesses or threads.
"""

from archstone.simulation.errors import (
    DeadlockError,
    LeakedTasksError,
    LimitError,
    SimulationError,
    UnhandledError,
    UnsupportedError,
)
from archstone.simulation.loop import VirtualLoop
from archstone.simulation.stage import Stage, run
from archstone.simulation.trace import Trace, first_difference
from archstone.simulation.world import STARTS_AT, SimulatedWorld

__all__ = [
    "STARTS_AT",
    "DeadlockError",
    "LeakedTasksError",
    "LimitError",
    "SimulatedWorld",
    "SimulationError",
    "Stage",
    "Trace",
    "UnhandledError",
    "UnsupportedError",
    "VirtualLoop",
    "first_difference",
    "run",
]
