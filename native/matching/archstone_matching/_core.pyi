# ruff: noqa: PYI021 - the module is compiled: its promises stand here
from collections.abc import Buffer
from typing import Any

RULES: int
"""Version of the venue's rules, and of its dumps."""

class Book:
    """One book."""

    def __init__(self, *, phase: int = 1, capacity: int = 1024) -> None:
        """Make an empty book, with room for `capacity` orders before anything is allocated."""

    def apply(
        self,
        kind: int,
        id: int,
        account: int,
        side: int,
        type: int,
        tif: int,
        flags: int,
        stp: int,
        price: int,
        quantity: int,
        display: int,
        trigger: int,
        /,
    ) -> list[tuple[int, int, int, int, int, int, int, int, int, int, int]]:
        """Do one command; return its events as tuples. TypeError for a number that no field holds."""

    def apply_batch(self, commands: Buffer, /) -> Any:
        """Do commands, records of 64 bytes, without the interpreter's lock; return the bytes of their events."""

    def depth(self, side: int, levels: int, /) -> list[tuple[int, int, int]]:
        """Return price, lots shown and orders of the best levels."""

    def digest(self) -> int:
        """Return 64 bits over all that decides about the book's future."""

    @property
    def bytes(self) -> int:
        """What the pool and the hash of orders take."""

    def __len__(self) -> int:
        """Count the live orders."""

class Venue:
    """All books and accounts."""

    def __init__(self, body: bytes = ..., /) -> None:
        """Make an empty one, or that of a dump's body. ValueError: it is none."""

    def apply_batch(self, commands: Buffer, at_ns: int, /) -> Any:
        """Do commands, records of 64 bytes, without the interpreter's lock; return the bytes of their events."""

    def depth(self, book: int, side: int, levels: int, /) -> list[tuple[int, int, int]]:
        """Return price, lots shown and orders of the best levels. KeyError: no such book."""

    def standing(
        self, account: int, /
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], list[tuple[int, int]], bool]:
        """Return cash, reserved, exposure and profit, as their high and low 64 bits; positions; if killed."""

    def digest(self) -> int:
        """Return 64 bits over all that decides about the venue's future."""

    def dump(self) -> bytes:
        """Return the whole state, without the header."""

    @property
    def memory_bytes(self) -> int:
        """What the pools and the hashes of orders take."""

    def __len__(self) -> int:
        """Count the live orders."""
