"""The chain of an audit log: how a record is bound to the one before it, and what shows that somebody touched it.

Pure: it reads and writes nothing. A record carries the hash of the one before and its own, an HMAC-SHA256 over the
name of the log, its number, its fields and that other hash. Without the key nobody makes a chain that holds.

What a chain alone cannot show is that its end was cut off. For that an *anchor*, number and hash of a record, is kept
elsewhere: a chain that does not lead to it was cut or written anew.

Source: Schneier and Kelsey 1999, "Secure Audit Logs to Support Computer Forensics", without their forward security: the
key is not thrown away, so that the log can be checked by whoever has it.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["BEGINNING", "PRUNED", "AuditFault", "AuditRecord", "ChainCheck", "Entry", "Head", "Outcome", "link"]

Outcome: TypeAlias = Literal["done", "denied", "failed"]
"""`done`: it took effect. `denied`: whoever asked may not. `failed`: it was tried and did not work."""

PRUNED: Final = "audit.pruned"
"""Action of the record that tells which old records were deleted on purpose."""
_HASH_BYTES: Final = 32
_FAULTS_LIMIT: Final = 100


class Entry(NamedTuple):
    """What a record says."""

    at: int
    """Microseconds since the epoch."""
    who: str
    """Id of the principal; empty for somebody who has not signed in."""
    action: str
    subject: str
    whence: str
    outcome: str
    details: str
    """A JSON object."""


class AuditRecord(NamedTuple):
    """A record as it is stored."""

    number: int
    """From 1, without gaps."""
    at: int
    who: str
    action: str
    subject: str
    whence: str
    outcome: str
    details: str
    before: bytes
    """Hash of the record before; 32 zero bytes in the first."""
    hash: bytes

    @property
    def entry(self) -> Entry:
        """What it says, without its place in the chain."""
        return Entry(self.at, self.who, self.action, self.subject, self.whence, self.outcome, self.details)


class Head(NamedTuple):
    """A record by number and hash: the last one, or one that an anchor remembers. Number 0: there is none yet."""

    number: int
    hash: bytes


class AuditFault(NamedTuple):
    """A place at which the chain does not hold."""

    number: int
    """Of the record; 0: of the log as a whole."""
    what: str


BEGINNING: Final = Head(0, bytes(_HASH_BYTES))
"""What stands before the first record."""


def link(log: str, key: bytes, before: Head, entry: Entry) -> Head:
    """Return the head after `entry`, which comes after `before` in the log called `log`."""
    number = before.number + 1
    # JSON of a list: two different entries never give the same text, as joining fields would.
    text = json.dumps([log, number, *entry], separators=(",", ":"))
    return Head(number, hmac.digest(key, before.hash + text.encode(), hashlib.sha256))


@dataclass(slots=True)
class ChainCheck:
    """Follows a chain, oldest record first, and collects what does not hold. Use it once."""

    log: str
    key: bytes = field(repr=False)
    base: Head
    """What stands before the oldest record that is kept: `BEGINNING`, or the newest one that was pruned."""
    anchors: tuple[Head, ...] = ()
    faults: list[AuditFault] = field(default_factory=list[AuditFault])
    """At most 100."""
    at: Head = field(init=False)
    """The newest record seen."""
    _told: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.at = self.base
        self._told = self.base == BEGINNING
        self._meet(self.base)

    def follow(self, records: Iterable[AuditRecord]) -> None:
        """Take the next records."""
        for record in records:
            self._take(record)

    def end(self, head: Head) -> None:
        """Say that this was all, and where the log says that it ends."""
        if head != self.at:
            self._fault(self.at.number, f"the log says that it ends with {head.number}: the end was changed or removed")
        if not self._told:
            self._fault(0, f"records up to {self.base.number} are gone and no record tells that they were pruned")
        for anchor in self.anchors:
            if anchor.number > self.at.number:
                what = f"the anchor knows {anchor.number} records: the end was cut off"
                self._fault(self.at.number, what)

    def _take(self, record: AuditRecord) -> None:
        expected = self.at.number + 1
        if record.number > expected:
            missing = str(expected) if record.number == expected + 1 else f"{expected} to {record.number - 1}"
            self._fault(expected, f"missing: {missing}")
        if record.before != self.at.hash and record.number == expected:
            self._fault(record.number, "does not follow the record before it: one of the two was changed or moved")
        made = link(self.log, self.key, Head(record.number - 1, record.before), record.entry)
        if not hmac.compare_digest(made.hash, record.hash):
            self._fault(record.number, "changed: its hash is not that of what it says")
        if record.action == PRUNED and record.details == pruned_details(self.base):
            self._told = True
        # Go on from what is stored, so that one change gives one fault or two, not one for each record after it.
        self.at = Head(record.number, record.hash)
        self._meet(self.at)

    def _meet(self, head: Head) -> None:
        for anchor in self.anchors:
            if anchor.number == head.number and anchor.hash != head.hash:
                self._fault(head.number, "is not the record that the anchor knows: the log was written anew")

    def _fault(self, number: int, what: str) -> None:
        if len(self.faults) < _FAULTS_LIMIT:
            self.faults.append(AuditFault(number, what))


def pruned_details(base: Head) -> str:
    """Return the details of the record that tells that everything up to `base` was pruned."""
    return json.dumps({"up_to": base.number, "hash": base.hash.hex()}, separators=(",", ":"))
