"""One call of a step or an undo: its attempts, and the line between an answer, a failure and an accident."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from archstone.errors import DeniedError, DomainError, InvalidError, NotFoundError, RejectedError
from archstone.resilience import Retry, within
from archstone.sagas.errors import StepFailedError
from archstone.sagas.failures import describe
from archstone.sagas.operations import Callee, Operation
from archstone.sagas.run import Run

if TYPE_CHECKING:
    from archstone.sagas.atomic import Atomic, Keep

__all__ = ["Effect", "GivenUpError"]

_ANSWERS: Final = (DomainError, InvalidError, DeniedError, NotFoundError)
"""Asking again would give the same."""
_PENDING: Final = object()


class GivenUpError(Exception):
    """The call failed for good. Never leaves this package."""

    def __init__(self, attempts: int, error: Exception) -> None:
        super().__init__(attempts, error)
        self.attempts = attempts
        self.error = error

    def failure(self, saga: str, step: str) -> DomainError | StepFailedError:
        """Return the error with which `step` fails: a declared one as it is."""
        if isinstance(self.error, DomainError):
            return self.error
        return StepFailedError(saga, step, self.attempts, describe(self.error))


class Effect:
    """A call that is about to be made, in the context that is current then."""

    __slots__ = (
        "_arguments", "_attempts", "_call", "_first", "_given_up", "_run", "_timeout_s", "keep", "name", "operation",
        "retry",
    )  # fmt: skip

    def __init__(
        self,
        operation: Operation,
        arguments: tuple[object, ...],
        *,
        call: Callee,
        name: str,
        run: Run,
        retry: Retry,
        timeout_s: float,
        given_up: Callable[[], bool],
    ) -> None:
        self.operation = operation
        self.name = name
        """Id of the step."""
        self.keep: Keep | None = None
        """What to write in the transaction of the effect, if that is one of the saga's own database."""
        self.retry = retry
        self._call = call
        self._arguments = arguments
        self._run = run
        self._timeout_s = timeout_s
        self._given_up = given_up
        self._attempts = 0
        self._first: Exception | None = None

    def covered_by(self, atomic: "Atomic | None") -> bool:
        """Whether the call is one transaction of the saga's own database."""
        return atomic is not None and atomic.covers(self._call)

    async def make(self) -> object:
        """Return the answer.

        Raises:
            GivenUpError: An answer that is an error, or the last attempt failed too, or nobody wants it any more.
        """
        retry = self.retry
        try:
            # Nearly every step works at its first attempt, which need not pay for the machinery of the others.
            answer = await self._once() if retry.total_s is None and retry.per_attempt_s is None else _PENDING
        except Exception as error:  # noqa: BLE001 - Retry.on decides about it
            self._first = error
            answer = _PENDING
        if answer is _PENDING:
            try:
                answer = await retry.call(self._attempt)
            except Exception as error:
                raise GivenUpError(self._attempts, error) from error
        if type(answer) is _Failed:
            raise GivenUpError(self._attempts, answer.error) from answer.error
        return answer

    async def _attempt(self) -> object:
        first, self._first = self._first, None
        if first is not None:
            raise first
        return await self._once()

    async def _once(self) -> object:
        run = self._run
        shared, saga = run.shared, run.saga
        if shared.draining:
            await shared.park(run.id)
        self._attempts += 1
        shared.effects += 1
        saga.effects += 1
        try:
            async with within(self._timeout_s, name=self.name):
                return await self._invoked()
        except _ANSWERS as error:
            return _Failed(error)
        except Exception as error:
            if not shared.draining:
                if self._given_up():
                    return _Failed(error)
                raise
        finally:
            saga.effects -= 1
            shared.effect_ended()
        # Whoever was called may be closing as well. That must not count as a failure that undoes the saga.
        return await shared.park(run.id)

    async def _invoked(self) -> object:
        shared = self._run.shared
        try:
            if self.keep is not None and shared.atomic is not None:
                return await self._atomically(self.keep, shared.atomic)
            if shared.invoke is None:
                return await self._call(*self._arguments)
            return await shared.invoke(self._call, self._arguments)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancels this task, so it was the callee's own: an attempt that failed, and no bug of the body.
            raise RejectedError(f"{self.name}: who was called cancelled it; it may have taken effect") from error

    async def _atomically(self, keep: "Keep", atomic: "Atomic") -> object:
        if self._attempts > 1 and (encoded := await keep.found()) is not None:
            return self.operation.codec.answer(encoded)  # the attempt before was cut off while it was committed
        return await atomic.atomically(self._call, self._arguments, keep.write)


class _Failed:
    """An error that must not be tried again, carried past `Retry.on`."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error
