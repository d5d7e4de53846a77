"""The venue in C++, if the distribution `archstone-matching` is there: the same rules, some hundred times faster."""

from importlib import import_module
from typing import Any, Protocol, Self, cast

import numpy as np

from archstone.systems.exchange.matching import COMMAND, EVENT, Commands, Events, Side
from archstone.systems.exchange.venue.port import Standing, Venue
from archstone.systems.exchange.venue.reference import ReferenceVenue
from archstone.systems.exchange.venue.state import VERSION, DumpError, body_of, wrapped

__all__ = ["NativeVenue", "fastest", "venue"]

_Halves = tuple[int, int]


class _Venue(Protocol):
    def apply_batch(self, commands: Commands, at_ns: int) -> Any: ...
    def depth(self, book: int, side: int, levels: int) -> list[tuple[int, int, int]]: ...
    def standing(self, account: int) -> tuple[_Halves, _Halves, _Halves, _Halves, list[tuple[int, int]], bool]: ...
    def digest(self) -> int: ...
    def dump(self) -> bytes: ...
    @property
    def memory_bytes(self) -> int: ...
    def __len__(self) -> int: ...


class NativeVenue:
    """See `Venue`. A batch runs without the interpreter's lock."""

    def __init__(self, body: bytes | None = None) -> None:
        """Make one without books and accounts.

        Args:
            body: Of a dump; `load` has checked it.

        Raises:
            ImportError: `archstone-matching` is not installed, or has other rules than those here.
        """
        try:
            module: Any = import_module("archstone_matching")
        except ImportError as error:
            message = "the venue in C++ is not installed: pip install archstone-matching"
            raise ImportError(message, name="archstone_matching") from error
        if (rules := getattr(module, "RULES", 1)) != VERSION:
            message = (
                f"the venue in C++ has version {rules} of the rules, not {VERSION}: pip install -U archstone-matching"
            )
            raise ImportError(message, name="archstone_matching")
        self._venue: _Venue = module.Venue() if body is None else module.Venue(body)

    def apply(self, commands: Commands, at_ns: int) -> Events:
        """Do commands; see `Venue.apply`.

        Raises:
            MemoryError: It ended within a command. Every later call has RuntimeError: make it again from the log.
            RuntimeError: Another thread is in it; nothing has happened.
        """
        if commands.dtype != COMMAND:
            raise TypeError(f"commands have the dtype COMMAND, not {commands.dtype}")
        return cast("Events", self._venue.apply_batch(np.ascontiguousarray(commands), at_ns).view(EVENT))

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best prices of a side; see `Venue.depth`."""
        return self._venue.depth(book, side, levels)

    def standing(self, account: int) -> Standing:
        """Return an account; see `Venue.standing`."""
        *money, positions, killed = self._venue.standing(account)
        cash, reserved, exposure, profit = (high << 64 | low for high, low in money)
        return Standing(
            account=account,
            cash=cash,
            reserved=reserved,
            positions=dict(positions),
            exposure=exposure,
            profit=profit,
            killed=killed,
        )

    def digest(self) -> int:
        """Return 64 bits of the state; see `Venue.digest`."""
        return self._venue.digest()

    def dump(self) -> bytes:
        """Return the whole state; see `Venue.dump`, and `state` for its form."""
        return wrapped(self._venue.dump(), self._venue.digest())

    @classmethod
    def load(cls, state: bytes) -> Self:
        """Return the venue that was dumped, by whichever class of venue.

        Raises:
            DumpError: It is damaged, or of a version that is not known here. Take an older one.
        """
        body, digest = body_of(state)
        try:
            venue = cls(body)
        except ValueError as error:
            raise DumpError(str(error)) from error
        if venue.digest() != digest:
            raise DumpError(f"the dump makes a venue of digest {venue.digest():016x}, not {digest:016x}")
        if venue._venue.dump() != body:
            raise DumpError("the dump is not what its venue would be dumped as")
        return venue

    @property
    def memory_bytes(self) -> int:
        """What the pools and the hashes of orders take."""
        return self._venue.memory_bytes

    def __len__(self) -> int:
        """Count the live orders."""
        return len(self._venue)


def fastest() -> type[NativeVenue] | type[ReferenceVenue]:
    """Return the class of the fastest venue that is installed: what is given to whoever makes and loads venues."""
    try:
        NativeVenue()
    except ImportError:
        return ReferenceVenue
    return NativeVenue


def venue(state: bytes | None = None) -> Venue:
    """Return the fastest venue that is installed, empty or that of a dump; its class says which.

    Raises:
        DumpError: The dump is damaged, or of a version that is not known here.
    """
    made = fastest()
    return made() if state is None else made.load(state)
