"""What the gateway refuses by itself."""

from archstone.errors import DeniedError

__all__ = ["TokenError"]


class TokenError(DeniedError, code="gateway.token", status=401):
    """The Authorization header holds no bearer token, or one that is refused without a reason of its own."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the bearer token is not valid ({self.why}): sign in again, or refresh it"
