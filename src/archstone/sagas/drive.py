"""The life of a saga in memory: its body until it ends, then the end, or the way back.

| what happens | what follows |
| --- | --- |
| body returns, nothing left over | done |
| a step failed for good, or the body let a late signal pass | settled, undone newest first, failed; or stuck |
| code changed | stuck |
| the body cut a step short, or raised any other exception: a bug | again after a while, then stuck |
| journal cannot be read or written | again after a while, for as long as the engine is open |
| cancelled: the engine closes | nothing; it goes on when the engine opens again |
"""

import asyncio
from typing import Final, Literal, NamedTuple, cast

import orjson

from archstone import context, world
from archstone.errors import BackendError, ConflictError
from archstone.observability import get_logger, parse_traceparent, span
from archstone.resilience import Exponential
from archstone.sagas.body_world import BODY_WORLD
from archstone.sagas.compensation import CannotUndoError, compensate
from archstone.sagas.errors import (
    SagaChangedError,
    SagaLostError,
    SagaVersionError,
    SignalLateError,
    StepCodecError,
    StepCutError,
)
from archstone.sagas.failures import describe
from archstone.sagas.journal import Past
from archstone.sagas.operations import Operation
from archstone.sagas.points import AFTER_FAILURE, AFTER_FINISH, AFTER_START, BEFORE_FINISH, BEFORE_UNDONE
from archstone.sagas.queue import Ticket
from archstone.sagas.rows import SagaRow
from archstone.sagas.run import Awake, Run
from archstone.sagas.saga import saga_mark
from archstone.sagas.steps import Steps

__all__ = ["Ending", "drive"]

_log = get_logger("archstone.sagas")
_JOURNAL_BACKOFF: Final = Exponential(0.1, cap_s=10.0)


class Ending(NamedTuple):
    """How a saga left memory."""

    status: Literal["done", "failed", "stuck"]
    method: str
    version: int
    payload: bytes
    """JSON of the answer or of the error; text of the reason when stuck."""


async def drive(saga: Awake) -> Ending | None:
    """Bring a saga to its end and return it; None if it had been ended already.

    Cancelled, it leaves the saga as the journal has it, to go on when somebody drives it again. A saga that is still
    new when this raises is not known to be on disk.
    """
    if saga.fresh:
        if not saga.new:
            world.point(AFTER_START)
        run: Run | None = Run(saga, world.current())
        saga.fresh = False
    else:
        run = await _read(saga)
    if run is None:
        return None
    context.set_current(saga.call())  # this task is the saga's own, so nothing has to be put back
    with span(f"saga {saga.method}", ref=saga.id, engine=saga.shared.table.engine):
        saga.trace = context.current().trace
        ending = None
        while run is not None and (ending := await _live(run)) is None:
            run = await _read(saga)
        return ending


async def _read(saga: Awake) -> Run | None:
    """Return a run that knows what the journal has, None if the saga is not running any more."""
    while True:
        try:
            row, entries, position = await saga.shared.table.read(saga.id)
            break
        except (BackendError, ConflictError) as error:
            await _accident(saga, "read", error)
    if row.status != "running" or row.worker != saga.worker:
        return None
    run = Run(saga, world.current(), position=position)
    try:
        _recognise(saga, row)
        run.past = Past.read(entries)
    except (ValueError, LookupError, TypeError) as error:
        journal = f"entries that this release cannot read ({describe(error)})"
        run.halt = SagaChangedError(run.id, journal, "other entries")
    return run


async def _accident(saga: Awake, what: str, error: Exception) -> None:
    """Wait before the journal is tried again."""
    saga.accidents += 1
    _log.error(f"the journal of a saga cannot be {what}", saga=saga.id, error=describe(error))
    await asyncio.sleep(_JOURNAL_BACKOFF.longest_s(saga.accidents))


def _recognise(saga: Awake, row: SagaRow) -> None:
    headers: dict[str, str] = orjson.loads(row.headers)
    saga.method, saga.version = row.method, row.version
    saga.arguments, saga.started_us, saga.attempts = row.arguments, row.started_us, row.attempts
    saga.parent = row.parent
    if row.queue is not None:
        saga.ticket = Ticket(row.queue, row.queue_key, row.priority, _per_key(saga))
    if saga.trace is None:
        saga.trace = parse_traceparent(headers.get("traceparent"))
    saga.correlation_id = headers.get("correlation_id", saga.id)
    saga.causation_id = headers.get("causation_id")


def _per_key(saga: Awake) -> int | None:
    """Return the limit of its key, None if the code knows of none any more."""
    try:
        mark = saga_mark(saga.shared.versions.nearest(saga.method, saga.version).call)
    except StepCodecError:
        return None
    return None if mark is None or mark.queue is None else mark.queue.per_key


async def _live(run: Run) -> Ending | None:
    """Return how the saga ended, None if it has to be read again and go on."""
    try:
        if run.past is not None and run.past.failure is not None:
            return await _go_back(run, run.past.failure)
        return await _go_on(run)
    except asyncio.CancelledError:
        for effect in (flying := run.flying or set()):
            effect.cancel()
        if flying:
            await asyncio.wait(flying)
        raise
    except SagaLostError as error:
        _log.warning("a saga goes on elsewhere", saga=run.id, why=str(error))
        return None
    except Exception as error:
        if run.saga.new:
            raise
        # Whatever it is, the journal says where to go on.
        await _accident(run.saga, "written", error)
        return None


