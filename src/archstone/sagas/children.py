"""A step that is a saga of its own: how it begins, how its parent waits for it, and how it is undone with its parent.

The child's row and the beginning of the step are one transaction, so there is a child if and only if its parent knows
of it. Its end wakes the parent in the transaction that writes it. A child is undone as a whole: one that runs is
cancelled, one that is done goes back from its journal, and only when it has failed is the step undone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, NamedTuple

from archstone import world
from archstone.errors import DomainError
from archstone.sagas.errors import SagaExistsError, SagaUnknownError, StepCodecError, StepFailedError
from archstone.sagas.failures import describe, error_from_json
from archstone.sagas.journal import Begun, answer_entry, child_entry
from archstone.sagas.operations import Operation
from archstone.sagas.points import AFTER_CHILD
from archstone.sagas.rows import Nap, SagaRow
from archstone.sagas.run import Run
from archstone.sagas.starter import LONGEST_ID, make
from archstone.sagas.waiting import wait_for

__all__ = ["Child", "child_id", "follow", "take_back"]


class Child(NamedTuple):
    """A saga that a step asks for."""

    step: str
    ordinal: int
    operation: Operation
    method: Callable[..., Awaitable[object]]
    arguments: tuple[object, ...]
    encoded: bytes
    """JSON of the arguments."""
    id: str


def child_id(parent: str, step: str) -> str:
    """Return the id of a child that was given none: always the same."""
    whole = f"{parent}/{step}"
    return whole if len(whole) <= LONGEST_ID else sha256(whole.encode()).hexdigest()


async def follow(run: Run, child: Child, begun: Begun | None) -> Any:
    """Begin a child unless an earlier life did, wait for its end, and return its answer."""
    run.check()
    if begun is not None and begun.answer is not None:
        return child.operation.codec.answer(begun.answer)
    try:
        with world.use(run.world):
            if begun is None:
                await _begin(run, child)
            ended = await wait_for(run, child.step, Nap(child=child.id), lambda: run.shared.table.ended(child.id))
            if ended is None or run.halt is not None:
                run.check()
                raise SagaUnknownError(child.id)
            return _answer(run, child, ended)
    except asyncio.CancelledError:
        run.cut(child.step)
        raise


async def _begin(run: Run, child: Child) -> None:
    """Write the child and its step in one transaction, and run it."""
    if run.shared.draining or run.saga.new:
        await run.flush()
    if run.shared.draining:
        await run.shared.park(run.id)
    if run.saga.hold is not None:
        await run.saga.wait_while_held()
    run.check()
    made = make(run.shared, child.method, child.arguments, saga=child.id)
    made.parent = run.id
    if (taken := await run.shared.table.taken(child.id)) is not None:
        _fail(run, child, taken)
    await run.append(_entry(run, child, child.id), also=lambda tx: made.insert_or_raise(tx.execute))
    world.point(AFTER_CHILD)
    run.shared.kin.admit(made, awaited=True)


def _fail(run: Run, child: Child, taken: str) -> None:
    """End the saga: the id of its child belongs to another."""
    error = SagaExistsError(child.id, taken, child.operation.name)
    run.pending.append(_entry(run, child, None))
    run.fail(child.step, StepFailedError(run.id, child.step, 1, describe(error)), attempts=1)
    run.check()


def _entry(run: Run, child: Child, known: str | None) -> bytes:
    at_us = run.world.now_us()
    return child_entry(child.step, child.ordinal, child.operation.name, child.encoded, known, at_us)


def _answer(run: Run, child: Child, ended: SagaRow) -> object:
    """Return the answer of a child that has ended, or raise its failure as that of the step."""
    answer = ended.answer or b"null"
    if ended.status == "done":
        run.pending.append(answer_entry(child.step, answer, at_us=run.world.now_us()))
        return _decoded(run, child, answer)
    error = error_from_json(answer, saga=child.id)
    failure = error if isinstance(error, DomainError) else StepFailedError(run.id, child.step, 1, describe(error))
    run.fail(child.step, failure, attempts=1)
    raise run.halt or failure


def _decoded(run: Run, child: Child, answer: bytes) -> object:
    try:
        return child.operation.codec.answer(answer)
    except StepCodecError as error:
        run.spoil(error)
        raise


async def take_back(run: Run, begun: Begun) -> None:
    """Undo a step that is a saga: return when all that it began is undone.

    Raises:
        SagaUnknownError: It is gone.
    """
    child = begun.child or ""
    await run.shared.kin.take_back(child, by=f"saga {run.id}")
    while (ended := await _ended(run, begun.step, child)) is not None and ended.status != "failed":
        await run.shared.kin.take_back(child, by=f"saga {run.id}")


async def _ended(run: Run, step: str, child: str) -> SagaRow | None:
    return await wait_for(run, f"{step}/undo", Nap(child=child), lambda: run.shared.table.ended(child))
