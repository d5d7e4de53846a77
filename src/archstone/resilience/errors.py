"""How a policy ends a call."""

from archstone.errors import ConfigError, DeadlineError, RejectedError

__all__ = [
    "BlockingRetryError",
    "BulkheadFullError",
    "CircuitOpenError",
    "OutOfTimeError",
    "OverloadedError",
    "RateLimitedError",
]


class OutOfTimeError(DeadlineError, code="resilience.out-of-time", status=504):
    """The time of a block or of a whole call was up."""

    def __init__(self, name: str, limit_s: float, *, begun: bool = True) -> None:
        super().__init__(name, limit_s)
        self.name = name
        self.limit_s = limit_s
        """Seconds that there were."""
        self.begun = begun
        """False: the time was up before the work began, so it had no effect."""

    def __str__(self) -> str:
        if not self.begun:
            return (
                f"{self.name!r} was not begun: the deadline of its caller had passed; nothing was done, allow more time"
            )
        return (
            f"{self.name!r} ran out of time: not done after {self.limit_s:.3f} s; "
            "it may have taken effect, so look before repeating it without a key, or allow more time"
        )


class RateLimitedError(RejectedError, code="resilience.rate-limited", status=429):
    """One key came more often than its limit allows. Nothing was done."""

    def __init__(self, limiter: str, key: str, retry_after_s: float, rate_per_s: float) -> None:
        super().__init__(limiter, key, retry_after_s, rate_per_s)
        self.limiter = limiter
        self.key = key
        self.retry_after_s = retry_after_s
        self.rate_per_s = rate_per_s

    def __str__(self) -> str:
        return (
            f"limiter {self.limiter!r} refused {self.key!r}: above {self.rate_per_s:g} per second, nothing was done, "
            f"free again in {self.retry_after_s:.3f} s"
        )


class CircuitOpenError(RejectedError, code="resilience.circuit-open", status=503):
    """The breaker refused a call without making it. Nothing was done."""

    def __init__(self, circuit: str, reason: str, retry_after_s: float) -> None:
        super().__init__(circuit, reason, retry_after_s)
        self.circuit = circuit
        self.reason = reason
        """`open`, `half open` (all trials are under way), or `opened by hand`."""
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"circuit {self.circuit!r} is {self.reason}: the call was not made; wait for the other side to recover, "
            f"next trial in {self.retry_after_s:.1f} s"
        )


class BulkheadFullError(RejectedError, code="resilience.bulkhead-full", status=503):
    """All places are taken, and so are those in the queue, or the wait was too long. Nothing was done."""

    def __init__(self, bulkhead: str, limit: int, waiting: int, waited_s: float, retry_after_s: float) -> None:
        super().__init__(bulkhead, limit, waiting, waited_s, retry_after_s)
        self.bulkhead = bulkhead
        self.limit = limit
        self.waiting = waiting
        """Calls in the queue when this one was refused."""
        self.waited_s = waited_s
        """Seconds that this one waited; 0: it found no place in the queue."""
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        waited = f"no place after {self.waited_s:.3f} s" if self.waited_s else "no place in the queue"
        return (
            f"bulkhead {self.bulkhead!r} is full: {self.limit} calls at once and {self.waiting} waiting, {waited}; "
            f"nothing was done, try again in {self.retry_after_s:.1f} s"
        )


class OverloadedError(RejectedError, code="resilience.overloaded", status=503):
    """The gate is full, or the loop is late. Nothing was done."""

    def __init__(self, gate: str, reason: str, value: float, limit: float, retry_after_s: float) -> None:
        super().__init__(gate, reason, value, limit, retry_after_s)
        self.gate = gate
        self.reason = reason
        """`in flight`, `loop lag`, `loop turn`, `bodies pending`, of sagas `waiting`, or a word of who refuses."""
        self.value = value
        self.limit = limit
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        unit = " s" if self.reason.startswith("loop") else ""
        return (
            f"gate {self.gate!r} is shedding: {self.reason} {self.value:.4g}{unit} against a limit of "
            f"{self.limit:.4g}{unit}; nothing was done, try again in {self.retry_after_s:.1f} s"
        )


class BlockingRetryError(ConfigError, code="resilience.blocking-retry"):
    """A plain function would have had to wait for its next attempt on the thread of an event loop."""

    def __init__(self, function: str) -> None:
        super().__init__(function)
        self.function = function

    def __str__(self) -> str:
        return (
            f"retry of {self.function!r} would block the event loop while it waits: make it a coroutine function, "
            "or call it in a thread (asyncio.to_thread)"
        )
