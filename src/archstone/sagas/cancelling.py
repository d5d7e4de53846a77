"""Cancelling a saga by hand: everything that it began is undone, as if its next step had failed for good.

A running saga is held back at a step: one that is about to begin, or to be tried again after a failed attempt, or one
that waits. There, and only there, a failure is what its author has reckoned with. What is in flight ends first, so that
no undo overtakes it. Then its task is stopped, the cancellation written in one transaction, and the saga driven again
from its journal, which leads back. So a crash before that transaction has cancelled nothing, and one after it changes
nothing. One that is in no memory is written down as cancelled at once.

A saga whose body ends before it asks for another step has done all that it wanted, and is not cancelled.
"""

from collections.abc import Sequence

from archstone import world
from archstone.observability import get_logger
from archstone.sagas.errors import SagaCancelledError, SagaNotCancellableError, SagasClosedError
from archstone.sagas.failures import error_json
from archstone.sagas.journal import Past, failed_entry
from archstone.sagas.points import AFTER_CANCEL, BEFORE_CANCEL
from archstone.sagas.run import Awake
from archstone.sagas.runner import Runner
from archstone.sagas.table import Table

__all__ = ["cancel"]

_log = get_logger("archstone.sagas")


async def cancel(runner: Runner, table: Table, saga: str, *, by: str, limit_s: float) -> None:
    """Have a running or stuck saga undone; returns when it is durable that it goes back.

    Args:
        runner: Who has it in memory, or will.
        table: Its rows.
        saga: Its id.
        by: Who cancels it.
        limit_s: How long to wait until it comes to a step.

    Raises:
        SagaUnknownError: There is none.
        SagaNotCancellableError: It has ended, goes back already, comes to no step in time, or has nothing to undo.
        SagasClosedError: The engine is not open, or closes.
    """
    runner.check_taking(saga)
    status = await _checked(table, saga)
    if status != "running":
        status = await _write(table, saga, by, held=False)
        runner.revived(saga, status)
    if status == "running":  # from the beginning, or because it was woken meanwhile
        await _hold_and_write(runner, table, saga, by, limit_s)


async def _hold_and_write(runner: Runner, table: Table, saga: str, by: str, limit_s: float) -> None:
    held = runner.hold_back(saga)
    try:
        await _come_to_rest(runner, table, held, limit_s)
        status = await _write(table, saga, by, held=True)
    finally:
        runner.let_go(held)
    if status == "stuck":  # it came to that while it was held back
        runner.resumed()


async def _come_to_rest(runner: Runner, table: Table, held: Awake, limit_s: float) -> None:
    """Return when the saga is quiet and its task has been stopped, or it has stopped by itself."""
    outcome = None if held.hold is None else await held.hold.outcome(limit_s)
    if outcome is None:
        raise SagaNotCancellableError(held.id, f"it came to no step within {limit_s:g} s; try again")
    if outcome == "closed":
        raise SagasClosedError(table.engine, held.id)
    if outcome == "quiet":
        await runner.stop(held)
    await _checked(table, held.id)


async def _checked(table: Table, saga: str) -> str:
    row, entries, _ = await table.read(saga)
    _check(saga, row.status, entries)
    return row.status


async def _write(table: Table, saga: str, by: str, *, held: bool) -> str:
    """Write the cancellation; return the status that the saga had: `running` and not held, it is not cancelled."""
    world.point(BEFORE_CANCEL)
    entry = failed_entry(None, error_json(SagaCancelledError(saga, by)), at_us=world.now_us())
    status = await table.cancel(saga, entry, held=held)
    _check(saga, status, ())
    if held or status != "running":
        _log.warning("a saga was cancelled by hand", saga=saga, by=by)
        world.point(AFTER_CANCEL)
    return status


def _check(saga: str, status: str, entries: Sequence[bytes]) -> None:
    """Raise SagaNotCancellableError if a saga that is as the row and the journal say cannot be cancelled."""
    if status in {"done", "failed"}:
        raise SagaNotCancellableError(saga, f"it has ended: it is {status}")
    try:
        past = Past.read(entries)
    except (ValueError, LookupError, TypeError) as error:
        raise SagaNotCancellableError(saga, "its journal has entries that this release cannot read") from error
    if past.failure is not None:
        raise SagaNotCancellableError(saga, "it goes back already; if it is stuck on the way, mend that and resume it")
    if not past.to_undo() and any(not step.waits for step in past.steps.values()):
        raise SagaNotCancellableError(saga, "nothing that it did has an undo, so it can only go forward")
