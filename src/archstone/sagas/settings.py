"""What an engine allows: how many sagas, how long, how often, how large."""

from dataclasses import dataclass
from typing import Final

from archstone.resilience import Exponential, Retry, check

__all__ = ["SagaSettings"]

_STEP_RETRY: Final = Retry(5, backoff=Exponential(0.1, cap_s=10.0), on=(Exception,))
"""Of a step by default. Errors that are answers end a step whatever its `Retry` says."""
_UNDO_RETRY: Final = Retry(10, backoff=Exponential(0.1, cap_s=30.0), on=(Exception,))
"""Of every undo by default: longer, since nobody but a person helps when it fails for good."""
_BODY_RETRY: Final = Retry(5, backoff=Exponential(0.1, cap_s=10.0), on=(Exception,))


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaSettings:
    """Limits and policies of one engine. The defaults suit most."""

    max_running: int = 1000
    """Sagas awake in memory at once; the others wait in their table, first come, first served. At least 1."""
    max_running_busy: int = 8
    """Fewest places that a late loop leaves to sagas that nobody waits for; see `Sagas`. At least 1."""
    max_waiting: int = 10_000
    """Sagas that wait in the table for a place, from which on `Sagas.check_room` refuses more. At least 1."""
    max_sleeping: int = 10_000
    """Sagas that wait in memory, asleep or for a signal, and do not count as awake; further ones sleep on disk.
    At least 0."""
    lease_s: float = 5.0
    """Where processes share the database: seconds without a sign of life after which one is taken for dead, and the
    others go on with its sagas. Its loop may never stand still for so long. Above 0."""
    max_signals: int = 1000
    """Signals of one saga that it has not taken; more are refused. At least 1."""
    timeout_s: float = 2.0
    """Seconds for one attempt of a step or an undo. Above 0."""
    step_retry: Retry = _STEP_RETRY
    """Of a step that brings none. Declared errors and refusals end a step at once, whatever it says."""
    undo_retry: Retry = _UNDO_RETRY
    """Of every undo."""
    body_retry: Retry = _BODY_RETRY
    """How often, and after what wait, a body that raised (a bug) runs before its saga is stuck."""
    limit_bytes: int = 1_000_000
    """Largest arguments (undo included) or answer of a step or saga in the journal. At least 1."""
    keep_s: float = 7 * 86_400.0
    """Seconds for which a finished saga is kept. At least 0."""
    sweep_batch: int = 500
    """Sagas that the sweeper deletes in one transaction. At least 1."""

    def __post_init__(self) -> None:
        check(
            self,
            max_running=(self.max_running >= 1, "at least 1"),
            max_running_busy=(self.max_running_busy >= 1, "at least 1"),
            max_waiting=(self.max_waiting >= 1, "at least 1"),
            max_sleeping=(self.max_sleeping >= 0, "at least 0"),
            lease_s=(0 < self.lease_s < float("inf"), "above 0 and finite"),
            max_signals=(self.max_signals >= 1, "at least 1"),
            timeout_s=(self.timeout_s > 0, "above 0"),
            limit_bytes=(self.limit_bytes >= 1, "at least 1"),
            keep_s=(self.keep_s >= 0, "at least 0"),
            sweep_batch=(self.sweep_batch >= 1, "at least 1"),
        )
