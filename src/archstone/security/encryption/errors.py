"""What encryption refuses, and why. No message holds a key or anything that was sealed."""

from archstone.errors import BackendError, ConfigError, InvalidError, NotFoundError, RejectedError

__all__ = [
    "BrokenSealError",
    "KeyServiceBusyError",
    "KeyServiceDeniedError",
    "KeyServiceError",
    "KeysDestroyedError",
    "RootKeyError",
    "TooLargeToSealError",
    "UnknownSealKeyError",
]


class BrokenSealError(BackendError, code="security.seal-broken", status=500):
    """What is stored does not open: it was changed, cut, moved to another place, or was never sealed."""

    def __init__(self, context: str, reason: str) -> None:
        super().__init__(context, reason)
        self.context = context
        self.reason = reason

    def __str__(self) -> str:
        return f"sealed value at {self.context}: {self.reason}; nothing was read, restore it from a backup"


class UnknownSealKeyError(BrokenSealError, code="security.seal-key-unknown", status=500):
    """A sealed value names a key that the ring does not hold: destroyed, retired, or of another installation."""

    def __init__(self, context: str, key: str) -> None:
        super().__init__(context, f"its key {key} is not in the ring")
        self.args = (context, key)
        self.key = key
        """Hex, 16 digits: the public name of the key."""

    def __str__(self) -> str:
        return (
            f"sealed value at {self.context}: its key {self.key} is not in the ring; bring that key back "
            "if it was lost, and nothing opens the value if it was destroyed"
        )


class TooLargeToSealError(InvalidError, code="security.too-large-to-seal", status=400):
    """A value has more bytes than one seal holds."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"{self.size_bytes} bytes to seal, limit {self.limit_bytes}: cut it into parts, each with its own place"


class RootKeyError(ConfigError, code="security.root-key"):
    """The root keys cannot be read, are none, or others could read them."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what

    def __str__(self) -> str:
        return f"root keys of {self.where}: {self.what}; without them nothing that was sealed can be opened"


class KeyServiceError(BackendError, code="security.key-service", status=503):
    """The service that keeps the root key failed, or did not answer in time."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(service, reason)
        self.service = service
        self.reason = reason

    def __str__(self) -> str:
        return f"key service {self.service}: {self.reason}; keys in memory go on until their time is over"


class KeyServiceBusyError(RejectedError, code="security.key-service-busy", status=503):
    """The service that keeps the root key asks for fewer requests."""

    def __init__(self, service: str, retry_after_s: float) -> None:
        super().__init__(service, retry_after_s)
        self.service = service
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"key service {self.service} is throttling: try again in {self.retry_after_s:.1f} s"


class KeyServiceDeniedError(KeyServiceError, code="security.key-service-denied", status=503):
    """The service that keeps the root key refuses this program: a grant was withdrawn, or the key is disabled."""

    def __str__(self) -> str:
        return f"key service {self.service} denied it: {self.reason}; nothing is sealed or opened until that is mended"


class KeysDestroyedError(NotFoundError, code="security.keys-destroyed", status=404):
    """The keys of this scope were destroyed, and with them all that they had sealed."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope

    def __str__(self) -> str:
        return f"keys of {self.scope!r} were destroyed: what they sealed is gone, and nothing new is sealed for it"
