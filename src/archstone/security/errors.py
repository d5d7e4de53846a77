"""What security refuses, and why. No message holds a password, a key or a token."""

from typing import Literal, TypeAlias

from archstone.errors import BackendError, ConfigError, DeniedError, InvalidError, RejectedError

__all__ = [
    "ApiKeyError",
    "ApiKeyFault",
    "InsecureKeyFileError",
    "KeyFileError",
    "PasswordTooLongError",
    "PasswordsBusyError",
    "RefreshFault",
    "RefreshTokenError",
    "StoredHashError",
    "TokenError",
    "TokenExpiredError",
]

ApiKeyFault: TypeAlias = Literal["malformed", "unknown", "expired", "revoked"]
RefreshFault: TypeAlias = Literal["unknown", "expired", "revoked", "reused"]


class PasswordsBusyError(RejectedError, code="security.passwords-busy", status=503):
    """Too many passwords wait to be hashed; this one was not looked at."""

    def __init__(self, waiting: int, limit: int, retry_after_s: float) -> None:
        super().__init__(waiting, limit, retry_after_s)
        self.waiting = waiting
        self.limit = limit
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"passwords: {self.waiting} already wait to be hashed, limit {self.limit}; "
            f"this one was not checked, try again in {self.retry_after_s:.1f} s"
        )


class PasswordTooLongError(InvalidError, code="security.password-too-long", status=400):
    """A new password has more bytes than are hashed."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"password: {self.size_bytes} bytes, limit {self.limit_bytes}; choose a shorter one"


class StoredHashError(BackendError, code="security.stored-hash", status=500):
    """What is stored as a password hash is none."""

    def __str__(self) -> str:
        return "stored password hash: not an argon2 hash; nobody can sign in with it, let its owner set a new password"


class TokenError(DeniedError, code="security.token-invalid", status=401):
    """A token was not made by this system for this use, or has been changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"token refused: {self.reason}; sign in again"


class TokenExpiredError(TokenError, code="security.token-expired", status=401):
    """A token was good and its time is over."""

    def __init__(self) -> None:
        super().__init__("its time is over")
        self.args = ()

    def __str__(self) -> str:
        return "token refused: its time is over; get a new one with the refresh token"


class RefreshTokenError(DeniedError, code="security.refresh-token", status=401):
    """A refresh token gives no new tokens."""

    def __init__(self, fault: RefreshFault, user_id: str = "") -> None:
        super().__init__(fault, user_id)
        self.fault = fault
        """`reused` means that it was rotated before: somebody has a copy, and the whole family is being revoked."""
        self.user_id = user_id
        """Whose it was, for the record, where it is reused; else empty."""

    def __str__(self) -> str:
        return f"refresh token refused: {self.fault}; sign in again"


class ApiKeyError(DeniedError, code="security.api-key", status=401):
    """An API key opens nothing."""

    def __init__(self, fault: ApiKeyFault) -> None:
        super().__init__(fault)
        self.fault = fault
        """`malformed`: its checksum is wrong, so it was cut or mistyped and was never one of ours."""

    def __str__(self) -> str:
        return f"API key refused: {self.fault}; make a new one, or look whether it was copied whole"


class KeyFileError(BackendError, code="security.key-file"):
    """The file of signing keys cannot be read."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what

    def __str__(self) -> str:
        return (
            f"key file {self.path}: {self.what}; restore it from a backup, "
            "or remove it: a new one is made and every token signed so far is refused"
        )


class InsecureKeyFileError(ConfigError, code="security.key-file-mode"):
    """Others than its owner can read or write the file of signing keys."""

    def __init__(self, path: str, mode: int) -> None:
        super().__init__(path, mode)
        self.path = path
        self.mode = mode

    def __str__(self) -> str:
        return (
            f"key file {self.path}: mode {self.mode:04o} lets others in, at most 0600 is accepted; "
            "if nobody can have read it: chmod 600; otherwise remove it, a new one is made"
        )
