"""What a client asks of a person: checked, kept while the person signs in and decides, and used once.

A request is kept on our side under a name of 256 bits, and the browser carries the name only: nothing of it can be
changed between the client, the sign-in and the decision. A request that was pushed (RFC 9126) is kept the same way.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple, Self

from archstone import world
from archstone.data import Database, Transaction
from archstone.security.oauth.clients import CODE, Client
from archstone.security.oauth.errors import OAuthError
from archstone.security.oauth.settings import OAuthSettings
from archstone.security.oauth.tables import MICROS, chance, digest

__all__ = ["Asked", "AskedRequests", "asked_of", "wanted_scopes"]

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST: Final = 500
_SWEEP_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that has been checked."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    """BASE64URL(SHA-256(verifier)): 43 characters."""
    state: str | None
    nonce: str | None
    prompt: str | None = None

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Return what `text` was written from."""
        said: dict[str, Any] = json.loads(text)
        said["scopes"] = tuple(said["scopes"])
        return cls(**said)

    @property
    def text(self) -> str:
        """The request as JSON."""
        return json.dumps(asdict(self))


def asked_of(client: Client, said: dict[str, str], redirect_uri: str, settings: OAuthSettings) -> Asked:
    """Return the request that parameters make; where the answer goes has been checked before.

    Raises:
        OAuthError: Something is wrong with it, which the client is told by redirect.
    """
    _check_kind(client, said)
    challenge = said.get("code_challenge", "")
    if said.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "PKCE is required: code_challenge with code_challenge_method=S256")
    state, nonce = said.get("state"), said.get("nonce")
    if settings.require_state and state is None:
        raise OAuthError("invalid_request", "state is required: it ties the answer to your user's session")
    if any(value is not None and len(value) > _LONGEST for value in (state, nonce)):
        raise OAuthError("invalid_request", f"state and nonce have at most {_LONGEST} characters")
    if said.get("prompt") not in {None, "none", "consent"} or "max_age" in said:
        raise OAuthError("invalid_request", "prompt may be none or consent; max_age cannot be promised")
    return Asked(
        client_id=client.id,
        redirect_uri=redirect_uri,
        scopes=wanted_scopes(client, said.get("scope"), settings),
        challenge=challenge,
        state=state,
        nonce=nonce,
        prompt=said.get("prompt"),
    )


def _check_kind(client: Client, said: dict[str, str]) -> None:
    if said.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if "request" in said:
        raise OAuthError("request_not_supported", "request objects are not supported: push the request instead")
    if said.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode must be query")
    if CODE not in client.grant_types:
        raise OAuthError("unauthorized_client", "this client may not ask for authorization codes")


def wanted_scopes(client: Client, scope: str | None, settings: OAuthSettings) -> tuple[str, ...]:
    """Return the scopes that are asked for, each once; without any, all that the client may ask for.

    Raises:
        OAuthError: One is not known, or not for this client.
    """
    wanted = tuple(dict.fromkeys((scope or " ".join(sorted(client.scopes))).split()))
    if not wanted or any(each not in settings.words or each not in client.scopes for each in wanted):
        raise OAuthError("invalid_scope", "a scope is not known, or not for this client")
    return wanted


class Held(NamedTuple):
    """A request that waits."""

    asked: str
    person: str | None


class AskedRequests:
    """The requests that wait, in a database."""

    def __init__(self, db: Database, settings: OAuthSettings) -> None:
        self._db = db
        self._settings = settings

    async def hold(self, asked: Asked) -> str:
        """Keep a request and return its name.

        Raises:
            OAuthError: Too many wait.
        """
        name = chance()

        async def work(tx: Transaction) -> None:
            await forget_expired(tx)
            if await tx.one(int, "SELECT count(*) FROM _archstone_oauth_requests") >= self._settings.most_pending:
                raise OAuthError("temporarily_unavailable", "too many requests wait for their people: try again later")
            await tx.execute(
                "INSERT INTO _archstone_oauth_requests (hash, client_id, asked, expires_at)"
                " VALUES (:hash, :client_id, :asked, :expires)",
                hash=digest(name),
                client_id=asked.client_id,
                asked=asked.text,
                expires=world.now_us() + round(self._settings.asking_s * MICROS),
            )

        await self._db.run(work)
        return name

    async def shown_to(self, name: str, person: str) -> Asked | None:
        """Return a request that waits and, from now on, is this person's. None: there is none, or it is another's."""

        async def work(tx: Transaction) -> Held | None:
            await tx.execute(
                "UPDATE _archstone_oauth_requests SET person = :person WHERE hash = :hash AND person IS NULL",
                person=person,
                hash=digest(name),
            )
            return await tx.first(Held, _HELD, hash=digest(name), now=world.now_us())

        held = await self._db.run(work)
        return Asked.parsed(held.asked) if held is not None and held.person == person else None

    async def waiting(self, name: str) -> Asked | None:
        """Return a request that waits, whoever asks. None: there is none."""
        held = await self._db.first(Held, _HELD, hash=digest(name), now=world.now_us())
        return None if held is None else Asked.parsed(held.asked)

    async def take(self, tx: Transaction, name: str, person: str) -> Asked | None:
        """Return a request that this person decides about, once. None: there is none, or it is another's."""
        held = await tx.first(Held, _HELD, hash=digest(name), now=world.now_us())
        if held is None or held.person != person:
            return None
        gone = await tx.execute("DELETE FROM _archstone_oauth_requests WHERE hash = :hash", hash=digest(name))
        return Asked.parsed(held.asked) if gone else None


_HELD: Final = "SELECT asked, person FROM _archstone_oauth_requests WHERE hash = :hash AND expires_at > :now"


async def forget_expired(tx: Transaction) -> int:
    """Delete requests for which nobody came in time; return how many."""
    return await tx.execute(
        "DELETE FROM _archstone_oauth_requests WHERE hash IN"
        " (SELECT hash FROM _archstone_oauth_requests WHERE expires_at <= :now LIMIT :limit)",
        now=world.now_us(),
        limit=_SWEEP_ROWS,
    )
