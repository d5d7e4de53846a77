"""Who is there, how we know, and what was done: passwords, second factors, tokens, API keys, and an audit log.

    passwords = Passwords()
    verdict = await passwords.verify(user.password_hash, offered)
    tokens = Tokens(KeyFile(data / "keys.json").load(), issuer="shop", audience="shop-api")
    access = tokens.issue(Principal(user.id, frozenset({"customer"})))
    await audit.record("users.role-granted", subject=user.id, tx=tx)

Needs `archstone[security]`, and passkeys `archstone[passkeys]`. `archstone.security.oauth` is the server that gives
tokens to programs of others. What a principal may do is decided where the operation is declared (`requires`).
"""

from archstone.security.anchor import Anchor, AnchorError, FileAnchor
from archstone.security.apikeyform import well_formed
from archstone.security.apikeyrows import (
    API_KEY_SCHEMA,
    ApiKey,
    NewApiKey,
    TooManyApiKeysError,
    UnknownApiKeyError,
)
from archstone.security.apikeys import ApiKeys
from archstone.security.assertion import PrincipalAssertions
from archstone.security.attempts import ACCOUNT_LIMITS, PLACE_LIMITS, Attempt, Attempts
from archstone.security.audit import AuditLog, AuditVerdict
from archstone.security.auditchain import AuditFault, AuditRecord
from archstone.security.audits import Audits
from archstone.security.audittables import AUDIT_SCHEMA
from archstone.security.authority import Authority, renewing
from archstone.security.backupcodes import BackupCodes, FreshCodes, StoredCode
from archstone.security.breached import BreachedPasswords, PwnedPasswords
from archstone.security.breachedlist import BreachedList
from archstone.security.claims import Claims
from archstone.security.encryption import (
    BlindIndex,
    DataKeys,
    Encrypted,
    KeyService,
    RootKeyError,
    RootKeys,
    SealedColumn,
    SealRing,
    UnknownSealKeyError,
)
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
from archstone.security.mtls import Identity
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
from archstone.security.passkeys import Asked, NewPasskey, Passkey, PasskeyError, Passkeys, UsedPasskey
from archstone.security.passwords import Cost, Passwords, Verdict
from archstone.security.policy import Flaw, PasswordPolicy
from archstone.security.refresh import REFRESH_SCHEMA, Looked, RefreshToken, RefreshTokens, Rotated, Statements
from archstone.security.revocation_stores.database import REVOCATION_SCHEMA, DatabaseRevocations
from archstone.security.revocations import (
    Revocations,
    RevocationsStaleError,
    RevocationStore,
    RevocationTransaction,
    Revoked,
)
from archstone.security.roles import SERVICE, Guard, Role, Roles, Rule, tell_log
from archstone.security.tokens import AccessToken, Tokens
from archstone.security.totp import Totp
from archstone.security.tuning import CostProposal, propose_cost

__all__ = [
    "ACCOUNT_LIMITS",
    "API_KEY_SCHEMA",
    "AUDIT_SCHEMA",
    "PLACE_LIMITS",
    "REFRESH_SCHEMA",
    "REVOCATION_SCHEMA",
    "SERVICE",
    "AccessToken",
    "Allowed",
    "Anchor",
    "AnchorError",
    "ApiKey",
    "ApiKeyError",
    "ApiKeyFault",
    "ApiKeys",
    "Asked",
    "Attempt",
    "Attempts",
    "AuditFault",
    "AuditLog",
    "AuditRecord",
    "AuditVerdict",
    "Audits",
    "Authority",
    "BackupCodes",
    "BlindIndex",
    "BreachedList",
    "BreachedPasswords",
    "Claims",
    "Cost",
    "CostProposal",
    "CrossSiteError",
    "DataKeys",
    "DatabaseRevocations",
    "Encrypted",
    "FileAnchor",
    "Flaw",
    "FreshCodes",
    "Guard",
    "HostCookie",
    "Identity",
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
    "NewPasskey",
    "OAuth",
    "OAuthApp",
    "OAuthError",
    "OAuthSettings",
    "Outgoing",
    "OutgoingBounds",
    "OutgoingError",
    "Passkey",
    "PasskeyError",
    "Passkeys",
    "PasswordPolicy",
    "PasswordTooLongError",
    "Passwords",
    "PasswordsBusyError",
    "People",
    "Person",
    "PrincipalAssertions",
    "PwnedPasswords",
    "RefreshFault",
    "RefreshToken",
    "RefreshTokenError",
    "RefreshTokens",
    "RemoteKeys",
    "RemoteTokens",
    "Resolve",
    "RevocationStore",
    "RevocationTransaction",
    "Revocations",
    "RevocationsStaleError",
    "Revoked",
    "RingKey",
    "Role",
    "Roles",
    "RootKeyError",
    "RootKeys",
    "Rotated",
    "Rule",
    "SealRing",
    "SealedColumn",
    "SigningKeys",
    "Statements",
    "StoredCode",
    "StoredHashError",
    "TokenError",
    "TokenExpiredError",
    "Tokens",
    "TooManyApiKeysError",
    "TooManyClientsError",
    "Totp",
    "UnknownApiKeyError",
    "UnknownSealKeyError",
    "UsedPasskey",
    "Verdict",
    "check_same_origin",
    "propose_cost",
    "read_cookies",
    "renewing",
    "tell_log",
    "well_formed",
]
