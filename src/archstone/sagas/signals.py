"""Signals: what is said to a saga from outside, kept until it asks for it.

A signal is a row beside its saga's, written in a transaction of the sender's choice. A saga takes the oldest one of a
name that it has not taken; that it has it is written in one transaction with its journal. So each is taken once, in
the order of sending, and a key names it for as long as the saga is kept: a repeat is known, before and after.
"""

from typing import Final, NamedTuple

from pydantic_core import PydanticSerializationError, to_json

from archstone import world
from archstone.data import Database, Transaction
from archstone.resilience import OverloadedError
from archstone.sagas.errors import SagaEndedError, SagaUnknownError, SignalExistsError, StepCodecError
from archstone.sagas.table import Table

__all__ = ["Signal", "Signals", "signal_json"]

_SAGA: Final = "SELECT number, status FROM _archstone_sagas WHERE id = :saga AND engine = :engine"
_SENT: Final = "SELECT value FROM _archstone_saga_signals WHERE saga = :saga AND name = :name AND key = :key"
_UNREAD: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM _archstone_saga_signals WHERE saga = :saga AND taken = 0 LIMIT :limit) AS few"
)
_SEND: Final = (
    "INSERT INTO _archstone_saga_signals (saga, name, key, value, sent_us) VALUES (:saga, :name, :key, :value, :at)"
)
_OLDEST: Final = (
    "SELECT signal.number, signal.value FROM _archstone_saga_signals AS signal JOIN _archstone_sagas AS saga"
    " ON saga.number = signal.saga WHERE saga.id = :saga AND signal.name = :name AND signal.taken = 0"
    " ORDER BY signal.number LIMIT :limit"
)
_TAKE: Final = "UPDATE _archstone_saga_signals SET taken = 1 WHERE number = :number"
_RETRY_AFTER_S: Final = 5.0


class Signal(NamedTuple):
    """One that waits to be taken."""

    number: int
    value: bytes
    """JSON."""


class Sent(NamedTuple):
    """What sending came to."""

    new: bool
    """False: it had been sent before."""
    woken: bool
    """Whether the saga slept on disk, and is to go on."""


class Signals:
    """The signals of one engine's sagas.

    Args:
        db: Where the rows are.
        table: Of the sagas.
        limit: How many of one saga may wait to be taken.
    """

    def __init__(self, db: Database, table: Table, *, limit: int) -> None:
        self._db = db
        self._table = table
        self._limit = limit

    async def send(self, tx: Transaction, saga: str, name: str, value: bytes, *, key: str | None) -> Sent:
        """Write a signal in `tx`.

        Raises:
            SagaUnknownError: There is no such saga.
            SagaEndedError: It has ended.
            SignalExistsError: The key belongs to another value.
            OverloadedError: It has not taken so many that no more are kept.
        """
        found = await tx.first(tuple[int, str], _SAGA, saga=saga, engine=self._table.engine)
        if found is None:
            raise SagaUnknownError(saga)
        number, status = found
        if key is not None and (sent := await tx.first(bytes, _SENT, saga=number, name=name, key=key)) is not None:
            if sent != value:
                raise SignalExistsError(saga, name, key)
            return Sent(new=False, woken=False)
        if status in {"done", "failed"}:
            raise SagaEndedError(saga, status)
        unread = await tx.one(int, _UNREAD, saga=number, limit=self._limit)
        if unread >= self._limit:
            raise OverloadedError(f"saga {saga}", "unread signals", unread, self._limit, _RETRY_AFTER_S)
        await tx.execute(_SEND, saga=number, name=name, key=key or world.new_id(), value=value, at=world.now_us())
        return Sent(new=True, woken=await self._table.wake(saga, execute=tx.execute))

    async def oldest(self, saga: str, name: str, *, but: frozenset[int]) -> Signal | None:
        """Return the oldest signal of a name that is not taken and not among those that are about to be."""
        found = await self._db.all(Signal, _OLDEST, saga=saga, name=name, limit=len(but) + 1)
        return next((each for each in found if each.number not in but), None)

    async def take(self, tx: Transaction, number: int) -> None:
        """Write in `tx` that a signal is taken."""
        await tx.execute(_TAKE, number=number)


def signal_json(name: str, value: object) -> bytes:
    """Return the JSON of a value that is sent; StepCodecError if it has none."""
    try:
        return to_json(value, by_alias=True)
    except (PydanticSerializationError, ValueError) as error:
        raise StepCodecError(f"signal {name}", f"its value has no JSON form: {str(error).splitlines()[0]}") from error
