"""What keeps a call from waiting for ever, failing for nothing, or drowning its server.

    Deadline, within     when nobody waits any more                  the error: OutOfTimeError
    Retry, Exponential   try again, later each time                  the error: what the last attempt raised
    RateLimit, Limiter   how often a key may come                    the error: RateLimitedError
    Shed, Gate           how much may be in flight                   the error: OverloadedError

A policy is a frozen value; `bind` (or decorating) gives it state. Each works alone, without a System.
"""

from archstone.resilience.check import SettingsError, check
from archstone.resilience.deadline import Deadline, deadline_from_context, within
from archstone.resilience.errors import BlockingRetryError, OutOfTimeError, OverloadedError, RateLimitedError
from archstone.resilience.ratelimit import Limiter, RateLimit
from archstone.resilience.retry import RETRYABLE, Exponential, Retry
from archstone.resilience.shed import Gate, Shed

__all__ = [
    "RETRYABLE",
    "BlockingRetryError",
    "Deadline",
    "Exponential",
    "Gate",
    "Limiter",
    "OutOfTimeError",
    "OverloadedError",
    "RateLimit",
    "RateLimitedError",
    "Retry",
    "SettingsError",
    "Shed",
    "check",
    "deadline_from_context",
    "within",
]
