"""Commands of the plain kind: one transaction, once per key.

    looked up -> in flight here? -> body in a lazily begun transaction -> key and answer in it -> committed -> answered

A body whose transaction was lost runs again (`Database.run`). A declared error is recorded too, in a transaction of its
own after the effect has been rolled back, so that a repeat gets the same answer.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from archstone import world
from archstone.data import Database, Transaction
from archstone.errors import DomainError
from archstone.services.errors import KeyReusedError, StillRunningError
from archstone.services.keys import Recorded, Slot, find, record, record_alone
from archstone.services.points import AFTER_COMMIT, AFTER_ROLLBACK, BEFORE_RECORD

__all__ = ["Commands", "Work"]

_RETRY_AFTER_S: Final = 0.2
_ANSWER: Final = "answer"


class Work(NamedTuple):
    """One call of a command, ready to run."""

    run: Callable[[], Coroutine[Any, Any, object]]
    """Makes the body anew for each attempt."""
    slot: Slot
    key: str
    """As the caller gave it, for what errors tell."""
    fingerprint: bytes
    """Of the arguments; empty where they are part of the slot, or need no check."""
    encode: Callable[[object], bytes]
    decode: Callable[[bytes], object]
    declares: Callable[[BaseException], bool]
    """Whether an error is an answer of its own."""
    encode_error: Callable[[DomainError], bytes]
    decode_error: Callable[[str, bytes], DomainError]


class _TwinError(Exception):
    """Another call with the same key committed first."""


class Commands:
    """Runs the commands of one service."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._in_flight: dict[Slot, bytes] = {}

    async def unrecorded(self, run: Callable[[], Coroutine[Any, Any, object]]) -> object:
        """Run a command that keeps no record: it has no key, or its answer holds a secret."""
        return await self._db.run(lambda _: run())

    async def once(self, work: Work) -> object:
        """Run a command unless its key has an answer; return the answer, or raise the recorded error.

        Raises:
            KeyReusedError: The key belongs to other arguments.
            StillRunningError: A call with the key is in flight in this process.
        """
        slot = work.slot
        running = self._in_flight.get(slot)
        if running is not None:
            self._same_arguments(work, running)
            raise StillRunningError(slot.operation, work.key, _RETRY_AFTER_S)
        self._in_flight[slot] = work.fingerprint
        try:
            return await self._once(work)
        finally:
            del self._in_flight[slot]

    async def _once(self, work: Work) -> object:
        async def effect(tx: Transaction) -> object:
            answer = await work.run()
            world.point(BEFORE_RECORD)
            if not await record(tx, work.slot, Recorded(work.fingerprint, _ANSWER, work.encode(answer))):
                raise _TwinError
            return answer

        while True:
            found = await find(self._db, work.slot)
            if found is not None:
                return self._repeat(work, found)
            try:
                answer = await self._db.run(effect)
            except _TwinError:
                continue
            except DomainError as error:
                if work.declares(error):
                    await self._record_error(work, error)
                raise
            world.point(AFTER_COMMIT)
            return answer

    async def _record_error(self, work: Work, error: DomainError) -> None:
        world.point(AFTER_ROLLBACK)
        recorded = Recorded(work.fingerprint, error.code, work.encode_error(error))
        await record_alone(self._db, work.slot, recorded)

    def _repeat(self, work: Work, found: Recorded) -> object:
        self._same_arguments(work, found.fingerprint)
        if found.outcome == _ANSWER:
            return work.decode(found.answer)
        raise work.decode_error(found.outcome, found.answer)

    def _same_arguments(self, work: Work, fingerprint: bytes) -> None:
        if work.fingerprint != fingerprint:
            raise KeyReusedError(work.slot.operation, work.key)
