"""What an OAuth server refuses, in the words of the RFCs."""

from typing import Final, Literal

from archstone.errors import DeniedError

__all__ = ["OAuthError", "OAuthFault"]

OAuthFault = Literal[
    "access_denied",
    "authorization_pending",
    "expired_token",
    "insufficient_scope",
    "interaction_required",
    "invalid_client",
    "invalid_client_metadata",
    "invalid_grant",
    "invalid_redirect_uri",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "login_required",
    "request_not_supported",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "unsupported_token_type",
]

_STATUS: Final[dict[str, int]] = {
    "invalid_client": 401,
    "invalid_token": 401,
    "insufficient_scope": 403,
    "temporarily_unavailable": 503,
}


class OAuthError(DeniedError, code="security.oauth", status=400):
    """A request of an OAuth client was refused."""

    def __init__(self, fault: OAuthFault, description: str) -> None:
        super().__init__(fault, description)
        self.fault = fault
        """As RFC 6749 and its successors name it."""
        self.description = description
        """For the developer of the client: printable ASCII, without quotes and backslashes; no secret in it."""

    @property
    def http_status(self) -> int:
        """The status of the answer."""
        return _STATUS.get(self.fault, 400)

    def __str__(self) -> str:
        return f"OAuth request refused ({self.fault}): {self.description}"
