"""What a leader goes by when it acknowledges: whose word it needs, and how long its lease holds.

    alone      the witness has it in writing that nobody else may lead: the leader's own disk is enough
    in two     the standby may lead after the leader: both disks must hold a frame

From alone to in two the leader goes by itself, before it tells the witness (`needing`); back only once the witness has
granted it (`parted`). So whenever the witness would let the standby lead, the leader needs its word: of that standby,
not of another one that has come in its place.
"""

from dataclasses import dataclass, replace
from typing import Self

__all__ = ["Leading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """A leader in one epoch."""

    epoch: int
    standby: str = ""
    """Whose word is needed; see `identity` of `grant`. Empty: nobody's."""
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

    def hears(self, node: str) -> bool:
        """Whether what a node says that it holds counts: not if another one's word is needed."""
        return self.standby in {"", node}

    def told(self, held: int) -> Self:
        """Return what follows when the standby says what it holds."""
        return replace(self, held=max(self.held or 0, held))

    def connected(self) -> Self:
        """Return what follows when a standby connects: it may hold less than it did before."""
        return replace(self, held=None)

    def needing(self, standby: str) -> Self:
        """Return what follows when who is connected is to join: its word is needed before the witness is told."""
        return replace(self, standby=standby)

    def asking(self) -> Self:
        """Return what follows before the witness is asked for ALONE or JOIN: nothing but a serial."""
        return replace(self, serial=self.serial + 1)

    def parted(self) -> Self:
        """Return what follows when the witness has granted that."""
        return replace(self, standby="", held=None)

    def renewed(self, until_s: float) -> Self:
        """Return what follows when the lease holds until `until_s`."""
        return replace(self, until_s=max(self.until_s, until_s))
