"""Clients that register themselves (RFC 7591), where the settings allow it: for people only, never for themselves."""

from collections.abc import Mapping
from typing import Any, Final, cast

from archstone.errors import ConfigError
from archstone.security.oauth.clients import CODE, DEVICE, REFRESH, redirect_fault
from archstone.security.oauth.errors import OAuthError
from archstone.security.oauth.server import OAuth

__all__ = ["register"]

_OPEN_TO_ALL: Final = frozenset({CODE, REFRESH, DEVICE})
_METHODS: Final = ("client_secret_basic", "client_secret_post", "none")


async def register(oauth: OAuth, said: Mapping[str, Any]) -> dict[str, Any]:
    """Register a client and return what it is, with its secret.

    Raises:
        OAuthError: Something is wrong with what it says of itself.
        TooManyClientsError: There are as many as there may be.
    """
    uris = _texts(said, "redirect_uris", [])
    grants = _texts(said, "grant_types", [CODE])
    method = said.get("token_endpoint_auth_method", "client_secret_basic")
    name, scope = said.get("client_name", ""), said.get("scope", "")
    if any(redirect_fault(each) for each in uris):
        raise OAuthError("invalid_redirect_uri", "https, http on the client's own machine, or a scheme with a dot")
    if set(grants) - _OPEN_TO_ALL or method not in _METHODS or said.get("response_types", ["code"]) != ["code"]:
        raise OAuthError("invalid_client_metadata", "a grant type, response type or way to authenticate is not open")
    if not isinstance(name, str) or not isinstance(scope, str) or not set(scope.split()) <= oauth.settings.words.keys():
        raise OAuthError("invalid_client_metadata", "client_name and scope are texts, and scopes are known ones")
    try:
        made = await oauth.clients.register(
            name, redirect_uris=uris, grant_types=grants, scopes=scope.split(), confidential=method != "none"
        )
    except ConfigError as error:
        raise OAuthError("invalid_client_metadata", str(error).replace('"', "'")) from None
    answer: dict[str, Any] = {
        "client_id": made.client.id,
        "client_name": made.client.name,
        "redirect_uris": list(made.client.redirect_uris),
        "grant_types": sorted(made.client.grant_types),
        "response_types": ["code"],
        "scope": " ".join(sorted(made.client.scopes)),
        "token_endpoint_auth_method": method,
    }
    if made.secret is not None:
        answer |= {"client_secret": made.secret, "client_secret_expires_at": 0}
    return answer


def _texts(said: Mapping[str, Any], name: str, otherwise: list[str]) -> list[str]:
    found: object = said.get(name, otherwise)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in cast("list[object]", found)):
        raise OAuthError("invalid_client_metadata", f"{name} is a list of texts")
    return cast("list[str]", found)
