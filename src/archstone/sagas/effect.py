"""One call of a step or an undo: its attempts, and the line between an answer, a failure and an accident."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from archstone import world
from archstone.errors import DeadlineError, DeniedError, DomainError, InvalidError, NotFoundError, RejectedError
from archstone.observability import Span, get_logger
from archstone.resilience import Retry, within
from archstone.sagas.errors import SagaLostError, StepFailedError
from archstone.sagas.failures import describe
from archstone.sagas.operations import Callee, Operation
from archstone.sagas.run import Run
from archstone.sagas.shared import Shared

if TYPE_CHECKING:
    from archstone.sagas.atomic import Atomic, Keep

__all__ = ["Effect", "GivenUpError"]

_ANSWERS: Final = (DomainError, InvalidError, DeniedError, NotFoundError)
"""Asking again would give the same."""
_PATIENCE: Final = 5
"""How much longer an attempt may take that begins while the loop is late: it is no fault of who is called."""
_LATE_S: Final = 0.05
_log = get_logger("archstone.sagas")


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
        failure = StepFailedError(saga, step, self.attempts, describe(self.error))
        failure.__cause__ = self.error
        return failure


class Effect:
    """A call that is about to be made, in the context that is current then."""

    __slots__ = (
        "_arguments", "_call", "_given_up", "_run", "_timeout_s", "attempts", "keep", "name", "operation", "retry",
        "work",
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
        self._timeout_s = timeout_s if retry.per_attempt_s is None else min(timeout_s, retry.per_attempt_s)
        self._given_up = given_up
        self.attempts = 0
        """Made so far, by this process."""
        self.work: Span | None = None
        """The span in which it is made, which tells of attempts that failed while there are more."""

    @property
    def saga(self) -> str:
        """Id of the saga that makes it."""
        return self._run.id

    def covered_by(self, atomic: "Atomic | None") -> bool:
        """Whether the call is one transaction of the saga's own database."""
        return atomic is not None and atomic.covers(self._call)

    async def make(self) -> object:
        """Return the answer. Each attempt that fails is logged, the last one with its traceback.

        Raises:
            GivenUpError: An answer that is an error, or the last attempt failed too, or nobody wants it any more.
        """
        if self.retry.total_s is not None:
            return await self._bounded(self.retry.total_s)
        try:
            return await self._once()
        except Exception as error:  # noqa: BLE001 - `_delay_s` decides about it
            failed = error
        return await self._again(failed)

    async def _bounded(self, total_s: float) -> object:
        try:
            async with within(total_s, name=self.name):
                try:
                    return await self._once()
                except Exception as error:  # noqa: BLE001 - as above
                    failed = error
                return await self._again(failed)
        except DeadlineError as error:
            self._log_last(error)
            raise GivenUpError(self.attempts, error) from error

    async def _again(self, failed: Exception) -> object:
        failing = self._run.shared.failing
        failing[self] = world.monotonic()
        try:
            while (delay_s := self._delay_s(failed)) is not None:
                _log.warning(
                    "an attempt of a step failed",
                    **self._facts(),
                    attempts=self.retry.attempts,
                    error=describe(failed),
                    next_s=round(delay_s, 3),
                )
                if self.work is not None:
                    self.work.set("attempts", self.attempts + 1)
                    self.work.set("last_error", describe(failed))
                await self._run.saga.rest(delay_s)
                await self._run.saga.wait_while_held()
                try:
                    return await self._once()
                except Exception as error:  # noqa: BLE001 - as above
                    failed = error
            self._log_last(failed)
            raise GivenUpError(self.attempts, failed) from failed
        finally:
            del failing[self]
            del failed  # the error holds this frame, the frame must not hold the error

    def _delay_s(self, failed: Exception) -> float | None:
        """Return how long to wait before another attempt, None if there is none."""
        if isinstance(failed, (*_ANSWERS, SagaLostError)) or self._given_up():
            return None
        return self.retry.wait_s(self.attempts, failed)

    def _log_last(self, failed: Exception) -> None:
        if isinstance(failed, SagaLostError):
            return  # another process goes on with it
        if isinstance(failed, DomainError):  # an answer, which its contract declares: nobody's fault
            _log.info("a step was refused", **self._facts(), error=describe(failed))
        else:
            _log.error("a step failed for good", **self._facts(), error=describe(failed), exc_info=failed)

    def _facts(self) -> dict[str, object]:
        operation = self.operation.name
        return {"saga": self._run.id, "step": self.name, "operation": operation, "attempt": self.attempts}

    async def _once(self) -> object:
        run = self._run
        shared, saga = run.shared, run.saga
        if shared.draining:
            await shared.park(run.id)
        self.attempts += 1
        shared.effects += 1
        saga.effects += 1
        try:
            patience = _PATIENCE if shared.lag() > _LATE_S else 1
            async with within(self._timeout_s * patience, name=self.name):
                return await self._called(shared)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancels this task, so it was the callee's own: an attempt that failed, and no bug of the body.
            if not shared.draining:
                raise RejectedError(f"{self.name}: who was called cancelled it; it may have taken effect") from error
        except Exception as error:
            if not shared.draining or isinstance(error, _ANSWERS):
                raise
        finally:
            saga.effect_ended()
            shared.effect_ended()
        # Whoever was called may be closing as well. That must not count as a failure that undoes the saga.
        return await shared.park(run.id)

    def _called(self, shared: Shared) -> Awaitable[object]:
        if self.keep is not None and shared.atomic is not None:
            return self._atomically(self.keep, shared.atomic)
        if shared.invoke is not None:
            return shared.invoke(self._call, self._arguments)
        return self._call(*self._arguments)

    async def _atomically(self, keep: "Keep", atomic: "Atomic") -> object:
        if self.attempts > 1 and (encoded := await keep.found()) is not None:
            return self.operation.codec.answer(encoded)  # the attempt before was cut off while it was committed
        keep.attempts = self.attempts
        return await atomic.atomically(self._call, self._arguments, keep.write)
