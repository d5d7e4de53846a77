"""Events as rows: those that were saved together share one, up to 256 of them.

A row costs the database far more than an event costs us, so a save of many events is a few rows, and reading them back
is too. In a row the payloads stand one a line, as JSON has no line ends of its own; `kinds` says what each is, in one
line where all are alike. The position of an event is that of its row times 256, and its place in the row.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from pydantic import ValidationError

from archstone.data import Event
from archstone.eventsourcing.errors import EventUnreadableError
from archstone.eventsourcing.recorded import Recorded
from archstone.eventsourcing.sealing import unseal
from archstone.eventsourcing.unit import Reads
from archstone.eventsourcing.upcast import decoder

__all__ = [
    "EVENTS_PER_ROW",
    "EventRow",
    "Part",
    "decoded",
    "kinds_of",
    "line_of",
    "opened",
    "place_of",
    "position_of",
    "recorded",
]

EVENTS_PER_ROW: Final = 256
_TOLD: Final = 300
"""Characters of a validation error that are told."""


class Kind(NamedTuple):
    """What a stored event is."""

    name: str
    form: int
    """The version of its class when it was stored."""
    sealed: bool
    """Whether its payload has sealed fields."""


class Part(NamedTuple):
    """A piece of a stream."""

    version: int
    """The number of the first event, from 1."""
    size: int
    """How many events, at least 1."""
    kinds: str
    payloads: bytes


class EventRow(NamedTuple):
    """A row, with whose it is and what led to it."""

    row: int
    stream: str
    version: int
    size: int
    kinds: str
    payloads: bytes
    headers: bytes
    at: int

    @property
    def part(self) -> Part:
        """The piece of the stream that it is."""
        return Part(self.version, self.size, self.kinds, self.payloads)


def position_of(row: int, place: int) -> int:
    """Return the position of the event at `place` (from 0) of the row numbered `row`."""
    return row * EVENTS_PER_ROW + place


def place_of(position: int) -> tuple[int, int]:
    """Return row and place of a position."""
    return divmod(position, EVENTS_PER_ROW)


@lru_cache(maxsize=4096)
def line_of(kind: type[Event], *, sealed: bool) -> str:
    """Return the line that says what an event is."""
    return f"{kind.event_name} {kind.event_version}{' sealed' if sealed else ''}"


def kinds_of(lines: Sequence[str]) -> str:
    """Return how the kinds of a row are stored, given the line of each of its events."""
    return lines[0] if len(set(lines)) == 1 else "\n".join(lines)


@lru_cache(maxsize=4096)
def _kinds(text: str) -> tuple[Kind, ...]:
    """Return the kinds of a row: one if all of its events are alike, else one for each."""
    parts = (line.split() for line in text.split("\n"))
    return tuple(Kind(part[0], int(part[1]), len(part) > 2) for part in parts)


def recorded(
    row: EventRow, payloads: list[bytes] | None, *, places: range, names: frozenset[str] | None = None
) -> list[Recorded[Event]]:
    """Return the events of a row with all that is known about them.

    Args:
        row: As it is stored.
        payloads: What `opened` gave for it.
        places: Which of its events, from 0.
        names: The names of the events that are wanted. None: all.
    """
    kinds = _kinds(row.kinds)
    if names is not None and not any(kind.name in names for kind in kinds):
        return []
    kinds = kinds * row.size if len(kinds) == 1 else kinds
    payloads = payloads or row.payloads.split(b"\n")
    return [
        Recorded(
            position_of(row.row, place),
            row.stream,
            row.version + place,
            _decoded_one(row.stream, row.version + place, kinds[place], payloads[place]),
            row.at,
            row.headers,
        )
        for place in places
        if names is None or kinds[place].name in names
    ]


def decoded(stream: str, part: Part, payloads: list[bytes] | None, *, skip: int) -> list[Event]:
    """Return the events of a piece of a stream, without the first `skip`.

    Raises:
        NewerEventError, EventUnreadableError: One cannot be read.
    """
    payloads = payloads or part.payloads.split(b"\n")
    kinds = _kinds(part.kinds)
    if len(kinds) == 1:
        decode = decoder(kinds[0].name, kinds[0].form)
        try:
            return [decode(payload) for payload in payloads[skip:]]
        except ValidationError:
            kinds *= part.size  # one by one, to find which
    return [
        _decoded_one(stream, part.version + place, kinds[place], payloads[place]) for place in range(skip, part.size)
    ]


async def opened(reads: Reads, stream: str, part: Part, persons: set[str]) -> list[bytes] | None:
    """Return the payloads of a row with sealed fields in the clear, or placeholders; None if it has none.

    Those whose fields they are are added to `persons`.
    """
    known = _kinds(part.kinds)
    if not any(kind.sealed for kind in known):
        return None
    kinds = known * part.size if len(known) == 1 else known
    payloads = part.payloads.split(b"\n")
    sealed = [place for place in range(part.size) if kinds[place].sealed]
    clear, found = await unseal(reads, [(stream, part.version + place, payloads[place]) for place in sealed])
    for place, payload in zip(sealed, clear, strict=True):
        payloads[place] = payload
    persons |= found
    return payloads


def _decoded_one(stream: str, version: int, kind: Kind, payload: bytes) -> Event:
    try:
        return decoder(kind.name, kind.form)(payload)
    except ValidationError as error:
        # Fields and rules, never values: they may be personal.
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise EventUnreadableError(stream, version, f"{kind.name} version {kind.form}", faults[:_TOLD]) from error
