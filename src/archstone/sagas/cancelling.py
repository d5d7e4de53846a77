"""Cancelling a saga by hand: everything that it began is undone, as if its next step had failed for good.

A running saga is held back at a step: one that is about to begin, or to be tried again after a failed attempt, or one
that waits. There, and only there, a failure is what its author has reckoned with. What is in flight ends first, so that
no undo overtakes it. Then its task is stopped, the cancellation written in one transaction, and the saga driven again
from its journal, which leads back. So a crash before that transaction has cancelled nothing, and one after it changes
nothing. One that is in no memory is written down as cancelled at once.

A saga whose body ends before it asks for another step has done all that it wanted, and is not cancelled.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from archstone import world
from archstone.observability import get_logger
from archstone.sagas.errors import SagaCancelledError, SagaNotCancellableError, SagasClosedError
from archstone.sagas.failures import error_json
from archstone.sagas.journal import Past, failed_entry
from archstone.sagas.points import AFTER_CANCEL, AFTER_REOPEN, BEFORE_CANCEL
from archstone.sagas.rows import SagaRow
from archstone.sagas.run import Awake
from archstone.sagas.table import Table

if TYPE_CHECKING:
    from archstone.sagas.runner import Runner

__all__ = ["Cancelling"]

_PATIENCE_S: Final = 10.0
_PAUSE_S: Final = 1.0
_SHORTEST_S: Final = 0.05
_log = get_logger("archstone.sagas")


@dataclass(frozen=True, slots=True)
class Cancelling:
    """Has one saga undone."""

    runner: "Runner"
    """Who has it in memory, or will."""
    table: Table
    """Its rows."""
    saga: str
    by: str
    """Who cancels it."""

    async def cancel(self, *, limit_s: float, whatever: bool = False) -> None:
        """Have a running or stuck saga undone; returns when it is durable that it goes back.

        Args:
            limit_s: How long to wait until it comes to a step.
            whatever: Also if nothing that it did has an undo.

        Raises:
            SagaUnknownError: There is none.
            SagaNotCancellableError: It has ended, goes back already, comes to no step in time, or has nothing to undo.
            SagasClosedError: The engine is not open, or closes.
        """
        self.runner.check_taking(self.saga)
        status = await self._checked(whatever=whatever)
        if status != "running":
            status = await self._write(held=False)
            self.runner.revived(self.saga, status)
        if status == "running":  # from the beginning, or because it was woken meanwhile
            await self._hold_and_write(limit_s, whatever=whatever)

    async def take_back(self) -> None:
        """Have a saga undone that another began, whatever it came to; returns when it is durable that it goes back.

        Raises:
            SagaUnknownError: There is none.
        """
        while not (await self._seen())[1]:
            if await self.table.reopen(self.saga, self._entry()):
                world.point(AFTER_REOPEN)
                return self.runner.happened(self.saga, woken=True)
            try:
                await self.cancel(limit_s=_PATIENCE_S, whatever=True)
            except SagaNotCancellableError as error:
                # It ended meanwhile, or comes to no step, or somebody else cancels it: look again.
                _log.warning("a child cannot be cancelled yet", saga=self.saga, by=self.by, why=error.why)
                await asyncio.sleep(_PAUSE_S)
        return None

    async def _seen(self) -> tuple[SagaRow, bool]:
        """Return its row, and whether it goes or went back."""
        row, entries, _ = await self.table.read(self.saga)
        return row, row.status == "failed" or Past.read(entries).failure is not None

    async def _hold_and_write(self, limit_s: float, *, whatever: bool) -> None:
        if not await self.runner.own(self.saga):
            return await self._ask(limit_s, whatever=whatever)
        held = self.runner.hold_back(self.saga)
        try:
            await self._come_to_rest(held, limit_s)
            await self._checked(whatever=whatever)
            status = await self._write(held=True)
        finally:
            self.runner.let_go(held)
        if status == "stuck":  # it came to that while it was held back
            self.runner.resumed()
        return None

    async def _ask(self, limit_s: float, *, whatever: bool) -> None:
        """Have the process cancel the saga that has it."""
        rows = self.runner.team.rows
        until_s = world.monotonic() + limit_s
        if not await rows.ask(self.saga, orjson.dumps([self.by, whatever]).decode()):
            return await self.cancel(limit_s=limit_s, whatever=whatever)  # it does not run any more
        pause_s = _SHORTEST_S
        while world.monotonic() < until_s:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _PAUSE_S)
            row, goes_back = await self._seen()
            if goes_back:
                return None
            if row.asked is None or row.status != "running" or not row.worker:
                return await self.cancel(limit_s=until_s - world.monotonic(), whatever=whatever)
        await rows.withdraw(self.saga)
        raise SagaNotCancellableError(self.saga, f"it came to no step within {limit_s:g} s; try again")

    async def _come_to_rest(self, held: Awake, limit_s: float) -> None:
        """Return when the saga is quiet and its task has been stopped, or it has stopped by itself."""
        outcome = None if held.hold is None else await held.hold.outcome(limit_s)
        if outcome is None:
            raise SagaNotCancellableError(held.id, f"it came to no step within {limit_s:g} s; try again")
        if outcome == "closed":
            raise SagasClosedError(self.table.engine, held.id)
        if outcome == "quiet":
            await self.runner.stop(held)

    async def _checked(self, *, whatever: bool) -> str:
        row, entries, _ = await self.table.read(self.saga)
        _check(self.saga, row.status, entries, whatever=whatever)
        return row.status

    async def _write(self, *, held: bool) -> str:
        """Write the cancellation; return the status that the saga had: `running` and not held, it is not cancelled."""
        world.point(BEFORE_CANCEL)
        status = await self.table.cancel(self.saga, self._entry(), held=held)
        _check(self.saga, status, (), whatever=True)
        if held or status != "running":
            _log.warning("a saga was cancelled", saga=self.saga, by=self.by)
            world.point(AFTER_CANCEL)
        return status

    def _entry(self) -> bytes:
        return failed_entry(None, error_json(SagaCancelledError(self.saga, self.by)), at_us=world.now_us())


def _check(saga: str, status: str, entries: Sequence[bytes], *, whatever: bool) -> None:
    """Raise SagaNotCancellableError if a saga that is as the row and the journal say cannot be cancelled."""
    if status in {"done", "failed"}:
        raise SagaNotCancellableError(saga, f"it has ended: it is {status}")
    try:
        past = Past.read(entries)
    except (ValueError, LookupError, TypeError) as error:
        raise SagaNotCancellableError(saga, "its journal has entries that this release cannot read") from error
    if past.failure is not None:
        raise SagaNotCancellableError(saga, "it goes back already; if it is stuck on the way, mend that and resume it")
    if not whatever and not past.to_undo() and any(not step.waits for step in past.steps.values()):
        raise SagaNotCancellableError(saga, "nothing that it did has an undo, so it can only go forward")
