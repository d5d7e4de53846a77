"""What can be set about a sequencer that keeps its commands."""

from dataclasses import dataclass
from typing import Final

from archstone.resilience import check
from archstone.systems.exchange.sequencer.frames import MAX_COMMANDS

__all__ = ["SequencerSettings"]

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencerSettings:
    """How much waits, how it is kept, and for how long."""

    max_waiting: int = 100_000
    """Commands that may wait to be kept; more are refused. At least 1."""
    max_frame: int = 16_384
    """Commands that are kept and done together, and so of one `submit`. In [1, 65,536]."""
    acknowledge_before_fsync: bool = False
    """True: answers do not wait for the disk. A process that is killed loses nothing even so; a machine that loses its
    power loses what it had answered within the last `sync_every_s`. Said in the log of the process at each start."""
    sync_every_s: float = 0.05
    """With `acknowledge_before_fsync`: seconds after which the disk has what was answered. Above 0."""
    sync_in_thread: bool | None = None
    """Whether fsync runs in a thread, so that the loop goes on meanwhile. None: where it takes over a millisecond."""
    segment_bytes: int = 64 * _MIB
    """Size at which a file of the log is full. At least 64 KiB."""
    keep_segments: int = 16
    """Full files of the log that stay although a snapshot makes them needless, for who follows from far behind. With
    each stays the oldest snapshot of it."""
    snapshot_commands: int = 1_000_000
    """A snapshot is taken after so many commands. At least 1."""
    snapshot_s: float = 300.0
    """And after so many seconds, if there were any commands. Above 0."""
    keep_snapshots: int = 2
    """Newest snapshots that stay. At least 1."""
    digest_commands: int = 100_000
    """The log notes the digest of the venue after so many commands. At least 1."""
    recent_commands: int = 100_000
    """Commands whose batches stay in memory; who follows from further behind is given them from the log. At least 1."""

    def __post_init__(self) -> None:
        check(
            self,
            max_waiting=(self.max_waiting >= 1, "at least 1"),
            max_frame=(1 <= self.max_frame <= MAX_COMMANDS, f"in [1, {MAX_COMMANDS}]"),
            sync_every_s=(self.sync_every_s > 0, "above 0"),
            segment_bytes=(self.segment_bytes >= 1 << 16, "at least 65536"),
            keep_segments=(self.keep_segments >= 0, "at least 0"),
            snapshot_commands=(self.snapshot_commands >= 1, "at least 1"),
            snapshot_s=(self.snapshot_s > 0, "above 0"),
            keep_snapshots=(self.keep_snapshots >= 1, "at least 1"),
            digest_commands=(self.digest_commands >= 1, "at least 1"),
            recent_commands=(self.recent_commands >= 1, "at least 1"),
        )
