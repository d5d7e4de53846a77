"""One call of a step or an undo: its attempts, and the line between an answer, a failure and an accident."""

from collections.abc import Callable
from typing import Final

from archstone.errors import DeniedError, DomainError, InvalidError, NotFoundError
from archstone.resilience import Exponential, Retry, within
from archstone.sagas.errors import StepFailedError
from archstone.sagas.failures import describe
from archstone.sagas.operations import Callee, Invoke, Operation

__all__ = ["STEP_RETRY", "UNDO_RETRY", "Effect", "GivenUpError"]

STEP_RETRY: Final = Retry(5, backoff=Exponential(0.1, cap_s=10.0), on=(Exception,))
"""Of a step by default. Errors that are answers end a step whatever its `Retry` says."""
UNDO_RETRY: Final = Retry(10, backoff=Exponential(0.1, cap_s=30.0), on=(Exception,))
"""Of every undo by default: longer, since nobody but a person helps when it fails for good."""

_ANSWERS: Final = (DomainError, InvalidError, DeniedError, NotFoundError)
"""Asking again would give the same."""


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
        "_arguments", "_attempts", "_call", "_given_up", "_invoke", "_timeout_s", "name", "operation", "retry"
    )  # fmt: skip

    def __init__(
        self,
        operation: Operation,
        arguments: tuple[object, ...],
        *,
        call: Callee,
        name: str,
        invoke: Invoke | None,
        retry: Retry,
        timeout_s: float,
        given_up: Callable[[], bool],
    ) -> None:
        self.operation = operation
        self.name = name
        """Id of the step."""
        self.retry = retry
        self._call = call
        self._arguments = arguments
        self._invoke = invoke
        self._timeout_s = timeout_s
        self._given_up = given_up
        self._attempts = 0

    async def make(self) -> object:
        """Return the answer.

        Raises:
            GivenUpError: An answer that is an error, or the last attempt failed too, or nobody wants it any more.
        """
        try:
            answer = await self.retry.call(self._once)
        except Exception as error:
            raise GivenUpError(self._attempts, error) from error
        if type(answer) is _Failed:
            raise GivenUpError(self._attempts, answer.error) from answer.error
        return answer

    async def _once(self) -> object:
        self._attempts += 1
        try:
            async with within(self._timeout_s, name=self.name):
                if self._invoke is None:
                    return await self._call(*self._arguments)
                return await self._invoke(self._call, self._arguments)
        except _ANSWERS as error:
            return _Failed(error)
        except Exception as error:
            if self._given_up():
                return _Failed(error)
            raise


class _Failed:
    """An error that must not be tried again, carried past `Retry.on`."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error
