"""The tape: reads the stream and tells its trades and payments as events, each exactly once.

How far it has read is kept in the transaction that puts the events into the outbox. So what a crash leaves untold is
told after it, and nothing is told twice; whoever hears of it notes that in an inbox.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

from archstone.data import Database, Lease, Transaction, TransactionLostError
from archstone.services import Service
from archstone.systems.exchange.sequencer import Batch, Sequencer
from archstone.systems.exchange.tape.errors import StreamGapError, UnknownBookError
from archstone.systems.exchange.tape.events import FactsTold
from archstone.systems.exchange.tape.facts import Carried, Payment, Trade, books_of, carried_of, payments_of, trades_of
from archstone.systems.exchange.tape.following import Following
from archstone.systems.exchange.venue.state import State

__all__ = ["TapeService", "Telling"]

_TOGETHER: Final = 500
"""Facts in one event at most."""
_MOVE: Final = "UPDATE progress SET last = :last, number = :number WHERE last = :before"
_OPEN: Final = (
    "INSERT INTO books (book, value) VALUES (:book, :value) ON CONFLICT (book) DO UPDATE SET value = excluded.value"
)


class TapeService(Service, name="tape"):
    """Tells what the sequencer's stream holds of trades and payments."""

    sequencer: Sequencer

    def companions(self) -> tuple[AbstractAsyncContextManager[object], ...]:
        """Return what reads the stream."""
        turn = Lease(self.db, "reader") if self.db.shared else None
        return (Following(self.sequencer, Telling(self.db), name="tape", turn=turn),)


class _Progress(NamedTuple):
    last: int
    number: int


class Telling:
    """Puts the facts of batches into the outbox of a database. A `Reader`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def last(self) -> int:
        """Return the last command whose facts are told."""
        return await self._db.one(int, "SELECT last FROM progress")

    async def take(self, batches: Sequence[Batch]) -> None:
        """Tell the facts of batches, and keep how far that is."""

        async def keep(tx: Transaction) -> None:
            before = await tx.one(_Progress, "SELECT last, number FROM progress")
            if batches[0].first != before.last + 1:
                raise StreamGapError("tape", before.last + 1, batches[0].first)
            opened = {book: value for batch in batches for book, value in books_of(batch).items()}
            await tx.many(_OPEN, [{"book": book, "value": value} for book, value in opened.items()])
            values = dict(await tx.all(tuple[int, int], "SELECT book, value FROM books"))
            told = before.number
            for told, event in enumerate(events_of(batches, values), before.number + 1):
                tx.publish(event.model_copy(update={"number": told}))
            await self._moved(tx, batches[-1].last, number=told, before=before.last)

        await self._db.run(keep)

    async def begin(self, venue: State, sequence: int) -> int:
        """Go on after command number `sequence`. Where nothing was told yet, tell what everybody has then.

        Else what is missing stays missing: what was told before cannot be told from here.
        """

        async def keep(tx: Transaction) -> int:
            before = await tx.one(_Progress, "SELECT last, number FROM progress")
            await tx.many(_OPEN, [{"book": each.book, "value": each.value} for each in venue.markets.values()])
            carried = [] if before.number else carried_of(venue, sequence)
            told = before.number
            for told, event in enumerate(_carrying(carried, sequence), before.number + 1):
                tx.publish(event.model_copy(update={"number": told}))
            await self._moved(tx, sequence, number=told, before=before.last)
            return before.last

        return await self._db.run(keep)

    async def _moved(self, tx: Transaction, last: int, *, number: int, before: int) -> None:
        if not await tx.execute(_MOVE, last=last, number=number, before=before):
            raise TransactionLostError(self._db.label, "because another process has told the same")


def events_of(batches: Sequence[Batch], values: dict[int, int]) -> Iterator[FactsTold]:
    """Give the events, without their numbers, that tell the facts of batches; none if there are none.

    Raises:
        UnknownBookError: A trade is in a book that is not among `values`.
    """
    facts: list[Trade | Payment] = [
        fact for batch in batches for fact in sorted([*trades_of(batch), *payments_of(batch)], key=lambda each: each[0])
    ]
    for begin in range(0, len(facts), _TOGETHER):
        part = facts[begin : begin + _TOGETHER]
        trades = tuple(each for each in part if isinstance(each, Trade))
        for trade in trades:
            if trade.book not in values:
                raise UnknownBookError(trade.book, trade.sequence)
        books = sorted({trade.book for trade in trades})
        yield FactsTold(
            number=0,
            through=batches[-1].last if begin + _TOGETHER >= len(facts) else part[-1].sequence - 1,
            trades=trades,
            values=tuple((book, values[book]) for book in books),
            payments=tuple(each for each in part if isinstance(each, Payment)),
        )


def _carrying(carried: Sequence[Carried], sequence: int) -> Iterator[FactsTold]:
    """Give the events, without their numbers, that tell what accounts had after command number `sequence`."""
    for begin in range(0, len(carried), _TOGETHER):
        part = tuple(carried[begin : begin + _TOGETHER])
        is_last = begin + _TOGETHER >= len(carried)
        yield FactsTold(
            number=0, through=sequence if is_last else 0, trades=(), values=(), payments=(), carried=part
        )  # fmt: skip
