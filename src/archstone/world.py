"""The only door to time, randomness, secrets, ids and crash points.

Every block asks the current `World` instead of `time`, `random`, `secrets` or `uuid`, so that a test or a
simulation replaces all of them at once. The world is found through a ContextVar at each call and never
captured at import. Outside a simulation nobody needs to know that it exists.
"""

import os
import random as _random
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NoReturn

__all__ = [
    "CRASH_VARIABLE",
    "World",
    "arm",
    "clock",
    "crash_points",
    "current",
    "declare_point",
    "leave",
    "monotonic",
    "new_id",
    "now",
    "now_us",
    "point",
    "random",
    "secret_bytes",
    "set_current",
    "use",
]

CRASH_VARIABLE: Final = "ARCHSTONE_CRASH"
"""Environment variable `name` or `name:n`: the process kills itself with SIGKILL at the n-th pass of that point."""

_points: dict[str, str] = {}
_armed: dict[str, Callable[[], None]] = {}


class World:
    """The real world. A simulation subclasses it and answers from its own clock and its own seed."""

    def __init__(self) -> None:
        self._random = _random.Random()

    if TYPE_CHECKING:

        def monotonic(self) -> float:
            """Return seconds on a clock that never goes back; only differences mean something."""
            ...

    else:
        monotonic = staticmethod(time.perf_counter)  # the clock itself: a method that asks it costs as much again

    def clock(self) -> Callable[[], float]:
        """Return what `monotonic` reads, without the way through this object."""
        return time.perf_counter if type(self).monotonic is World.monotonic else self.monotonic

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000

    def random(self) -> _random.Random:
        """Return the source of chance for jitter, sampling and choice. Not for secrets."""
        return self._random

    def secret_bytes(self, count: int) -> bytes:
        """Return `count` bytes that nobody can guess."""
        return os.urandom(count)


_real: Final = World()
_world: ContextVar[World] = ContextVar("archstone_world", default=_real)

if hasattr(os, "register_at_fork"):  # not on Windows
    # As Python does for its own source of chance: a server that forks its workers must not make each id in all of them.
    os.register_at_fork(after_in_child=_real.random().seed)


current = _world.get
"""Return the world of the running context."""

set_current = _world.set
"""Make a world the current one; hand the token it returns to `leave`. For hot paths; others use `use`."""

leave = _world.reset
"""Undo `set_current`."""


@contextmanager
def use(world: World) -> Generator[World]:
    """Make `world` the current one for the block, and for the tasks started in it."""
    token = _world.set(world)
    try:
        yield world
    finally:
        _world.reset(token)


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences mean something."""
    return _world.get().monotonic()


def clock() -> Callable[[], float]:
    """Return the function behind `monotonic`, for hot paths. A block asks when it is opened, so once in a run."""
    return _world.get().clock()


def now_us() -> int:
    """Return microseconds since the Unix epoch, UTC: the form that tables store."""
    return _world.get().now_us()


def now() -> datetime:
    """Return the wall-clock instant, aware, UTC."""
    return datetime.fromtimestamp(_world.get().now_us() / 1_000_000, UTC)


def random() -> _random.Random:
    """Return the source of chance for jitter, sampling and choice. Not for secrets."""
    return _world.get().random()


def secret_bytes(count: int) -> bytes:
    """Return `count` bytes that nobody can guess."""
    return _world.get().secret_bytes(count)


def new_id() -> str:
    """Return a new id: 32 hex digits, a UUID version 7, so ids made later sort later (to the millisecond).

    Source: RFC 9562, section 5.7.
    """
    world = _world.get()
    chance = world.random().getrandbits(74)
    millis = world.now_us() // 1000
    value = (millis << 80) | (0x7 << 76) | ((chance >> 62) << 64) | (0x2 << 62) | (chance & ((1 << 62) - 1))
    return f"{value:032x}"


def declare_point(name: str, meaning: str) -> str:
    """Register a crash point and return its name. Call it at module level, beside the code that passes it.

    Args:
        name: `block.what_just_happened`, such as `data.after_commit`.
        meaning: One sentence: what is on disk and what is not when a process dies here.
    """
    _points[name] = meaning
    return name


def crash_points() -> MappingProxyType[str, str]:
    """Return every declared crash point with its meaning. A test walks this list and kills at each."""
    return MappingProxyType(_points)


def point(name: str) -> None:
    """Pass a crash point: nothing happens unless it is armed."""
    if _armed and (strike := _armed.get(name)) is not None:
        strike()


def arm(name: str, *, passes: int = 1, strike: Callable[[], None] | None = None) -> None:
    """Make the `passes`-th pass of point `name` kill this process with SIGKILL (or call `strike`).

    A point kills and never raises: an exception would run handlers that a real crash does not run.
    """
    left = passes

    def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            (strike or _die)()

    _armed[name] = count_down


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(137)  # unreachable where SIGKILL exists; Windows ends the process here


def _arm_from_environment() -> None:
    wanted = os.environ.get(CRASH_VARIABLE)
    if wanted:
        name, _, passes = wanted.partition(":")
        if (passes or "1").isdecimal():  # `archstone.runtime` refuses what is no number, and names that nobody declares
            arm(name, passes=int(passes or "1"))


_arm_from_environment()
