"""What goes wrong between a caller and a service, apart from what a contract declares."""

from archstone.errors import ArchstoneError, ConflictError, ForbiddenError, InvalidError, NotSignedInError

__all__ = [
    "CallInTransactionError",
    "ForbiddenError",
    "KeyMissingError",
    "KeyReusedError",
    "NotSignedInError",
    "RequestInvalidError",
    "ResultError",
    "StillRunningError",
]


class RequestInvalidError(InvalidError, code="services.invalid-request", status=400):
    """Arguments break the contract; every fault is named."""

    def __init__(self, operation: str, faults: tuple[tuple[str, str], ...]) -> None:
        super().__init__(operation, faults)
        self.operation = operation
        self.faults = faults
        """Pairs of where (`body.lines.0.quantity`) and what is wrong there."""

    def __str__(self) -> str:
        told = "; ".join(f"{where}: {what}" for where, what in self.faults)
        return f"{self.operation}: {told}"


class KeyMissingError(InvalidError, code="services.key-missing", status=400):
    """A command that needs an idempotency key came without one. Nothing was done."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return f"{self.operation}: no idempotency key: send one (header Idempotency-Key), and the same one on a retry"


class KeyReusedError(InvalidError, code="services.key-reused", status=422):
    """The idempotency key belongs to an earlier call with other arguments. Nothing was done."""

    def __init__(self, operation: str, key: str) -> None:
        super().__init__(operation, key)
        self.operation = operation
        self.key = key

    def __str__(self) -> str:
        return f"{self.operation}: key {self.key!r} was used with other arguments: make a new key for a new request"


class StillRunningError(ConflictError, code="services.still-running", status=409):
    """A call with this key is running. Ask again with the same key to get its answer."""

    def __init__(self, operation: str, key: str, retry_after_s: float) -> None:
        super().__init__(operation, key, retry_after_s)
        self.operation = operation
        self.key = key
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"{self.operation}: a call with key {self.key!r} is still running: "
            f"ask again with the same key in {self.retry_after_s:g} s"
        )


class CallInTransactionError(ArchstoneError, RuntimeError, code="services.call-in-transaction"):
    """A client was called while a transaction is open. Nothing was sent."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return (
            f"{self.operation}: called while a transaction is open; it would hold the database for the length of "
            "a call and cannot be rolled back with it: call before or after, or make the method a @saga"
        )


class ResultError(ArchstoneError, ValueError, code="services.result"):
    """An operation answered what its contract does not say. Its caller sees a RemoteError."""

    def __init__(self, operation: str, what: str) -> None:
        super().__init__(operation, what)
        self.operation = operation
        self.what = what

    def __str__(self) -> str:
        return f"{self.operation}: the answer breaks the contract: {self.what}"
