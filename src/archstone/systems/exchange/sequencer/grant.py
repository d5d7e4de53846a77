"""Who leads: what the witness decides, as a function of what it has kept and what it is asked.

    CLAIM    I want to lead.                    granted: in a new epoch, alone
    RENEW    I lead on.                         granted: for another lease
    ALONE    The standby is away.               granted: it can never lead before it has joined again
    JOIN     The standby holds all that I do.   granted: it may lead once my lease is over

What is asked under another epoch than the one of the grant is refused: that is how an old leader learns of the new one.
`serial` rises with each ALONE and JOIN of an epoch, so that one that was under way for long changes nothing.

Who a node is, its name and the id of its folder say together: a node whose folder was emptied is another one, which has
been granted nothing, whatever its name.
"""

import json
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import NamedTuple, Self

__all__ = ["Ask", "Asked", "Grant", "decide", "identity", "name_of"]


class Ask(IntEnum):
    """What a node wants of the witness."""

    CLAIM = 1
    RENEW = 2
    ALONE = 3
    JOIN = 4


class Asked(NamedTuple):
    """A question to the witness."""

    what: Ask
    node: str
    """Who asks; see `identity`."""
    epoch: int
    """Of the leader that asks; of a claim: the last one in the node's log."""
    serial: int = 0
    other: str = ""
    """Who joins; see `identity`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the witness keeps, durably, before it answers."""

    epoch: int = 0
    leader: str = ""
    standby: str = ""
    """Who holds all that was acknowledged, and so may lead after the leader. Empty: nobody."""
    serial: int = 0
    """Of the last ALONE or JOIN of this epoch."""

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `encode` made. ValueError: it is something else, or damaged."""
        try:
            grant = cls(**json.loads(data))
        except TypeError as error:
            raise ValueError(str(error)) from error
        numbers, names = (grant.epoch, grant.serial), (grant.leader, grant.standby)
        if not (all(type(each) is int for each in numbers) and all(type(each) is str for each in names)):
            raise ValueError("a field is of another type")
        return grant


def identity(name: str, folder_id: str) -> str:
    """Return who a node is."""
    return f"{name}/{folder_id}"


def name_of(identity: str) -> str:
    """Return its name alone. Empty: nobody's."""
    return identity.rpartition("/")[0]


def decide(grant: Grant, asked: Asked, *, lease_over: bool) -> Grant | None:
    """Return the grant that follows; None: refused, and nothing changes."""
    if asked.what is Ask.CLAIM:
        # A log with a later epoch than the witness knows of: the witness has lost what it kept.
        known = asked.epoch <= grant.epoch
        # Nobody has led yet: who is to be first has all that a log had before, and so its last epoch.
        first, same = not grant.leader and asked.epoch == grant.epoch, asked.node == grant.leader
        heir = asked.node == grant.standby and lease_over
        if not (known and (first or same or heir)):
            return None
        return Grant(epoch=grant.epoch + 1, leader=asked.node)
    if (asked.epoch, asked.node) != (grant.epoch, grant.leader):
        return None
    if asked.what is Ask.RENEW:
        return grant
    if asked.serial <= grant.serial:
        return None
    return replace(grant, standby=asked.other if asked.what is Ask.JOIN else "", serial=asked.serial)
