"""What the gateway refuses by itself."""

from archstone.errors import DeniedError, RejectedError

__all__ = ["BodiesPendingError", "ScopeError", "TokenError"]


class TokenError(DeniedError, code="gateway.token", status=401):
    """The Authorization header holds no bearer token, or one that is refused without a reason of its own."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the bearer token is not valid ({self.why}): sign in again, or refresh it"


class ScopeError(DeniedError, code="gateway.scope", status=403):
    """A program asks in somebody's name for what it was not given."""

    def __init__(self, operation: str, scope: str) -> None:
        super().__init__(operation, scope)
        self.operation = operation
        self.scope = scope

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` tells (RFC 6750, section 3.1)."""
        return f'Bearer error="insufficient_scope", scope="{self.scope}"'

    def __str__(self) -> str:
        return f"{self.operation}: this token or key is not for {self.scope!r}: ask its owner for one that is"


class BodiesPendingError(RejectedError, code="gateway.bodies-pending", status=429):
    """One client has as many unfinished request bodies under way as it may. Nothing was done."""

    def __init__(self, key: str, limit: int, retry_after_s: float) -> None:
        super().__init__(key, limit, retry_after_s)
        self.key = key
        self.limit = limit
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"{self.key!r} has {self.limit} request bodies under way, as many as it may: nothing was done, "
            f"finish those first, or try again in {self.retry_after_s:.1f} s"
        )
