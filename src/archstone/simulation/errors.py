"""What a simulation says when it cannot go on, or when it ends untidily."""

from collections.abc import Sequence

from archstone.errors import ArchstoneError

__all__ = ["DeadlockError", "LeakedTasksError", "LimitError", "SimulationError", "UnhandledError", "UnsupportedError"]


class SimulationError(ArchstoneError, code="simulation.error"):
    """A simulated run went wrong in a way that says nothing about the outside world."""


class DeadlockError(SimulationError, code="simulation.deadlock"):
    """Nothing is ready, no timer is set, and the run is not over: it would wait forever."""

    def __init__(self, at_s: float, pending: Sequence[str]) -> None:
        super().__init__(at_s, pending)
        self.at_s = at_s
        """Virtual seconds since the start."""
        self.pending = tuple(pending)
        """The tasks that wait, each with the place where it waits."""

    def __str__(self) -> str:
        return (
            f"simulation is deadlocked at {self.at_s:.6f} s: nothing is ready and no timer is set; "
            f"{len(self.pending)} tasks wait: {_listing(self.pending)}"
        )


class LimitError(SimulationError, code="simulation.limit"):
    """The run used up its virtual time, or turned too often without any time passing."""

    def __init__(self, what: str, limit: float, pending: Sequence[str]) -> None:
        super().__init__(what, limit, pending)
        self.what = what
        self.limit = limit
        self.pending = tuple(pending)

    def __str__(self) -> str:
        return (
            f"simulation passed its limit of {self.limit:g} {self.what} and is not over; "
            f"raise the limit or look at what waits: {_listing(self.pending)}"
        )


class LeakedTasksError(SimulationError, code="simulation.leaked-tasks"):
    """The run ended while tasks that it had started were still pending. They have been cancelled."""

    def __init__(self, leaked: Sequence[str]) -> None:
        super().__init__(leaked)
        self.leaked = tuple(leaked)

    def __str__(self) -> str:
        return (
            f"{len(self.leaked)} tasks were still pending when the run ended: {_listing(self.leaked)}; "
            "await or cancel them before returning"
        )


class UnhandledError(SimulationError, code="simulation.unhandled"):
    """A callback or a task failed and nobody looked. The cause is the first such failure."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__(messages)
        self.messages = tuple(messages)

    def __str__(self) -> str:
        return f"{len(self.messages)} failures on the loop went unseen: {_listing(self.messages)}"


class UnsupportedError(SimulationError, NotImplementedError, code="simulation.unsupported"):
    """The code under simulation asked for a socket, a subprocess, a signal or a thread."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.what} is not there on a virtual loop, which has no sockets, subprocesses, signals or threads; "
            "use an in-process stand-in, or run on a real loop (in tests: the marker real_time)"
        )


def _listing(lines: Sequence[str], *, most: int = 20) -> str:
    shown = "; ".join(lines[:most]) or "none"
    return shown if len(lines) <= most else f"{shown}; and {len(lines) - most} more"
