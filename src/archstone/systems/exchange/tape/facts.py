"""The facts in a batch: who traded what with whom, what money came and went, and which books were opened.

All of it is taken from the batch alone, so that any reader at any time comes to the same.
"""

from typing import Final, NamedTuple

import numpy as np

from archstone.systems.exchange.matching import Side, Told
from archstone.systems.exchange.sequencer import Batch, part_of
from archstone.systems.exchange.venue.state import State

__all__ = ["Carried", "Payment", "Trade", "books_of", "carried_of", "payments_of", "rest_of", "trades_of"]

_NUMBER: Final = 0xFFFF_FFFF
"""The part of an order's id that its account has given."""


class Trade(NamedTuple):
    """One fill. `sequence` and `number` together name it, for ever and everywhere."""

    sequence: int
    """Of the command that made it."""
    number: int
    """Which of that command's trades, from 0."""
    at_ns: int
    """When, since 1970."""
    book: int
    price: int
    """Ticks."""
    lots: int
    buyer: int
    """An account."""
    buy_order: int
    """The number that the buyer gave to the order."""
    seller: int
    sell_order: int
    aggressor: int
    """The `Side` of who came second; 0 in an auction, where nobody did."""


class Payment(NamedTuple):
    """Money that came to an account from outside, or went there."""

    sequence: int
    at_ns: int
    account: int
    amount: int
    """In the smallest unit; below 0: it went out."""


class Carried(NamedTuple):
    """What an account had where the tape begins, if that is not with the first command of all."""

    sequence: int
    """Of the last command before."""
    at_ns: int
    account: int
    cash: int
    """In the smallest unit; below 0: owed."""
    positions: tuple[tuple[int, int], ...]
    """Books, each with its lots; below 0: owed."""


def trades_of(batch: Batch) -> list[Trade]:
    """Return the trades of a batch, in order."""
    found = batch.events[batch.events["kind"] == Told.TRADED]
    command = found["command"].astype(np.int64)
    number = np.arange(len(found)) - np.searchsorted(command, command)
    bought = found["side"] != Side.SELL
    """Where the first of the two orders buys; in an auction it does, too."""
    first, second = (
        (found[account].astype(np.int64), (found[order] & _NUMBER).astype(np.int64))
        for account, order in (("account", "id"), ("other_account", "other"))
    )
    columns = (
        batch.first + command,
        number,
        np.full(len(found), batch.at_ns),
        batch.commands["book"][command],
        found["price"],
        found["quantity"],
        *(np.where(bought, one, other) for one, other in zip(first, second, strict=True)),
        *(np.where(bought, other, one) for one, other in zip(first, second, strict=True)),
        found["side"],
    )
    return [Trade(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def payments_of(batch: Batch) -> list[Payment]:
    """Return what came in and went out in a batch, in order."""
    command = batch.events["command"][batch.events["kind"] == Told.DEPOSITED].astype(np.int64)
    done = batch.commands[command]
    columns = (batch.first + command).tolist(), done["account"].tolist(), done["quantity"].tolist()
    return [Payment(sequence, batch.at_ns, account, amount) for sequence, account, amount in zip(*columns, strict=True)]


def books_of(batch: Batch) -> dict[int, int]:
    """Return the books that a batch opened, each with what a lot of it is worth per tick."""
    command = batch.events["command"][batch.events["kind"] == Told.OPENED].astype(np.int64)
    done = batch.commands[command]
    return dict(zip(done["book"].tolist(), done["price"].tolist(), strict=True))


def carried_of(venue: State, sequence: int) -> list[Carried]:
    """Return what each account has in a venue as it is after command number `sequence`, if it has anything."""
    held = {
        number: tuple((book, each.position) for book, each in account.holdings.items() if each.position)
        for number, account in venue.accounts.items()
    }
    return [
        Carried(sequence, venue.now_ns, number, account.cash, held[number])
        for number, account in venue.accounts.items()
        if account.cash or held[number]
    ]


def rest_of(batch: Batch, after: int) -> Batch | None:
    """Return what of a batch comes after command number `after`; None if nothing does."""
    return part_of(batch, after + 1, batch.last) if batch.last > after else None
