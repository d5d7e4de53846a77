"""The way back: everything a saga began is undone, newest first, from the journal alone."""

from archstone import context, world
from archstone.observability import span
from archstone.sagas.children import take_back
from archstone.sagas.effect import Effect, GivenUpError
from archstone.sagas.errors import SagaUnknownError, StepCodecError
from archstone.sagas.failures import describe
from archstone.sagas.journal import Begun, undone_entry
from archstone.sagas.points import AFTER_UNDO, AFTER_UNDO_EFFECT, BEFORE_UNDO
from archstone.sagas.run import Run

__all__ = ["CannotUndoError", "compensate"]


class CannotUndoError(Exception):
    """An undo failed for good, or the code no longer has it. Never leaves this package."""


async def compensate(run: Run) -> None:
    """Undo every begun step that has an undo, one after another, the failed one too.

    Each undo is on disk as made before the next is tried; after a crash at most one is made again.

    Raises:
        CannotUndoError: Those before it, in time, are not tried.
    """
    past = run.past
    for begun in past.to_undo() if past is not None else ():
        if run.shared.draining:
            await run.shared.park(run.id)
        world.point(BEFORE_UNDO)
        await _undo(run, begun)
        world.point(AFTER_UNDO_EFFECT)
        await run.append(undone_entry(begun.step, at_us=world.now_us()))
        world.point(AFTER_UNDO)


async def _undo(run: Run, begun: Begun) -> None:
    if begun.child is not None:
        return await _undo_child(run, begun)
    shared = run.shared
    name, encoded = begun.undo or ("", b"")
    try:
        operation = shared.operations.find(name)
        arguments = operation.codec.arguments(encoded)
    except StepCodecError as error:
        raise CannotUndoError(f"cannot undo {begun.step} by {name}, {error}") from error
    effect = Effect(
        operation,
        arguments,
        call=operation.call,
        name=f"{begun.step}/undo",
        run=run,
        retry=shared.settings.undo_retry,
        timeout_s=shared.settings.timeout_s,
        given_up=_never,
    )
    token = context.set_current(run.saga.call(key=f"{run.id}/{begun.step}/undo"))
    try:
        with span(f"undo {name}", ref=run.id, step=begun.step) as work:
            effect.work = work
            await effect.make()
    except GivenUpError as gone:
        why = f"undo of {begun.step} by {name} failed {gone.attempts} time(s), {describe(gone.error)}"
        raise CannotUndoError(why) from gone.error
    finally:
        context.leave(token)


async def _undo_child(run: Run, begun: Begun) -> None:
    try:
        await take_back(run, begun)
    except SagaUnknownError as error:
        raise CannotUndoError(f"cannot undo {begun.step}, {error}") from error


def _never() -> bool:
    return False
