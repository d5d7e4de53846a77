"""What people have allowed: a grant per consent, the code that leads to it, and its end.

Everything that a client gets from one consent names its grant: ending the grant ends all of it. A code is good once,
for a minute, for the client that it was made for, with the verifier that only the one who asked has. A code that comes
twice has been copied: what it gave is revoked. A code that somebody tries in any wrong way is used up.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from archstone import world
from archstone.data import Database, Transaction
from archstone.security.oauth.asking import Asked
from archstone.security.oauth.settings import OAuthSettings
from archstone.security.oauth.tables import MICROS, chance, digest

__all__ = ["Grant", "Grants", "Redeemed", "pkce_holds"]

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_CODE_KEEP_US: Final = 86_400 * MICROS
"""Used codes are kept for a day, so that a second use is known as one."""
_SWEEP_ROWS: Final = 1_000


class Grant(NamedTuple):
    """What one person has allowed one client, once."""

    id: str
    client_id: str
    person: str
    scopes: str
    """Parted by blanks."""
    signed_in_us: int | None
    created_us: int
    expires_us: int
    revoked_us: int | None

    @property
    def stands(self) -> bool:
        """Whether it has not been revoked and is not over."""
        return self.revoked_us is None and world.now_us() < self.expires_us


class Redeemed(NamedTuple):
    """What became of a code."""

    outcome: Literal["good", "unknown", "reused", "wrong"]
    grant: str
    nonce: str | None = None


class _Code(NamedTuple):
    grant_id: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    expires_at: int
    used_at: int | None


_GRANT: Final = (
    "SELECT id, client_id, person, scopes, signed_in_at AS signed_in_us, created_at AS created_us,"
    " expires_at AS expires_us, revoked_at AS revoked_us FROM _archstone_oauth_grants"
)


class Grants:
    """The grants of one server, in its database."""

    def __init__(self, db: Database, settings: OAuthSettings) -> None:
        self._db = db
        self._settings = settings

    async def allow(
        self, tx: Transaction, *, client_id: str, person: str, scopes: Iterable[str], signed_in_us: int | None
    ) -> str:
        """Write down that a person has allowed something; return the id of the grant."""
        grant_id, now_us = world.new_id(), world.now_us()
        await tx.execute(
            "INSERT INTO _archstone_oauth_grants (id, client_id, person, scopes, signed_in_at, created_at, expires_at)"
            " VALUES (:id, :client_id, :person, :scopes, :signed_in_at, :now, :expires)",
            id=grant_id,
            client_id=client_id,
            person=person,
            scopes=" ".join(scopes),
            signed_in_at=signed_in_us,
            now=now_us,
            expires=now_us + round(self._settings.grant_s * MICROS),
        )
        return grant_id

    async def code_for(self, tx: Transaction, grant_id: str, asked: Asked) -> str:
        """Return the code that leads to a grant."""
        code = chance()
        await tx.execute(
            "INSERT INTO _archstone_oauth_codes (hash, grant_id, client_id, redirect_uri, challenge, nonce, expires_at)"
            " VALUES (:hash, :grant_id, :client_id, :redirect_uri, :challenge, :nonce, :expires)",
            hash=digest(code),
            grant_id=grant_id,
            client_id=asked.client_id,
            redirect_uri=asked.redirect_uri,
            challenge=asked.challenge,
            nonce=asked.nonce,
            expires=world.now_us() + round(self._settings.code_s * MICROS),
        )
        return code

    async def redeem(
        self, tx: Transaction, code: str, *, client_id: str, redirect_uri: str | None, verifier: str
    ) -> Redeemed:
        """Use up a code. Whatever comes of it, it is used: commit it also where the client is refused."""
        row = await tx.first(
            _Code,
            "SELECT grant_id, client_id, redirect_uri, challenge, nonce, expires_at, used_at"
            " FROM _archstone_oauth_codes WHERE hash = :hash",
            hash=digest(code),
        )
        if row is None:
            return Redeemed("unknown", "")
        first = await tx.execute(
            "UPDATE _archstone_oauth_codes SET used_at = :now WHERE hash = :hash AND used_at IS NULL",
            now=world.now_us(),
            hash=digest(code),
        )
        if not first:
            return Redeemed("reused", row.grant_id)
        good = (
            row.client_id == client_id
            and world.now_us() < row.expires_at
            and redirect_uri in {None, row.redirect_uri}
            and pkce_holds(row.challenge, verifier)
        )
        return Redeemed("good" if good else "wrong", row.grant_id, row.nonce)

    async def find(self, tx: Transaction | Database, grant_id: str) -> Grant | None:
        """Return a grant, one that is over too. None: there is none."""
        return await tx.first(Grant, f"{_GRANT} WHERE id = :id", id=grant_id)

    async def of_person(self, person: str) -> list[Grant]:
        """Return the grants of a person that stand, newest first; at most 200."""
        return await self._db.all(
            Grant,
            f"{_GRANT} WHERE person = :person AND revoked_at IS NULL AND expires_at > :now"
            " ORDER BY created_at DESC, id DESC LIMIT 200",
            person=person,
            now=world.now_us(),
        )

    async def revoke(self, tx: Transaction, grant_id: str) -> bool:
        """End a grant. False: it has ended, or there is none."""
        changed = await tx.execute(
            "UPDATE _archstone_oauth_grants SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL",
            now=world.now_us(),
            id=grant_id,
        )
        return changed > 0

    async def sweep(self, tx: Transaction) -> None:
        """Delete codes and grants that say nothing any more, at most 1,000 of each."""
        now_us = world.now_us()
        await tx.execute(
            "DELETE FROM _archstone_oauth_codes WHERE hash IN"
            " (SELECT hash FROM _archstone_oauth_codes WHERE expires_at <= :gone LIMIT :limit)",
            gone=now_us - _CODE_KEEP_US,
            limit=_SWEEP_ROWS,
        )
        await tx.execute(
            "DELETE FROM _archstone_oauth_grants WHERE id IN"
            " (SELECT id FROM _archstone_oauth_grants WHERE expires_at <= :gone LIMIT :limit)",
            gone=now_us - _CODE_KEEP_US,
            limit=_SWEEP_ROWS,
        )


def pkce_holds(challenge: str, verifier: str) -> bool:
    """Return whether a challenge was made of this verifier (RFC 7636, S256)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=")
    return hmac.compare_digest(made, challenge.encode("ascii", "replace"))
