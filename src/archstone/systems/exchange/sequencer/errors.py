"""What a sequencer that keeps its commands refuses, and why."""

from archstone.errors import ArchstoneError, BackendError, ConfigError, InvalidError, RejectedError

__all__ = [
    "FolderTakenError",
    "FrameTooLargeError",
    "LogDamagedError",
    "LogsDifferError",
    "NotLeadingError",
    "OtherHolderError",
    "SequencerFullError",
    "UnavailableError",
    "VenueDiffersError",
]


class SequencerFullError(RejectedError, code="exchange.sequencer-full", status=503):
    """Too many commands wait to be kept. Nothing has happened."""

    def __init__(self, waiting: int, limit: int, retry_after_s: float) -> None:
        super().__init__(waiting, limit, retry_after_s)
        self.waiting = waiting
        self.limit = limit
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"the sequencer is full: {self.waiting} commands wait, {self.limit} may: nothing has happened, "
            f"come again in {self.retry_after_s:.2f} s"
        )


class NotLeadingError(RejectedError, code="exchange.not-leading", status=503):
    """This node does not lead, so it takes no commands. Nothing has happened."""

    def __init__(self, node: str, leader: str) -> None:
        super().__init__(node, leader)
        self.node = node
        self.leader = leader
        """Who may lead, as far as this node knows. Empty: it does not."""
        self.retry_after_s = 0.1

    def __str__(self) -> str:
        other = f"ask node {self.leader!r}" if self.leader else "ask the other node, or again in 0.1 s"
        return f"node {self.node!r} does not lead: nothing has happened, {other}"


class OtherHolderError(RejectedError, code="exchange.other-holder", status=503):
    """Another process submits to these nodes, and is to be alone. Nothing has happened."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder
        """How that one calls itself."""
        self.retry_after_s = 2.0

    def __str__(self) -> str:
        return (
            f"another exchange trades on these nodes, {self.holder}: nothing has happened; two would give out the same "
            "numbers of accounts: stop that one, or give this one nodes of its own"
        )


class UnavailableError(BackendError, code="exchange.unavailable", status=503):
    """Whether commands are kept is not known."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return (
            f"whether the commands are kept is not known: {self.why}: send them again to who leads now, "
            "with the same order numbers; what was kept is refused as used"
        )


class FrameTooLargeError(InvalidError, code="exchange.frame-too-large", status=400):
    """More commands are to be done together than fit into a frame, or none."""

    def __init__(self, commands: int, limit: int) -> None:
        super().__init__(commands, limit)
        self.commands = commands
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.commands} commands at once: submit from 1 to {self.limit}"


class LogDamagedError(BackendError, code="exchange.log-damaged", status=500):
    """A file of the command log, or what should be there, is not what was written. Nothing was changed."""

    def __init__(self, file: str, offset: int, problem: str) -> None:
        super().__init__(file, offset, problem)
        self.file = file
        self.offset = offset
        """Bytes from the beginning of the file."""
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"command log {self.file}, byte {self.offset}: {self.problem}: nothing was changed; "
            "where another node leads, empty this node's folder and let it follow; alone, put back a copy of it "
            "or, after a loss of power with acknowledge_before_fsync, see docs/errors/exchange.log-damaged.md"
        )


class LogsDifferError(ArchstoneError, code="exchange.logs-differ", status=500):
    """Two nodes have different frames in the same place. Neither was changed."""

    def __init__(self, node: str, sequence: int) -> None:
        super().__init__(node, sequence)
        self.node = node
        self.sequence = sequence

    def __str__(self) -> str:
        return (
            f"node {self.node!r}: its log and the leader's differ at command {self.sequence}, "
            "where they must be equal: one of them belongs to another exchange or is damaged; "
            "empty the folder of the one that is wrong and let it follow the other"
        )


class VenueDiffersError(ConfigError, code="exchange.venue-differs", status=500):
    """A venue that was told what the log holds came to another state than the one that was told first."""

    def __init__(self, sequence: int, expected: int, found: int) -> None:
        super().__init__(sequence, expected, found)
        self.sequence = sequence
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return (
            f"the venue differs after command {self.sequence}: digest {self.found:016x}, "
            f"the log says {self.expected:016x}: run the release of the venue that wrote the log, "
            "or begin with a snapshot of the other node"
        )


class FolderTakenError(RejectedError, code="exchange.folder-taken", status=503):
    """Another process keeps its commands in this folder."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return f"folder {self.folder} is in use by another process: stop that one, or name another folder"
