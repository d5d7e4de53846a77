"""Commands and events as arrays: what engines take and give when there are many at once.

Both records have 64 bytes and no padding that means anything, so that a file, a socket and a C++ engine read the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archstone.systems.exchange.matching.commands import Command
from archstone.systems.exchange.matching.events import Event

__all__ = ["COMMAND", "EVENT", "Commands", "Events", "applied", "commands_of", "joined", "rows_of", "told_rows"]

COMMAND: Final = np.dtype(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("type", "u1"),
        ("tif", "u1"),
        ("flags", "u1"),
        ("stp", "u1"),
        ("spare", "u2"),
        ("account", "<u4"),
        ("book", "<u4"),
        ("id", "<u8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("display", "<i8"),
        ("trigger", "<i8"),
        ("sequence", "<u8"),
    ]
)
"""A command, with what the sequencer knows: which book it is for and its number."""
EVENT: Final = np.dtype(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("reason", "u1"),
        ("spare", "u1"),
        ("command", "<u4"),
        ("id", "<u8"),
        ("other", "<u8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("left", "<i8"),
        ("other_left", "<i8"),
        ("account", "<u4"),
        ("other_account", "<u4"),
    ]
)
"""An event, with the place of its command in the batch."""

Commands = npt.NDArray[np.void]
"""Of `COMMAND`, shape (n,)."""
Events = npt.NDArray[np.void]
"""Of `EVENT`, shape (n,), in the order in which they happened."""


def rows_of(commands: Iterable[Command]) -> Commands:
    """Return commands as an array. OverflowError for a number that no field holds."""
    given = [*commands]
    rows = np.zeros(len(given), COMMAND)
    for name in Command._fields:
        rows[name] = [getattr(each, name) for each in given]
    return rows


def joined(parts: Iterable[Commands]) -> Commands:
    """Return all commands in an array of their own. As bytes: numpy takes long to join arrays of records."""
    return np.frombuffer(bytearray().join(np.ascontiguousarray(each).data for each in parts), COMMAND)


def commands_of(rows: Commands) -> list[Command]:
    """Return the commands of an array."""
    columns: list[list[Any]] = [rows[name].tolist() for name in Command._fields]
    return [Command(*row) for row in zip(*columns, strict=True)]


def applied(apply: Callable[[Command], list[Event]], rows: Commands) -> Events:
    """Return what came of each of `rows`, done one after another."""
    return told_rows([(index, event) for index, each in enumerate(commands_of(rows)) for event in apply(each)])


def told_rows(told: Sequence[tuple[int, Event]]) -> Events:
    """Return events, each with the place of its command, as an array."""
    events = np.zeros(len(told), EVENT)
    events["command"] = [index for index, _ in told]
    for name in Event._fields:
        events[name] = [getattr(event, name) for _, event in told]
    return events
