"""What a leader goes by when it acknowledges: whose word it needs, and how long its lease holds.

    alone      the witness has it in writing that nobody else may lead: the leader's own disk is enough
    in two     the standby may lead after the leader: both disks must hold a frame

From alone to in two the leader goes by itself, before it tells the witness (`joining`); back only once the witness has
granted it (`parted`). So whenever the witness would let the standby lead, the leader needs its word.
"""

from dataclasses import dataclass, replace
from typing import Self

__all__ = ["Leading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """A leader in one epoch."""

    epoch: int
    standby: str = ""
    """Whose word is needed. Empty: nobody's."""
    held: int | None = None
    """The last command that who is connected holds. None: it has not said so in this epoch, over this connection."""
    serial: int = 0
    """Of the last ALONE or JOIN that was asked for."""
    until_s: float = 0.0
    """When to stop acknowledging, by the clock of this node."""

    def may_acknowledge(self, last: int, now_s: float) -> bool:
        """Whether a frame that this node's disk has, up to command `last`, is kept for good."""
        return now_s < self.until_s and self.holds(last)

    def holds(self, last: int) -> bool:
        """Whether command `last` is on every disk on which it must be, this node's left aside."""
        return not self.standby or (self.held is not None and self.held >= last)

    def told(self, held: int) -> Self:
        """Return what follows when the standby says what it holds."""
        return replace(self, held=max(self.held or 0, held))

    def connected(self) -> Self:
        """Return what follows when a standby connects: it may hold less than it did before."""
        return replace(self, held=None)

    def joining(self, standby: str) -> Self:
        """Return what follows when who is connected holds all that was acknowledged, before the witness is told."""
        return replace(self, standby=standby, serial=self.serial + 1)

    def parting(self) -> Self:
        """Return what follows before the witness is asked to let this node go on alone: nothing but a serial."""
        return replace(self, serial=self.serial + 1)

    def parted(self) -> Self:
        """Return what follows when the witness has granted that."""
        return replace(self, standby="", held=None)

    def renewed(self, until_s: float) -> Self:
        """Return what follows when the lease holds until `until_s`."""
        return replace(self, until_s=max(self.until_s, until_s))
