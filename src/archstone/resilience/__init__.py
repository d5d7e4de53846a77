"""What keeps a call from waiting for ever, failing for nothing, or drowning its server.

    Deadline, within     when nobody waits any more                  the error: OutOfTimeError
    Retry, Exponential   try again, later each time                  the error: what the last attempt raised
    Breaker, Circuit     when not to call at all                     the error: CircuitOpenError
    Bulkhead             how many calls at once                      the error: BulkheadFullError
    RateLimit, Limiter   how often a key may come                    the error: RateLimitedError
    Shed, Gate           how much may be in flight                   the error: OverloadedError

A policy is a frozen value; `bind` (or decorating) gives it state. Each works alone, without a System.
"""

from archstone.resilience.attempts import Attempts, RetryStatistics
from archstone.resilience.backoff import Backoff, Decorrelated, Exponential
from archstone.resilience.breaker import ANSWERS, Breaker, Ratio
from archstone.resilience.bulkhead import Bulkhead, BulkheadStatistics, Compartment
from archstone.resilience.check import SettingsError, check
from archstone.resilience.circuit import Circuit, CircuitStatistics
from archstone.resilience.deadline import Deadline, deadline_from_context, within
from archstone.resilience.errors import (
    BlockingRetryError,
    BulkheadFullError,
    CircuitOpenError,
    OutOfTimeError,
    OverloadedError,
    RateLimitedError,
)
from archstone.resilience.limiter import Limiter, LimiterStatistics
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.retry import RETRYABLE, Retry
from archstone.resilience.shed import Gate, Shed
from archstone.resilience.signals import Listener, Signal, add_listener, remove_listener

__all__ = [
    "ANSWERS",
    "RETRYABLE",
    "Attempts",
    "Backoff",
    "BlockingRetryError",
    "Breaker",
    "Bulkhead",
    "BulkheadFullError",
    "BulkheadStatistics",
    "Circuit",
    "CircuitOpenError",
    "CircuitStatistics",
    "Compartment",
    "Deadline",
    "Decorrelated",
    "Exponential",
    "Gate",
    "Limiter",
    "LimiterStatistics",
    "Listener",
    "OutOfTimeError",
    "OverloadedError",
    "RateLimit",
    "RateLimitedError",
    "Ratio",
    "Retry",
    "RetryStatistics",
    "SettingsError",
    "Shed",
    "Signal",
    "add_listener",
    "check",
    "deadline_from_context",
    "remove_listener",
    "within",
]
