"""One hierarchy of errors, with branches by what the caller can do.

    ArchstoneError
    ├── ConfigError      fix the code or the configuration
    ├── InvalidError     fix the request: it broke the contract
    ├── DeniedError      sign in, or ask for the right
    ├── NotFoundError    there is no such thing
    ├── RejectedError    try later: too many, too fast, full (carries retry_after_s)
    ├── ConflictError    read again and retry
    ├── DeadlineError    it took too long; it may have taken effect
    ├── LostError        a lease or a lock is gone: stop
    ├── BackendError     look at the cause: disk, network, server
    ├── RemoteError      the other side failed in a way its contract does not declare
    └── DomainError      declared by a contract; the caller knows what it means

Every class has a stable `code` (dotted, lower case) and the HTTP `status` it becomes at a boundary. A message
says which thing, what happened, the value against the limit, and the next step. Facts are attributes too.
"""

from typing import ClassVar

__all__ = [
    "ArchstoneError",
    "BackendError",
    "ConfigError",
    "ConflictError",
    "DeadlineError",
    "DeniedError",
    "DomainError",
    "ForbiddenError",
    "InvalidError",
    "LostError",
    "NotFoundError",
    "NotSignedInError",
    "RejectedError",
    "RemoteError",
]


class ArchstoneError(Exception):
    """Any error that Archstone raises on purpose."""

    code: ClassVar[str] = "archstone.error"
    status: ClassVar[int] = 500

    def __init_subclass__(cls, *, code: str | None = None, status: int | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            cls.code = code
        if status is not None:
            cls.status = status


class ConfigError(ArchstoneError, ValueError, code="archstone.config"):
    """Code or configuration is wrong. Raised when a thing is built, with all faults at once."""


class InvalidError(ArchstoneError, ValueError, code="archstone.invalid", status=400):
    """The request breaks the contract. Sending it again unchanged cannot work."""


class DeniedError(ArchstoneError, PermissionError, code="archstone.denied", status=403):
    """The principal may not do this."""


class NotSignedInError(DeniedError, code="archstone.not-signed-in", status=401):
    """Nobody is signed in, and the operation asks for somebody."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return f"{self.operation}: not signed in: sign in and send the access token"


class ForbiddenError(DeniedError, code="archstone.forbidden", status=403):
    """Who asks has not the permission that the operation asks for."""

    def __init__(self, operation: str, requires: str) -> None:
        super().__init__(operation, requires)
        self.operation = operation
        self.requires = requires
        """A permission, or the name of a role."""

    def __str__(self) -> str:
        return f"{self.operation}: needs {self.requires!r}: sign in as somebody who has it"


class NotFoundError(ArchstoneError, LookupError, code="archstone.not-found", status=404):
    """There is no such thing, or none that this principal may see."""


class RejectedError(ArchstoneError, code="archstone.rejected", status=503):
    """Refused without being tried. The same request can work later."""

    retry_after_s: float = 1.0
    """Seconds after which a retry makes sense."""


class ConflictError(ArchstoneError, code="archstone.conflict", status=409):
    """Somebody else changed it, or is changing it. Read again and retry; nothing was done."""


class DeadlineError(ArchstoneError, TimeoutError, code="archstone.deadline", status=504):
    """The time was up before the answer. The call may have taken effect."""


class LostError(ArchstoneError, code="archstone.lost", status=409):
    """A lease, lock or fence is gone. Stop: somebody else may be doing the work."""


class BackendError(ArchstoneError, code="archstone.backend", status=503):
    """A disk, a network or a server failed; the cause says how."""


class RemoteError(ArchstoneError, code="archstone.remote", status=500):
    """The other side failed in a way that its contract does not declare. It may have taken effect."""


class DomainError(ArchstoneError, code="archstone.domain", status=409):
    """An error that a contract declares: `class OutOfStock(DomainError, code="inventory.out-of-stock", status=409)`.

    Its constructor arguments cross the boundary, so they are annotated, encodable and passed on to
    `super().__init__` in the same order.
    """
