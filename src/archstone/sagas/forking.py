"""Forking: a new saga that begins where another was before one of its steps, and runs the rest again.

What the other did before that step is copied from its journal, so it is not done again; the copy does the rest under
keys of its own. Two sagas then know of the same effects, so two rules keep them from harm:

- Nothing is copied that may still change: the other saga does not run, and every copied step has its answer, which
  stands.
- Nothing is undone twice: a copied step has an undo only if the other saga is done for good, so that the copy alone
  can make it. One that is stuck may go back when it is cancelled, a part of a saga that has not ended may go back with
  that, and a second fork would be the second to know.

A step that is a saga of its own is not copied: fork from it.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from archstone.data import Transaction
from archstone.sagas.errors import SagaExistsError, SagaNotForkableError
from archstone.sagas.journal import Begun, Past
from archstone.sagas.rows import SagaRow
from archstone.sagas.table import Table

__all__ = ["Fork", "fork"]


class Fork(NamedTuple):
    """What is to be forked, and how."""

    saga: str
    step: str
    as_id: str
    version: int | None
    """None: that of the saga."""


async def fork(table: Table, tx: Transaction, wanted: Fork) -> bool:
    """Write a fork in `tx`; False if it was forked as that before.

    Raises:
        SagaUnknownError: There is no such saga.
        SagaNotForkableError: It cannot be forked from there.
        SagaExistsError: The id of the fork belongs to another saga.
    """
    if (there := await table.above(tx, wanted.as_id)) is not None:
        if there[2] == wanted.saga:
            return False
        raise SagaExistsError(wanted.as_id, "another saga", f"a fork of {wanted.saga}")
    row, entries, _ = await table.read_in(tx, wanted.saga)
    if row.status not in {"done", "failed", "stuck"}:
        raise _refused(wanted, "it has not ended; wait for its end, or cancel it")
    copied = _before(wanted, Past.read(entries))
    for step in copied:
        _check(wanted, step, row)
    if any(step.undo is not None for step in copied):
        await _check_alone(table, tx, wanted)
    head = _copy(entries, {step.step for step in copied})
    version = row.version if wanted.version is None else wanted.version
    return await table.insert_fork(tx, row, head, saga=wanted.as_id, version=version)


def _before(wanted: Fork, past: Past) -> list[Begun]:
    """Return the steps that were begun before the one from which the fork goes on."""
    if wanted.step not in past.steps:
        raise _refused(wanted, f"it has no such step, but {', '.join(past.steps) or 'none'}")
    names = list(past.steps)
    return [past.steps[name] for name in names[: names.index(wanted.step)]]


def _check(wanted: Fork, step: Begun, row: SagaRow) -> None:
    """Raise SagaNotForkableError unless the answer of a step stands, and no more than one saga can undo it."""
    name = step.step
    if step.child is not None:
        raise _refused(wanted, f"{name} is a saga of its own, which cannot belong to two; fork from that step")
    if step.undone:
        raise _refused(wanted, f"{name} is undone, so its answer does not stand; fork from that step or an earlier one")
    if step.failed or (step.answer is None and not step.late):
        raise _refused(wanted, f"{name} has no answer; fork from that step or an earlier one")
    if step.undo is not None and row.status != "done":
        raise _refused(wanted, f"{name} has an undo, which the {row.status} saga may make; cancel that first")


async def _check_alone(table: Table, tx: Transaction, wanted: Fork) -> None:
    """Raise SagaNotForkableError if somebody else may undo what is copied."""
    if (other := await table.fork_of(tx, wanted.saga)) is not None:
        raise _refused(wanted, f"steps before that have undos, and saga {other!r} is forked from it and may make them")
    above = await table.above(tx, wanted.saga)
    while above is not None and (parent := above[0]) is not None:
        above = await table.above(tx, parent)
        if above is not None and above[1] not in {"done", "failed"}:
            raise _refused(wanted, f"steps before that have undos, and it is undone with saga {parent!r}, if that is")


def _copy(entries: Sequence[bytes], steps: set[str]) -> bytes:
    """Return the row of a journal with what another says of some steps."""
    kept = [entry for entry in _entries(entries) if entry[1] in steps and entry[0] not in {"failed", "undone"}]
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


def _entries(rows: Sequence[bytes]) -> Iterator[list[Any]]:
    for row in rows:
        yield from json.loads(row)


def _refused(wanted: Fork, why: str) -> SagaNotForkableError:
    return SagaNotForkableError(wanted.saga, wanted.step, why)
