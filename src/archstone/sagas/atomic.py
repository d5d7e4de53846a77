"""A step whose effect is one transaction of the saga's own database: beginning, effect and answer are one commit.

Such a step needs no beginning on disk before its effect, and no record of its key beside it: its row of the journal is
there if and only if its effect is.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from archstone import world
from archstone.data import Transaction
from archstone.sagas.journal import answer_entry
from archstone.sagas.operations import Callee, Operation
from archstone.sagas.run import Run
from archstone.sagas.table import check_had

__all__ = ["Atomic", "Keep", "Write"]

Write = Callable[[Transaction, object], Awaitable[object]]
"""Writes the answer of a step in the transaction of its effect, and returns it as a replay would see it."""


@runtime_checkable
class Atomic(Protocol):
    """What an `invoke` offers whose calls can be transactions of the saga's own database."""

    def covers(self, function: Callee) -> bool:
        """Whether a call of `function` is one transaction of that database and nothing else."""
        ...

    async def atomically(self, function: Callee, arguments: tuple[object, ...], write: Write) -> object:
        """Make the call and `write` its answer in one transaction; return what `write` returned, once durable."""
        ...


class Keep:
    """The row of the journal that one such step writes beside its effect."""

    __slots__ = ("_entry", "_operation", "_position", "_run", "_step", "_written", "attempts")

    def __init__(self, run: Run, operation: Operation, *, step: str, entry: bytes) -> None:
        self._run = run
        self._operation = operation
        self._step = step
        self._entry = entry
        self._position = run.position  # a gap, should the step fail, does no harm
        run.position += 1
        self._written: tuple[list[bytes], int] = ([], 0)
        self.attempts = 1
        """Of the effect, the present one included."""

    @classmethod
    async def of(cls, run: Run, operation: Operation, *, step: str, entry: bytes) -> "Keep":
        """Return the row that a step will write; that of its saga is written first if it is not on disk."""
        if run.saga.new:
            await run.flush()
        return cls(run, operation, step=step, entry=entry)

    async def found(self) -> bytes | None:
        """Return the answer of an earlier attempt that took effect although it seemed to fail; None if none did."""
        entries = await self._run.shared.table.entries(self._run.id, self._position)
        return None if entries is None else json.dumps(json.loads(entries)[-1][2]).encode()

    async def write(self, tx: Transaction, answer: object) -> object:
        """Write everything pending, the beginning and the answer."""
        run = self._run
        encoded, answer = self._operation.codec.kept(answer)
        run.shared.check_size(self._step, "the answer", len(encoded))
        pending = run.pending
        self._written = (pending, len(pending))
        row = b",".join(
            [*pending, self._entry, answer_entry(self._step, encoded, at_us=world.now_us(), attempts=self.attempts)]
        )
        row = b"[" + row + b"]"
        check_had(
            run.id, await run.shared.table.append(run.id, run.saga.worker, self._position, row, execute=tx.execute)
        )
        return answer

    def done(self) -> None:
        """Note that the row is durable: what was pending is on disk with it."""
        pending, count = self._written
        if self._run.pending is pending:
            del pending[:count]

    def failed(self) -> None:
        """Note that the step failed for good: its beginning goes with the failure, so that it is undone too."""
        self._run.pending.append(self._entry)
