"""Who is there, how we know, and what was done: passwords, second factors, tokens, keys, and an audit log.

    passwords = Passwords()
    verdict = await passwords.verify(user.password_hash, offered)
    tokens = Tokens(KeyFile(data / "keys.json").load(), issuer="shop", audience="shop-api")
    access = tokens.issue(Principal(user.id, frozenset({"customer"})))
    await audit.record("users.role-granted", subject=user.id, tx=tx)

Needs `archstone[security]`, and passkeys `archstone[passkeys]`. What a
principal may do is decided where the operation is declared (`requires`).
"""

from archstone.security.anchor import Anchor, AnchorError, FileAnchor
from archstone.security.assertion import PrincipalAssertions
from archstone.security.attempts import ACCOUNT_LIMITS, PLACE_LIMITS, Attempt, Attempts
from archstone.security.audit import AuditLog, AuditVerdict
from archstone.security.auditchain import AuditFault, AuditRecord
from archstone.security.audits import Audits
from archstone.security.audittables import AUDIT_SCHEMA
from archstone.security.backupcodes import BackupCodes, FreshCodes, StoredCode
from archstone.security.breached import BreachedPasswords, PwnedPasswords
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
from archstone.security.passkeys import Asked, NewPasskey, Passkey, PasskeyError, Passkeys, UsedPasskey
from archstone.security.passwords import Cost, Passwords, Verdict
from archstone.security.policy import Flaw, PasswordPolicy
from archstone.security.refresh import REFRESH_SCHEMA, RefreshToken, RefreshTokens, Rotated, Statements
from archstone.security.roles import SERVICE, Guard, Role, Roles, Rule, tell_log
from archstone.security.tokens import AccessToken, Claims, Tokens
from archstone.security.totp import Totp
from archstone.security.tuning import CostProposal, propose_cost

__all__ = [
    "ACCOUNT_LIMITS",
    "AUDIT_SCHEMA",
    "PLACE_LIMITS",
    "REFRESH_SCHEMA",
    "SERVICE",
    "AccessToken",
    "Allowed",
    "Anchor",
    "AnchorError",
    "Asked",
    "Attempt",
    "Attempts",
    "AuditFault",
    "AuditLog",
    "AuditRecord",
    "AuditVerdict",
    "Audits",
    "BackupCodes",
    "BlindIndex",
    "BreachedPasswords",
    "Claims",
    "Cost",
    "CostProposal",
    "CrossSiteError",
    "DataKeys",
    "Encrypted",
    "FileAnchor",
    "Flaw",
    "FreshCodes",
    "Guard",
    "HostCookie",
    "InsecureKeyFileError",
    "KeyFile",
    "KeyFileError",
    "KeyService",
    "NewPasskey",
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
    "PrincipalAssertions",
    "PwnedPasswords",
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
    "StoredCode",
    "StoredHashError",
    "TokenError",
    "TokenExpiredError",
    "Tokens",
    "Totp",
    "UsedPasskey",
    "Verdict",
    "check_same_origin",
    "propose_cost",
    "read_cookies",
    "tell_log",
]
