"""The port of a sequencer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple, Protocol

from archstone.systems.exchange.matching import Commands, Events

__all__ = ["Batch", "Dump", "Sequencer", "keeps"]


class Batch(NamedTuple):
    """Commands that were done together."""

    first: int
    """Number of the first command; the others follow. The first of all is 1."""
    at_ns: int
    """When, since 1970."""
    commands: Commands
    """As they are kept: with sequence."""
    events: Events
    """What came of them; `command` counts from the first of this batch."""

    @property
    def last(self) -> int:
        """Number of the last command."""
        return self.first + len(self.commands) - 1


class Dump(NamedTuple):
    """A venue as it was after a command."""

    sequence: int
    """Number of that command."""
    venue: bytes
    """As `Venue.dump` makes it."""


class Sequencer(Protocol):
    """Takes commands of all, and tells all."""

    @property
    def last(self) -> int:
        """Number of the last command that is kept. 0: there is none."""
        ...

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done, at least one, in this order and without others in between; return when they are kept.

        Raises:
            RejectedError: They were not taken: too many wait, or another node leads. Nothing has happened.
            UnavailableError: Whether they are kept is not known: this node stopped leading meanwhile. Ask who leads now
                for orders of the same numbers; what was kept is refused as used.
        """
        ...

    def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give all that is kept after command number `after`, then all that comes, without end.

        Batches may be other ones than those submitted, but none is cut or left out.

        Raises:
            LookupError: What comes after `after` is no longer kept; begin with `dump`.
        """
        ...

    async def dump(self) -> Dump:
        """Return the venue as it is after the newest command; what comes after that can be followed.

        For who begins where the stream no longer has what came before: the venue does nothing else meanwhile.
        """
        ...


async def keeps(sequencer: Sequencer, after: int) -> bool:
    """Return whether a sequencer still has what comes after command number `after`."""
    if after >= sequencer.last:
        return True
    async with aclosing(sequencer.follow(after)) as batches:
        try:
            await anext(batches)
        except LookupError:
            return False
    return True
