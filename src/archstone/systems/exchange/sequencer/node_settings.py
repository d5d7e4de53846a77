"""How quickly nodes notice each other's end."""

from dataclasses import dataclass

from archstone.resilience import check

__all__ = ["NodeSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Times of a node in seconds. The lease itself is the witness's to say."""

    renew_s: float = 0.15
    """Between two renewals of a leader's lease. Well below the lease. Above 0."""
    beat_s: float = 0.1
    """Between two signs of life to the standby. Above 0."""
    silence_s: float = 0.3
    """After which a standby takes the leader for dead and asks the witness. Above `beat_s`."""
    standby_s: float = 0.5
    """After which a leader takes the standby for away and asks the witness to go on alone. Above 0."""
    ask_s: float = 0.25
    """How long the witness may take to answer. Above 0."""
    retry_s: float = 0.05
    """Before asking again who did not answer or refused. Above 0."""
    give_up_s: float = 2.0
    """After which a leader that can neither keep a frame on two disks nor go on alone stops leading. Above 0."""
    drift_ratio: float = 0.1
    """How much faster the witness's clock may run than this node's. A leader stops so much before its lease ends.
    In [0, 1)."""

    def __post_init__(self) -> None:
        check(
            self,
            renew_s=(self.renew_s > 0, "above 0"),
            beat_s=(self.beat_s > 0, "above 0"),
            silence_s=(self.silence_s > self.beat_s, f"above beat_s, {self.beat_s}"),
            standby_s=(self.standby_s > 0, "above 0"),
            ask_s=(self.ask_s > 0, "above 0"),
            retry_s=(self.retry_s > 0, "above 0"),
            give_up_s=(self.give_up_s > 0, "above 0"),
            drift_ratio=(0 <= self.drift_ratio < 1, "in [0, 1)"),
        )