async def _go_on(run: Run) -> Ending | None:
    error: Exception | None = None
    answer = b"null"
    try:
        if run.halt is None:
            answer = await _body(run)
    except Exception as raised:  # noqa: BLE001 - the user's code
        error = raised
    await _leave(run, error)
    if run.failure is not None:
        await _write_failure(run)
        world.point(AFTER_FAILURE)
        return None
    if (error := await _fault(run, error)) is not None:
        return await _trouble(run, error)
    world.point(BEFORE_FINISH)
    await run.finish("done", answer)
    world.point(AFTER_FINISH)
    return Ending("done", run.saga.method, run.saga.version, answer)


async def _leave(run: Run, error: Exception | None) -> None:
    """Wait until nothing of a body that has ended is under way any more."""
    run.ended = True
    run.saga.stir()  # what waits in a task that was forgotten, or whose group has failed, waits for nothing
    if run.naps and error is None:
        run.cut(next(iter(run.naps)))  # the task that waits was forgotten
    await run.settle()
    if run.saga.away:
        await run.saga.take_place()
    if run.failure is None and (late := _late(run, error)) is not None:
        run.fail(late.step, late, attempts=1)
    if run.saga.new:
        await run.flush()  # no step has written its row


def _late(run: Run, raised: Exception | None) -> SignalLateError | None:
    """Return the late signal that a body let pass, alone or out of a group of tasks; None if it was anything else."""
    if isinstance(raised, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", raised)
        inside = [_late(run, each) for each in group.exceptions]
        return inside[0] if all(inside) else None
    return raised if isinstance(raised, SignalLateError) and raised.saga == run.id else None


async def _write_failure(run: Run) -> None:
    """Write the failure down, however long the journal cannot be written: the body was told, and must not run again."""
    while True:
        try:
            return await run.flush()
        except (BackendError, ConflictError) as error:
            await _accident(run.saga, "written", error)


async def _fault(run: Run, raised: Exception | None) -> Exception | None:
    """Return what is wrong with a body that has ended, though no step of it failed; None if nothing is."""
    if run.bug is not None:
        if run.shared.draining and isinstance(run.bug, StepCutError):
            await run.shared.park(run.id)  # the step was held back, which the body took for slowness
        return run.bug if raised is None or isinstance(raised, TimeoutError) else raised
    if run.halt is not None:
        return run.halt
    if raised is None and run.past is not None and (left := run.past.left()) is not None:
        return SagaChangedError(run.id, left.step, "the end of the body")
    return raised


async def _body(run: Run) -> bytes:
    """Run the body and return the JSON of its answer."""
    saga = run.saga
    method, arguments = _prepare(run)
    token = context.set_current(saga.call(step=Steps(run)))
    outside = world.set_current(BODY_WORLD)
    try:
        try:
            answer = await method.call(*arguments)
        finally:
            world.leave(outside)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the body raised CancelledError, but nobody cancels it") from error
    finally:
        context.leave(token)
    encoded = method.codec.answer_json(answer)
    saga.shared.check_size(f"saga {run.id}", "the answer", len(encoded))
    return encoded


def _prepare(run: Run) -> tuple[Operation, tuple[object, ...]]:
    saga = run.saga
    try:
        method = saga.shared.versions.find(saga.method, saga.version)
        return method, method.codec.arguments(saga.arguments)
    except SagaVersionError as error:
        run.halt = error
        raise
    except StepCodecError as error:
        run.halt = SagaChangedError(run.id, f"{saga.method} with {saga.arguments.decode()}", str(error))
        raise run.halt from error


async def _trouble(run: Run, error: Exception) -> Ending | None:
    """Deal with an exception that is no failure of a step."""
    saga = run.saga
    if isinstance(error, SagaChangedError | SagaVersionError):
        return await _stick(run, str(error))
    if error is run.halt and error is not run.bug:
        raise error  # the journal could not be written: nobody's bug
    saga.attempts += 1
    body_retry = saga.shared.settings.body_retry
    if saga.attempts >= body_retry.attempts:
        return await _stick(run, f"its body failed {saga.attempts} time(s), {describe(error)}")
    await run.flush()
    await saga.shared.table.note(run.id, run.saga.worker, stuck=False, attempts=saga.attempts, why=describe(error))
    _log.warning("the body of a saga failed and will run again", saga=run.id, attempts=saga.attempts, exc_info=error)
    await saga.rest(body_retry.delay_s(saga.attempts))
    return None


async def _go_back(run: Run, failure: bytes) -> Ending:
    run.saga.let_go("ended")
    try:
        await compensate(run)
    except CannotUndoError as error:
        return await _stick(run, str(error))
    world.point(BEFORE_UNDONE)
    await run.finish("failed", failure)
    return Ending("failed", run.saga.method, run.saga.version, failure)


async def _stick(run: Run, why: str) -> Ending:
    await run.flush()
    await run.shared.table.note(run.id, run.saga.worker, stuck=True, attempts=run.saga.attempts, why=why)
    _log.error("a saga is stuck", saga=run.id, method=run.saga.method, why=why)
    return Ending("stuck", run.saga.method, run.saga.version, why.encode())
