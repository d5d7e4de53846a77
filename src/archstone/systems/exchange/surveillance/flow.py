"""What rules look at: the facts of orders in a batch, one after another; and what they find."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from archstone.systems.exchange.matching import Told
from archstone.systems.exchange.sequencer import Batch

__all__ = ["Fact", "Found", "facts_of"]

_KINDS = (Told.ACCEPTED, Told.TRADED, Told.CANCELED, Told.REPLACED)
_NAMES = (
    *("kind", "id", "other", "account", "other_account", "side", "reason"),
    *("price", "quantity", "left", "other_left"),
)


class Fact(NamedTuple):
    """Something that happened to orders. Fields as those of `Event`, and when and where."""

    sequence: int
    at_ns: int
    book: int
    """Of the command; of what a mass cancel or a kill switch does it may be another than the order's."""
    kind: int
    id: int
    other: int
    account: int
    other_account: int
    side: int
    reason: int
    price: int
    quantity: int
    left: int
    other_left: int


class Found(NamedTuple):
    """What a rule has found: the same for whoever reads the same stream."""

    rule: str
    book: int
    account: int
    sequence: int
    """Of the command that completed the pattern."""
    at_ns: int
    evidence: dict[str, Any]
    """What it was found by, as JSON."""


def facts_of(batch: Batch) -> Iterator[Fact]:
    """Give the facts of a batch about orders that were accepted, traded, replaced or cancelled, in order."""
    events = batch.events[np.isin(batch.events["kind"], _KINDS)]
    command = events["command"].astype(np.int64)
    columns = [(batch.first + command).tolist(), batch.commands["book"][command].tolist()]
    columns += [events[name].tolist() for name in _NAMES]
    for sequence, book, *rest in zip(*columns, strict=True):
        yield Fact(sequence, batch.at_ns, book, *rest)
