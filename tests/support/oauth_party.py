"""An OAuth server with its people and clients, asked over ASGI without a network."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from archstone.data import Database
from archstone.resilience import SharedState
from archstone.security import AuditLog, KeyRing
from archstone.security.oauth import NewClient, OAuth, OAuthApp, OAuthSettings, Person

ISSUER = "https://shop.example/oauth"
ORIGIN = "https://shop.example"
BACK = "https://books.example/back"
SCOPES = {"orders:read": "See your orders", "orders:write": "Order in your name"}
VERIFIER = "correct-horse-battery-staple-and-some-more-letters"
EVERYTHING = ("openid", "profile", "email", *SCOPES)


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


@dataclass
class Village:
    """The people: whoever carries a cookie `session=<id>` is signed in as that person."""

    persons: dict[str, Person] = field(
        default_factory=lambda: {
            name: Person(
                id=name,
                name=name.title(),
                roles=frozenset({"customer", "admin"}),
                claims={"profile": {"name": name.title()}, "email": {"email": f"{name}@example.com"}},
                signed_in_us=1_000_000,
            )
            for name in ("ann", "bob", "eve")
        }
    )

    async def signed_in(self, scope: Mapping[str, Any]) -> Person | None:
        cookies = [value.decode() for name, value in scope["headers"] if name == b"cookie"]
        found = re.search(r"session=(\w+)", ";".join(cookies))
        return None if found is None else self.persons.get(found[1])

    async def find(self, person_id: str) -> Person | None:
        return self.persons.get(person_id)

    def sign_in(self, back: str) -> str:
        return f"/login?next={quote(back)}"


@dataclass
class Told:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def to(self) -> str:
        assert self.status == 303, (self.status, self.text)
        return self.headers["location"]

    @property
    def query(self) -> dict[str, str]:
        """What the redirect carries."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.to).query).items()}

    def field(self, name: str) -> str:
        """The value of a hidden field of the page."""
        found = re.search(f'name="{name}" value="([^"]*)"', self.text)
        assert found is not None, self.text
        return unescape(found[1])


@dataclass
class Party:
    """All of it together."""

    oauth: OAuth
    app: OAuthApp
    people: Village

    async def ask(
        self,
        method: str,
        path: str,
        said: Mapping[str, str] | list[tuple[str, str]] | bytes | None = None,
        *,
        who: str = "",
        headers: Mapping[str, str] | None = None,
        address: str = "198.51.100.7",
    ) -> Told:
        """Send one request; `path` is below the mount, `who` has the session."""
        own = {"host": "shop.example", **({"cookie": f"session={who}"} if who else {}), **(headers or {})}
        body = b""
        if said is not None:
            body = said if isinstance(said, bytes) else urlencode(said).encode()
            own.setdefault("content-type", "application/x-www-form-urlencoded")
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "scheme": "https", "path": f"/oauth{path}", "root_path": "/oauth",
            "query_string": query.encode(), "client": (address, 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in own.items()],
        }  # fmt: skip
        told = Told(0, {}, b"")

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
                told.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                told.body += message.get("body", b"")

        await self.app(scope, receive, send)
        return told

    async def client(self, **more: Any) -> NewClient:
        return await self.oauth.clients.register(
            more.pop("name", "Bookkeeper"), **{"redirect_uris": [BACK], "scopes": EVERYTHING, **more}
        )

    def request(self, client: NewClient, **changes: str | None) -> str:
        """Return the path that a client sends its person to."""
        said = {
            "response_type": "code", "client_id": client.client.id, "redirect_uri": BACK, "scope": "orders:read",
            "state": "xyz", "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256", **changes,
        }  # fmt: skip
        return "/authorize?" + urlencode({name: value for name, value in said.items() if value is not None})

    async def decision(
        self, client: NewClient, *, who: str = "ann", decision: str = "allow", **changes: str | None
    ) -> Told:
        """Let a person go through a request and decide; return where that leads."""
        begun = await self.ask("GET", self.request(client, **changes), who=who)
        if not begun.to.startswith("/oauth/consent"):
            return begun
        page = await self.ask("GET", begun.to.removeprefix("/oauth"), who=who)
        assert page.status == 200, page.text
        return await self.decide({"id": page.field("id"), "decision": decision}, who=who)

    async def decide(self, said: Mapping[str, str], *, who: str = "ann", path: str = "/consent") -> Told:
        return await self.ask("POST", path, said, who=who, headers={"origin": ORIGIN, "sec-fetch-site": "same-origin"})

    async def code(self, client: NewClient, **changes: Any) -> str:
        return (await self.decision(client, **changes)).query["code"]

    async def token(self, client: NewClient | None, **said: str) -> Told:
        """Ask for a token as a client, its secret in the body."""
        proof = {} if client is None else {"client_id": client.client.id}
        if client is not None and client.secret is not None:
            proof["client_secret"] = client.secret
        return await self.ask("POST", "/token", {**proof, **said})

    async def by_code(self, client: NewClient, code: str, **changes: str) -> Told:
        said = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
        return await self.token(client, **{**said, **changes})

    async def tokens(self, client: NewClient, **changes: Any) -> dict[str, Any]:
        """Return the tokens that a whole flow gives."""
        told = await self.by_code(client, await self.code(client, **changes))
        assert told.status == 200, told.text
        return told.json

    async def refreshed(self, client: NewClient, token: str, **more: str) -> Told:
        return await self.token(client, grant_type="refresh_token", refresh_token=token, **more)


@asynccontextmanager
async def party(
    db: Database,
    *,
    keys: KeyRing | None = None,
    audit: AuditLog | None = None,
    shared: SharedState | None = None,
    **settings: Any,
) -> AsyncIterator[Party]:
    """Run a server on a database for the block."""
    chosen = OAuthSettings(
        **{"issuer": ISSUER, "audience": "shop-api", "scopes": SCOPES, "roles": frozenset({"customer"}), **settings}
    )
    people = Village()
    ring = keys or KeyRing.generate("ES256")
    async with OAuth(db, chosen, keys=ring, people=people, audit=audit, shared=shared) as oauth:
        yield Party(oauth, OAuthApp(oauth), people)
