"""Why something elsewhere could not be had."""

from typing import Literal, TypeAlias

from archstone.errors import BackendError

__all__ = ["OutgoingError", "OutgoingFault"]

OutgoingFault: TypeAlias = Literal["refused", "unreachable", "late", "answer", "large"]
"""
refused: the address is none that is asked, such as one inside the network. unreachable: no name, no connection, no
trusted certificate. late: it took too long. answer: no HTTP, cut off, or too many redirects. large: too many bytes.
"""


class OutgoingError(BackendError, code="security.outgoing", status=502):
    """Something elsewhere was not had. Its text names a host and no path, which may hold what is nobody's business."""

    def __init__(self, fault: OutgoingFault, why: str, host: str = "", dead: bool = False) -> None:  # noqa: FBT001, FBT002 - a fact
        super().__init__(fault, why, host, dead)
        self.fault: OutgoingFault = fault
        self.why = why
        self.host = host
        """Where it failed; empty: not at a host."""
        self.dead = dead
        """Whether the host itself cannot be had, so that asking it for something else need not be tried."""

    def __str__(self) -> str:
        where = f" ({self.host})" if self.host else ""
        then = (
            "ask another address, or allow this one by name" if self.fault == "refused" else "ask later, or another one"
        )
        return f"outgoing request{where}: {self.fault}: {self.why}; {then}"
