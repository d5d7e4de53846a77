"""An OAuth 2.1 and OpenID Connect server as an object: what it keeps, what it gives, and how all of it ends.

`OAuthApp` puts it behind HTTP. Here is what needs no request: clients, grants, tokens, and ending them.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self

from archstone import world
from archstone.context import Principal
from archstone.data import Database, Transaction
from archstone.observability import get_logger
from archstone.resilience import Limiter, SharedLimiter, SharedState
from archstone.security.audit import AuditLog
from archstone.security.keyring import KeyRing
from archstone.security.oauth import asking
from archstone.security.oauth.asking import AskedRequests
from archstone.security.oauth.clients import Clients
from archstone.security.oauth.devices import Devices
from archstone.security.oauth.grants import Grants
from archstone.security.oauth.people import People, Person
from archstone.security.oauth.settings import OAuthSettings
from archstone.security.oauth.tables import MICROS, OAUTH_SCHEMA
from archstone.security.refresh import REFRESH_SCHEMA, RefreshTokens
from archstone.security.revocation_stores.database import REVOCATION_SCHEMA, DatabaseRevocations
from archstone.security.revocations import Revocations
from archstone.security.tokens import AccessToken, Tokens

__all__ = ["Ending", "OAuth"]

SWEEP_S: Final = 1_800.0
"""Less than half of what a new key is announced for, so that every process has it before it signs."""
Ending = Literal["asked", "client", "code", "person", "refresh", "revoked"]
"""Why a consent ends: its person asked; the client or the person is gone; a code or refresh token came twice, or with
something wrong; its client gave it back."""
_log = get_logger(__name__)


class OAuth:
    """The server. Open it by `async with`; its database is open then, and stays its owner's to close."""

    def __init__(
        self,
        db: Database,
        settings: OAuthSettings,
        *,
        keys: KeyRing,
        people: People,
        renew: Callable[[], KeyRing] | None = None,
        audit: AuditLog | None = None,
        shared: SharedState | None = None,
    ) -> None:
        """Take what it needs; nothing is read or written.

        Args:
            db: Where everything is kept.
            settings: See there.
            keys: What signs. Clients of OpenID Connect verify with it: RS256, ES256 or EdDSA.
            people: Whom to ask about people.
            renew: Asked each half hour for the ring to go on with, such as `KeyRingFile.renewed`. None: it stays.
            audit: Where clients, consents and what is refused as copied are recorded: a log in `db`. None: nowhere.
            shared: Where requests and guesses are counted for all processes, open. None: in this one.
        """
        self.db = db
        self.settings = settings
        self.people = people
        self.audit = audit
        self.clients = Clients(db, most=settings.most_clients, audit=audit)
        self.requests = AskedRequests(db, settings)
        self.grants = Grants(db, settings)
        self.devices = Devices(db, settings)
        self.refresh = RefreshTokens(db, lifetime_s=settings.refresh_s)
        self.asking: Limiter | SharedLimiter = settings.asking.bind("oauth requests", store=shared)
        self.guessing: Limiter | SharedLimiter = settings.guessing.bind("oauth guesses", store=shared)
        self._store = DatabaseRevocations(db)
        self.revocations = Revocations(
            self._store,
            lifetime_s=float(settings.access_s),
            refresh_s=settings.refresh_list_s,
            stale_s=settings.stale_list_s,
        )
        self.tokens = Tokens(
            keys,
            issuer=settings.issuer,
            audience=settings.audience,
            lifetime_s=settings.access_s,
            is_revoked=self.revocations.is_revoked,
        )
        self._renew = renew
        self._life = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Create the tables that are missing, learn what is revoked, and sweep from now on."""
        for schema in (OAUTH_SCHEMA, REFRESH_SCHEMA, REVOCATION_SCHEMA):
            await self.db.ensure(schema)
        if self.audit is not None:
            await self.audit.open()
            self._life.push_async_callback(self.audit.close)
        self._life.push_async_callback(self.refresh.close)
        await self._life.enter_async_context(self.revocations)
        sweeping = asyncio.create_task(self._sweep_now_and_then(), name="oauth sweeper")
        self._life.push_async_callback(asyncio.wait, [sweeping])
        self._life.callback(sweeping.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._life.aclose()

    async def allow(
        self, tx: Transaction, *, client_id: str, person: str, scopes: Iterable[str], signed_in_us: int | None
    ) -> str:
        """Write down that a person has allowed a client something; return the id of the grant."""
        wanted = tuple(scopes)
        grant_id = await self.grants.allow(
            tx, client_id=client_id, person=person, scopes=wanted, signed_in_us=signed_in_us
        )
        if self.audit is not None:
            told = {"client": client_id, "scopes": " ".join(wanted)}
            await self.audit.record("oauth.consent-given", subject=grant_id, who=person, details=told, tx=tx)
        return grant_id

    async def end_grant(self, grant_id: str, *, why: Ending = "asked", who: str = "") -> None:
        """End all that one consent gave: nothing is refreshed, and every access token is refused.

        Args:
            grant_id: Of the consent. Ended before, nothing changes.
            why: For the audit log.
            who: Who wants it; empty: nobody, it follows from something else.
        """

        async def work(tx: Transaction) -> None:
            ended = await self.grants.revoke(tx, grant_id)
            await self.refresh.revoke_family(tx, family=grant_id)
            await self.revocations.revoke_grants([grant_id], tx=tx)
            if ended and self.audit is not None:
                told = {"why": why}
                await self.audit.record("oauth.consent-ended", subject=grant_id, who=who, details=told, tx=tx)

        await self.db.run(work)

    def refused(self, action: str, *, subject: str, client_id: str) -> None:
        """Take note of something that was refused as copied or guessed. Who is not proven has no `client_id`."""
        if self.audit is not None:
            who = f"client:{client_id}" if client_id else ""
            self.audit.note(action, outcome="denied", subject=subject, who=who)

    async def end_person(self, person: str) -> None:
        """End all that a person has allowed anybody: signed out everywhere, or gone."""
        while standing := await self.grants.of_person(person):
            for grant in standing:
                await self.end_grant(grant.id, why="person")
        await self.revocations.revoke_subject(person)

    async def end_client(self, client_id: str) -> bool:
        """Remove a client and end all that it was given. False: there was none."""
        found = await self.db.all(
            str,
            "SELECT id FROM _archstone_oauth_grants WHERE client_id = :client AND revoked_at IS NULL",
            client=client_id,
        )
        for grant_id in found:
            await self.end_grant(grant_id, why="client")
        await self.revocations.revoke_subject(f"client:{client_id}")
        return await self.clients.remove(client_id)

    def access_token(self, person: Person, scopes: Iterable[str], *, client_id: str, grant: str) -> AccessToken:
        """Return a token by which a client acts for a person: with few roles, and for some scopes."""
        principal = Principal(person.id, person.roles & self.settings.roles)
        return self.tokens.issue(principal, scopes=scopes, client_id=client_id, grant=grant)

    def id_token(
        self, person: Person, *, client_id: str, nonce: str | None, signed_in_us: int | None, access: str
    ) -> str:
        """Return what tells a client who the person is (OpenID Connect Core, section 2)."""
        now = world.now_us() // MICROS
        claims: dict[str, Any] = {
            "iss": self.settings.issuer,
            "sub": person.id,
            "aud": client_id,
            "iat": now,
            "exp": now + self.settings.id_token_s,
            "at_hash": _half_hash(access, self.tokens.ring.signer().algorithm),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        if signed_in_us is not None:
            claims["auth_time"] = signed_in_us // MICROS
        return self.tokens.signed(claims, kind="JWT")

    async def sweep(self) -> None:
        """Delete what says nothing any more, at most 1,000 rows of each kind. Called by itself."""
        await self.db.run(asking.forget_expired)
        await self.db.run(self.devices.forget_expired)
        await self.db.run(self.grants.sweep)
        await self.db.run(partial(self.refresh.sweep))
        await self._store.sweep()
        if self.audit is not None:
            await self.db.run(self.audit.sweep)

    async def _sweep_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
                if self._renew is not None and (ring := self._renew()) != self.tokens.ring:
                    self.tokens.use(ring)
            except Exception as error:  # noqa: BLE001 - the next time may go well
                _log.warning("oauth: not swept", exc_info=error)


def _half_hash(token: str, algorithm: str) -> str:
    """Return the left half of a token's hash, by which an ID token belongs to its access token."""
    made = hashlib.sha512 if algorithm == "EdDSA" else hashlib.sha256
    whole = made(token.encode("ascii")).digest()
    return base64.urlsafe_b64encode(whole[: len(whole) // 2]).decode("ascii").rstrip("=")
