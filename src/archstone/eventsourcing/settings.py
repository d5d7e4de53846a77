"""How a projection is run."""

from dataclasses import dataclass

from archstone.resilience import Exponential, check

__all__ = ["ProjectorSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorSettings:
    """How a projection is run."""

    batch: int = 100
    """Events whose effects are one transaction. At least 1."""
    gather_s: float = 0.0
    """Seconds that it lets more events come once one has, so that they share a transaction. At least 0, finite."""
    poll_s: float = 1.0
    """Seconds between two looks without a wake-up: a net, since commits wake it. Above 0, finite."""
    lease_s: float = 5.0
    """Seconds without a sign of life after which another process takes over. Above 0, finite."""
    stall_s: float = 10.0
    """Seconds that it may be behind without moving before it is told as stalled. Above 0, finite."""
    backoff: Exponential = Exponential(0.1, cap_s=10.0)  # noqa: RUF009 - a frozen value
    """Seconds between a batch that failed and the next attempt."""
    swap: bool = True
    """Whether a version that has caught up goes live by itself; otherwise `go_live` does it."""

    def __post_init__(self) -> None:
        check(
            self,
            batch=(self.batch >= 1, "at least 1"),
            gather_s=(0 <= self.gather_s < float("inf"), "at least 0 and finite"),
            poll_s=(0 < self.poll_s < float("inf"), "above 0 and finite"),
            lease_s=(0 < self.lease_s < float("inf"), "above 0 and finite"),
            stall_s=(0 < self.stall_s < float("inf"), "above 0 and finite"),
        )
