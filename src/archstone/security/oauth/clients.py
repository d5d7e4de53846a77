"""OAuth clients: who may ask, where answers go, and with which secret.

A redirect URI is compared as text, whole: no prefix, no pattern. The one exception is that of RFC 8252, section 7.3: a
native program that listens on its own machine by address (`http://127.0.0.1/back`) gets its port from the system.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from archstone import world
from archstone.data import Database, Transaction
from archstone.errors import ConfigError, RejectedError
from archstone.security.audit import AuditLog
from archstone.security.oauth.settings import is_loopback
from archstone.security.oauth.tables import MICROS, chance, digest

__all__ = ["GRANTS", "Client", "Clients", "NewClient", "TooManyClientsError", "redirect_fault"]

CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
OWN: Final = "client_credentials"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANTS: Final = (CODE, REFRESH, OWN, DEVICE, EXCHANGE)
"""The grant types that there are."""

_LONGEST_URI: Final = 500
_MOST_URIS: Final = 10
_NOBODYS: Final = digest("nobody's secret")
_DANGEROUS: Final = frozenset({"javascript", "data", "vbscript", "file", "blob", "about", "ftp", "ws", "wss"})


class TooManyClientsError(RejectedError, code="security.too-many-oauth-clients", status=503):
    """There are as many OAuth clients as there may be. None was registered."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"OAuth clients: there are {self.limit}, as many as there may be: remove those that nobody uses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks for tokens."""

    id: str
    name: str
    """As people read it on the consent page."""
    redirect_uris: tuple[str, ...] = ()
    grant_types: frozenset[str] = frozenset({CODE, REFRESH})
    scopes: frozenset[str] = frozenset()
    """All that it may ask for."""
    audiences: frozenset[str] = frozenset()
    """Whom it may exchange tokens for, besides the server's own audience."""
    confidential: bool = True
    """Whether it has a secret. A program that people have on their own machines cannot keep one."""
    introspects: bool = False
    """Whether it may ask about tokens of others: an API that cannot verify them."""

    def fits(self, redirect_uri: str) -> bool:
        """Return whether answers may go there."""
        if redirect_uri in self.redirect_uris:
            return True
        return not self.confidential and any(_same_but_port(each, redirect_uri) for each in self.redirect_uris)


class NewClient(NamedTuple):
    """A client that has just been registered, or got another secret."""

    client: Client
    secret: str | None
    """Stored nowhere. None: it is public."""


class _Row(NamedTuple):
    id: str
    name: str
    secret_hash: bytes | None
    last_hash: bytes | None
    last_until: int | None
    redirect_uris: str
    grant_types: str
    scopes: str
    audiences: str
    introspects: int

    def client(self) -> Client:
        return Client(
            id=self.id,
            name=self.name,
            redirect_uris=tuple(self.redirect_uris.split()),
            grant_types=frozenset(self.grant_types.split()),
            scopes=frozenset(self.scopes.split()),
            audiences=frozenset(self.audiences.split()),
            confidential=self.secret_hash is not None,
            introspects=bool(self.introspects),
        )


_SELECT: Final = (
    "SELECT id, name, secret_hash, last_hash, last_until, redirect_uris, grant_types, scopes, audiences, introspects"
    " FROM _archstone_oauth_clients"
)


