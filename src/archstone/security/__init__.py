"""Who is there, and how we know: passwords, access tokens, refresh tokens, and the keys that sign them.

    passwords = Passwords()
    verdict = await passwords.verify(user.password_hash, offered)
    tokens = Tokens(KeyFile(data / "keys.json").load(), issuer="shop", audience="shop-api")
    access = tokens.issue(Principal(user.id, frozenset({"customer"})))

Needs `archstone[security]`. What a principal may do is decided where the operation is declared (`requires`).
"""

from archstone.security.assertion import PrincipalAssertions
from archstone.security.encryption import BlindIndex, DataKeys, Encrypted, KeyService, RootKeys, SealedColumn, SealRing
from archstone.security.errors import (
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
from archstone.security.keys import KeyFile, SigningKeys
from archstone.security.outgoing import Allowed, Outgoing, OutgoingBounds, OutgoingError, Resolve
from archstone.security.passwords import Cost, Passwords, Verdict
from archstone.security.refresh import REFRESH_SCHEMA, RefreshToken, RefreshTokens, Rotated, Statements
from archstone.security.roles import SERVICE, Guard, Role, Roles, Rule, tell_log
from archstone.security.tokens import AccessToken, Claims, Tokens

__all__ = [
    "REFRESH_SCHEMA",
    "SERVICE",
    "AccessToken",
    "Allowed",
    "BlindIndex",
    "Claims",
    "Cost",
    "CrossSiteError",
    "DataKeys",
    "Encrypted",
    "Guard",
    "HostCookie",
    "InsecureKeyFileError",
    "KeyFile",
    "KeyFileError",
    "KeyService",
    "Outgoing",
    "OutgoingBounds",
    "OutgoingError",
    "PasswordTooLongError",
    "Passwords",
    "PasswordsBusyError",
    "PrincipalAssertions",
    "RefreshFault",
    "RefreshToken",
    "RefreshTokenError",
    "RefreshTokens",
    "Resolve",
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
    "Verdict",
    "check_same_origin",
    "read_cookies",
    "tell_log",
]
