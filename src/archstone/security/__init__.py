"""Who is there, and how we know: passwords, access tokens, refresh tokens, API keys, and the keys that sign them.

    passwords = Passwords()
    verdict = await passwords.verify(user.password_hash, offered)
    tokens = Tokens(KeyFile(data / "keys.json").load(), issuer="shop", audience="shop-api")
    access = tokens.issue(Principal(user.id, frozenset({"customer"})))

Needs `archstone[security]`. `archstone.security.oauth` is the server that gives tokens to programs of others. What a
principal may do is decided where the operation is declared (`requires`).
"""

from archstone.security.apikeys import (
    API_KEY_SCHEMA,
    ApiKey,
    ApiKeys,
    NewApiKey,
    TooManyApiKeysError,
    UnknownApiKeyError,
    well_formed,
)
from archstone.security.assertion import PrincipalAssertions
from archstone.security.claims import Claims
from archstone.security.encryption import BlindIndex, DataKeys, Encrypted, KeyService, RootKeys, SealedColumn, SealRing
from archstone.security.errors import (
    ApiKeyError,
    ApiKeyFault,
    InsecureKeyFileError,
    KeyFileError,
    PasswordsBusyError,
    PasswordTooLongError,
    RefreshFault,
    RefreshTokenError,
    StoredHashError,
    TokenError,
    TokenExpiredError,
)
from archstone.security.http import CrossSiteError, HostCookie, check_same_origin, read_cookies
from archstone.security.jwks import JwksError, RemoteKeys, RemoteTokens
from archstone.security.keyring import KeyRing, KeyRingFile, RingKey
from archstone.security.keys import KeyFile, SigningKeys
from archstone.security.oauth import (
    NewClient,
    OAuth,
    OAuthApp,
    OAuthError,
    OAuthSettings,
    People,
    Person,
    TooManyClientsError,
)
from archstone.security.outgoing import Allowed, Outgoing, OutgoingBounds, OutgoingError, Resolve
from archstone.security.passwords import Cost, Passwords, Verdict
from archstone.security.refresh import REFRESH_SCHEMA, Looked, RefreshToken, RefreshTokens, Rotated, Statements
from archstone.security.revocation_stores.database import REVOCATION_SCHEMA, DatabaseRevocations
from archstone.security.revocations import Revocations, RevocationsStaleError, RevocationStore, Revoked
from archstone.security.roles import SERVICE, Guard, Role, Roles, Rule, tell_log
from archstone.security.tokens import AccessToken, Tokens

__all__ = [
    "API_KEY_SCHEMA",
    "REFRESH_SCHEMA",
    "REVOCATION_SCHEMA",
    "SERVICE",
    "AccessToken",
    "Allowed",
    "ApiKey",
    "ApiKeyError",
    "ApiKeyFault",
    "ApiKeys",
    "BlindIndex",
    "Claims",
    "Cost",
    "CrossSiteError",
    "DataKeys",
    "DatabaseRevocations",
    "Encrypted",
    "Guard",
    "HostCookie",
    "InsecureKeyFileError",
    "JwksError",
    "KeyFile",
    "KeyFileError",
    "KeyRing",
    "KeyRingFile",
    "KeyService",
    "Looked",
    "NewApiKey",
    "NewClient",
    "OAuth",
    "OAuthApp",
    "OAuthError",
    "OAuthSettings",
    "Outgoing",
    "OutgoingBounds",
    "OutgoingError",
    "PasswordTooLongError",
    "Passwords",
    "PasswordsBusyError",
    "People",
    "Person",
    "PrincipalAssertions",
    "RefreshFault",
    "RefreshToken",
    "RefreshTokenError",
    "RefreshTokens",
    "RemoteKeys",
    "RemoteTokens",
    "Resolve",
    "RevocationStore",
    "Revocations",
    "RevocationsStaleError",
    "Revoked",
    "RingKey",
    "Role",
    "Roles",
    "RootKeys",
    "Rotated",
    "Rule",
    "SealRing",
    "SealedColumn",
    "SigningKeys",
    "Statements",
    "StoredHashError",
    "TokenError",
    "TokenExpiredError",
    "Tokens",
    "TooManyApiKeysError",
    "TooManyClientsError",
    "UnknownApiKeyError",
    "Verdict",
    "check_same_origin",
    "read_cookies",
    "tell_log",
    "well_formed",
]
