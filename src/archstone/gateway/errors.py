"""What the gateway refuses by itself."""

from archstone.errors import DeniedError

__all__ = ["TokenError"]


class TokenError(DeniedError, code="gateway.token", status=401):
    """The bearer token is malformed, forged, expired or revoked."""

    challenge = 'Bearer error="invalid_token"'
    """The header WWW-Authenticate of the answer."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the bearer token is not valid ({self.why}): sign in again, or refresh it"