class Clients:
    """The clients of one server, in its database."""

    def __init__(self, db: Database, *, most: int, audit: AuditLog | None = None) -> None:
        self._db = db
        self._most = most
        self._audit = audit

    async def register(
        self,
        name: str,
        *,
        redirect_uris: Iterable[str] = (),
        grant_types: Iterable[str] = (CODE, REFRESH),
        scopes: Iterable[str] = (),
        audiences: Iterable[str] = (),
        confidential: bool = True,
        introspects: bool = False,
    ) -> NewClient:
        """Register a client and return it with its secret.

        Raises:
            ConfigError: With everything that is wrong with it.
            TooManyClientsError: There are as many as there may be.
        """
        client = Client(
            id=world.new_id(),
            name=name.strip(),
            redirect_uris=tuple(dict.fromkeys(redirect_uris)),
            grant_types=frozenset(grant_types),
            scopes=frozenset(scopes),
            audiences=frozenset(audiences),
            confidential=confidential,
            introspects=introspects,
        )
        if faults := _faults(client):
            raise ConfigError("OAuth client: " + "; ".join(faults))
        secret = chance() if confidential else None

        async def work(tx: Transaction) -> None:
            if await tx.one(int, "SELECT count(*) FROM _archstone_oauth_clients") >= self._most:
                raise TooManyClientsError(self._most)
            await tx.execute(_INSERT, **_values(client, secret))
            await self._record(tx, "oauth.client-registered", client.id, name=client.name)

        await self._db.run(work)
        return NewClient(client, secret)

    async def find(self, client_id: str) -> Client | None:
        """Return a client; None: there is none of this id."""
        row = await self._db.first(_Row, f"{_SELECT} WHERE id = :id", id=client_id)
        return None if row is None else row.client()

    async def proven(self, client_id: str, secret: str) -> Client | None:
        """Return the client whose secret this is; None: nobody's. Both take as long."""
        row = await self._db.first(_Row, f"{_SELECT} WHERE id = :id", id=client_id)
        offered = digest(secret)
        right = hmac.compare_digest(offered, _NOBODYS if row is None or row.secret_hash is None else row.secret_hash)
        last = _NOBODYS if row is None or row.last_hash is None else row.last_hash
        before = hmac.compare_digest(offered, last)
        if row is None or row.secret_hash is None:
            return None
        in_time = row.last_until is not None and world.now_us() < row.last_until
        return row.client() if right or (before and in_time) else None

    async def rotate_secret(self, client_id: str, *, overlap_s: float = 86_400.0) -> NewClient | None:
        """Give a client another secret; the last one is good for `overlap_s` more. None: it has none, or is unknown."""
        client = await self.find(client_id)
        if client is None or not client.confidential:
            return None
        secret = chance()

        async def work(tx: Transaction) -> None:
            await tx.execute(
                "UPDATE _archstone_oauth_clients SET last_hash = secret_hash, last_until = :until, secret_hash = :hash"
                " WHERE id = :id",
                until=world.now_us() + round(overlap_s * MICROS),
                hash=digest(secret),
                id=client_id,
            )
            await self._record(tx, "oauth.client-changed", client_id, changed="secret")

        await self._db.run(work)
        return NewClient(client, secret)

    async def all(self) -> list[Client]:
        """Return every client, by name."""
        rows = await self._db.all(_Row, f"{_SELECT} ORDER BY name, id")
        return [row.client() for row in rows]

    async def remove(self, client_id: str) -> bool:
        """Forget a client; nothing of what it was given can be refreshed. False: there was none."""

        async def work(tx: Transaction) -> bool:
            gone = await tx.execute("DELETE FROM _archstone_oauth_clients WHERE id = :id", id=client_id)
            if gone:
                await self._record(tx, "oauth.client-removed", client_id)
            return gone > 0

        return await self._db.run(work)

    async def _record(self, tx: Transaction, action: str, client_id: str, **told: object) -> None:
        if self._audit is not None:
            await self._audit.record(action, subject=client_id, details=told, tx=tx)


_INSERT: Final = (
    "INSERT INTO _archstone_oauth_clients (id, name, secret_hash, redirect_uris, grant_types, scopes, audiences,"
    " introspects, created_at) VALUES (:id, :name, :secret_hash, :redirect_uris, :grant_types, :scopes, :audiences,"
    " :introspects, :created_at)"
)


def _values(client: Client, secret: str | None) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "secret_hash": None if secret is None else digest(secret),
        "redirect_uris": " ".join(client.redirect_uris),
        "grant_types": " ".join(sorted(client.grant_types)),
        "scopes": " ".join(sorted(client.scopes)),
        "audiences": " ".join(sorted(client.audiences)),
        "introspects": int(client.introspects),
        "created_at": world.now_us(),
    }


def _faults(client: Client) -> list[str]:
    faults = [fault for uri in client.redirect_uris if (fault := redirect_fault(uri))]
    if not 1 <= len(client.name) <= 100 or not client.name.isprintable():
        faults.append("its name must have 1 to 100 printable characters")
    if len(client.redirect_uris) > _MOST_URIS:
        faults.append(f"{len(client.redirect_uris)} redirect URIs, limit {_MOST_URIS}")
    if unknown := client.grant_types - set(GRANTS):
        faults.append(f"grant types {', '.join(sorted(unknown))} are not known")
    if CODE in client.grant_types and not client.redirect_uris:
        faults.append("authorization codes need a redirect URI to go to")
    if not client.confidential and client.grant_types & {OWN, EXCHANGE}:
        faults.append("a public client cannot prove who it is: no client credentials, no exchange")
    if any(not each or set(each) & set(' "\\') for each in (*client.scopes, *client.audiences)):
        faults.append("scopes and audiences have no blanks and no quotes")
    return faults


def redirect_fault(uri: str) -> str:
    """Return why answers cannot go to a URI; empty: they can."""
    if not 0 < len(uri) <= _LONGEST_URI or not uri.isascii() or not uri.isprintable() or set(uri) & set(' "<>\\^`{|}*'):
        return f"a redirect URI has 1 to {_LONGEST_URI} plain characters and no wildcard"
    try:
        place = urlsplit(uri)
        _ = place.port
    except ValueError:
        return f"redirect URI {uri} cannot be read"
    if "#" in uri or place.username is not None or place.password is not None:
        return f"redirect URI {uri} must have no fragment and no user in it"
    if place.scheme == "https" or (place.scheme == "http" and is_loopback(place.hostname)):
        return "" if place.hostname else f"redirect URI {uri} names no host"
    if place.scheme in _DANGEROUS or "." not in place.scheme:
        return (
            f"redirect URI {uri} must begin with https, with http on the client's own machine, or like com.example.app:"
        )
    return ""


def _same_but_port(registered: str, offered: str) -> bool:
    if redirect_fault(offered):
        return False
    one, other = urlsplit(registered), urlsplit(offered)
    if one.scheme != "http" or one.hostname not in {"127.0.0.1", "::1"}:
        return False
    return _without_port(one) == _without_port(other)


def _without_port(place: SplitResult) -> tuple[str, str | None, str, str]:
    return place.scheme, place.hostname, place.path, place.query
