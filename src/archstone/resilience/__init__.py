"""What keeps a call from waiting for ever, failing for nothing, or drowning its server.

    Timeout, within      when nobody waits any more                  the error: OutOfTimeError
    Retry                try again, later each time                  the error: what the last attempt raised
    Breaker              when not to call at all                     the error: CircuitOpenError
    Bulkhead, Adaptive   how many calls at once                      the error: BulkheadFullError
    RateLimit            how often a key may come                    the error: RateLimitedError
    Shed                 how much may be in flight                   the error: OverloadedError
    Coalesce             one call for all who ask the same
    Hedge                a second call beside a slow first one
    Fallback             something else where it does not work
    Policy               several of them, in an order that makes sense

A policy is a frozen value; `bind(name)` (or decorating) gives it state. Each works alone, without a System:

    @Breaker(5)                               # around a function
    async with circuit.admit():               # around a block
    Policy(Timeout(2.0), Retry(3), Breaker(5)).bind("payments")(charge)
"""

from archstone.resilience.adaptive import Adaptive, AdaptiveStatistics, Throttle
from archstone.resilience.attempts import Attempts, RetryStatistics
from archstone.resilience.backoff import Backoff, Decorrelated, Exponential
from archstone.resilience.breaker import ANSWERS, Breaker, Ratio
from archstone.resilience.bulkhead import Bulkhead, BulkheadStatistics, Compartment
from archstone.resilience.check import SettingsError, check
from archstone.resilience.circuit import Circuit, CircuitStatistics
from archstone.resilience.circuitstate import CircuitState, Outcome, Refused
from archstone.resilience.coalesce import Coalesce, CoalesceStatistics, Flights
from archstone.resilience.deadline import Deadline, deadline_from_context, within
from archstone.resilience.errors import (
    BlockingRetryError,
    BulkheadFullError,
    CircuitOpenError,
    OutOfTimeError,
    OverloadedError,
    RateLimitedError,
)
from archstone.resilience.fallback import BoundFallback, Fallback, FallbackStatistics
from archstone.resilience.hedge import Hedge, Hedges, HedgeStatistics
from archstone.resilience.limiter import Limiter, LimiterStatistics
from archstone.resilience.policy import BoundLayer, BoundPolicy, Layer, Policy
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.retry import RETRYABLE, Retry
from archstone.resilience.shared import SharedCircuit, SharedLimiter
from archstone.resilience.shed import Gate, GateStatistics, Shed
from archstone.resilience.signals import Listener, Signal, add_listener, remove_listener
from archstone.resilience.store import Begun, SharedState, Store, StoreLostError, Taken, UnknownStoreError, WithoutStore
from archstone.resilience.timeout import BoundTimeout, Timeout

__all__ = [
    "ANSWERS",
    "RETRYABLE",
    "Adaptive",
    "AdaptiveStatistics",
    "Attempts",
    "Backoff",
    "Begun",
    "BlockingRetryError",
    "BoundFallback",
    "BoundLayer",
    "BoundPolicy",
    "BoundTimeout",
    "Breaker",
    "Bulkhead",
    "BulkheadFullError",
    "BulkheadStatistics",
    "Circuit",
    "CircuitOpenError",
    "CircuitState",
    "CircuitStatistics",
    "Coalesce",
    "CoalesceStatistics",
    "Compartment",
    "Deadline",
    "Decorrelated",
    "Exponential",
    "Fallback",
    "FallbackStatistics",
    "Flights",
    "Gate",
    "GateStatistics",
    "Hedge",
    "HedgeStatistics",
    "Hedges",
    "Layer",
    "Limiter",
    "LimiterStatistics",
    "Listener",
    "OutOfTimeError",
    "Outcome",
    "OverloadedError",
    "Policy",
    "RateLimit",
    "RateLimitedError",
    "Ratio",
    "Refused",
    "Retry",
    "RetryStatistics",
    "SettingsError",
    "SharedCircuit",
    "SharedLimiter",
    "SharedState",
    "Shed",
    "Signal",
    "Store",
    "StoreLostError",
    "Taken",
    "Throttle",
    "Timeout",
    "UnknownStoreError",
    "WithoutStore",
    "add_listener",
    "check",
    "deadline_from_context",
    "remove_listener",
    "within",
]
