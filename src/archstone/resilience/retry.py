"""Try again what can work the next time, later each time, and never for ever.

    calm = Retry(3, backoff=Exponential(0.1, cap_s=2.0), budget_ratio=0.1)

    @calm
    async def charge(order: Order) -> Payment: ...

    payment = await calm.bind("bank").call(bank.charge, order)

Attempts are spread by chance, so that callers who failed together do not come back together. A server's
`retry_after_s` is honoured on top of it. No attempt begins after the deadline of the call or after `total_s`.
Cancellation is neither retried nor counted.

A budget bounds what all callers do together: while everything fails, three attempts each would triple the load on what
is already down. With `budget_ratio=0.1` retries add a tenth at most.

What is not safe to do twice needs a key, or `idempotent=False`: then only errors that say that nothing was done are
followed by another attempt.

Source: the budget is that of Finagle (Twitter 2016), counted in calls and not in seconds.
"""

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, ParamSpec, TypeVar

from archstone.errors import BackendError, RejectedError
from archstone.resilience.attempts import Attempts
from archstone.resilience.backoff import Backoff, Exponential
from archstone.resilience.callables import name_of
from archstone.resilience.check import SettingsError, check, is_errors
from archstone.resilience.errors import OutOfTimeError

__all__ = ["RETRYABLE", "Retry", "had_no_effect"]

P = ParamSpec("P")
R = TypeVar("R")

RETRYABLE: Final[tuple[type[Exception], ...]] = (RejectedError, BackendError, ConnectionError, TimeoutError)
"""What can work the next time: refused without being tried, a backend that failed, a time-out (DeadlineError too)."""


def had_no_effect(error: Exception) -> bool:
    """Say whether `error` tells that nothing was done."""
    if isinstance(error, OutOfTimeError):
        return not error.begun
    return isinstance(error, RejectedError | ConnectionRefusedError)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, how long and for which errors to try again."""

    attempts: int = 3
    """All attempts, the first included. At least 1."""
    _: KW_ONLY
    backoff: Backoff = field(default_factory=Exponential)
    """How long to wait between them."""
    total_s: float | None = None
    """Seconds for all attempts and waits together; the attempt in progress is cut there. Above 0. None: no limit."""
    per_attempt_s: float | None = None
    """Seconds for each attempt, then it is cancelled and counts as failed. Above 0. None: no limit."""
    on: tuple[type[Exception], ...] = RETRYABLE
    """Errors worth another attempt."""
    idempotent: bool = True
    """Whether the call may be made twice, or carries a key. False: only what had no effect is tried again (of `on`)."""
    patience_s: float = 60.0
    """Longest wait that `retry_after_s` may ask for; above it the error is raised at once. At least 0."""
    budget_ratio: float | None = None
    """Retries that each call adds to the budget of all callers of one bound retry. In (0, 1]. None: no budget."""
    budget_burst: float = 10.0
    """Retries that a budget holds at most, and at first. At least 1, finite."""

    def __post_init__(self) -> None:
        check(
            self,
            attempts=(self.attempts >= 1, "at least 1"),
            total_s=(self.total_s is None or self.total_s > 0, "above 0, or None"),
            per_attempt_s=(self.per_attempt_s is None or self.per_attempt_s > 0, "above 0, or None"),
            on=(is_errors(self.on), "a tuple of Exception classes (a cancellation is never retried)"),
            patience_s=(self.patience_s >= 0, "at least 0"),
            budget_ratio=(self.budget_ratio is None or 0 < self.budget_ratio <= 1, "in (0, 1], or None"),
            budget_burst=(1 <= self.budget_burst < float("inf"), "at least 1 and finite"),
        )

    def delay_s(self, attempt: int) -> float:
        """Return how long to wait after attempt `attempt` (the first is 1), by chance."""
        return self.backoff.delay_s(attempt)

    def wait_s(self, attempt: int, failed: Exception) -> float | None:
        """Return how long to wait after attempt `attempt` ended with `failed`, None if no other may follow.

        For those who make the attempts themselves. Whether a deadline would come first is theirs to see, and a budget
        is theirs to keep.
        """
        if attempt >= self.attempts or not isinstance(failed, self.on):
            return None
        if not self.idempotent and not had_no_effect(failed):
            return None
        delay_s = self.delay_s(attempt)
        retry_after_s: object = getattr(failed, "retry_after_s", None)
        if isinstance(retry_after_s, int | float):
            if not retry_after_s <= self.patience_s:
                return None
            # On top of it, not instead: all who were refused heard the same number of seconds.
            delay_s += max(0.0, retry_after_s)
        return delay_s

    def bind(self, name: str) -> Attempts:
        """Return attempts with this policy and a full budget. `name` is in its metrics and errors."""
        return Attempts(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with this policy around it, its signature kept, with a budget of its own.

        A plain function waits by blocking its thread, which is refused on the thread of an event loop.

        Raises:
            SettingsError: A plain function cannot be cut off, so `total_s` and `per_attempt_s` need a coroutine
                function; a generator cannot be tried again.
        """
        return self.bind(name_of(function))(function)

    async def call(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` under this policy and return its answer, or raise what its last attempt raised.

        Cancelled, it leaves nothing behind but what an attempt had begun.

        Raises:
            SettingsError: There is a budget, which only a bound retry has: `retry.bind(name).call(...)`.
        """
        if self.budget_ratio is not None:
            text = f"budget_ratio={self.budget_ratio!r} must be None here: only what `bind` returns has a budget"
            raise SettingsError("Retry", (text,))
        return await Attempts(name_of(function), self).call(function, *args, **kwargs)
