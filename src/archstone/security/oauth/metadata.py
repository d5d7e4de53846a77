"""What clients may know before they ask: RFC 8414 and OpenID Connect Discovery 1.0."""

from typing import Any

from archstone.security.oauth.clients import GRANTS
from archstone.security.oauth.server import OAuth

__all__ = ["metadata"]


def metadata(oauth: OAuth) -> dict[str, Any]:
    """Return the metadata of a server; that of OAuth and that of OpenID Connect are the same document."""
    issuer, settings = oauth.settings.issuer, oauth.settings
    secrets = ["client_secret_basic", "client_secret_post"]
    found: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks.json",
        "revocation_endpoint": f"{issuer}/revoke",
        "introspection_endpoint": f"{issuer}/introspect",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "scopes_supported": sorted(settings.words),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [*secrets, "none"],
        "revocation_endpoint_auth_methods_supported": [*secrets, "none"],
        "introspection_endpoint_auth_methods_supported": secrets,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [oauth.tokens.ring.signer().algorithm],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "name", "email"],
        "prompt_values_supported": ["none", "consent"],
        "authorization_response_iss_parameter_supported": True,
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": True,
    }
    if settings.registration:
        found["registration_endpoint"] = f"{issuer}/register"
    return found
