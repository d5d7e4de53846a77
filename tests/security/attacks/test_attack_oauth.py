"""Attacks on the OAuth server. Each also succeeds against a weak variant of it, planted for the test."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from oauth_party import BACK, ISSUER, ORIGIN, VERIFIER, Party, challenge_of, party

from archstone.data import Database, Transaction
from archstone.security import TokenError
from archstone.security.oauth import Client, OAuthSettings, consenting, grants, pages, token_endpoint
from archstone.security.oauth.clients import DEVICE, EXCHANGE, OWN
from archstone.security.oauth.grants import Redeemed
from archstone.security.oauth.http import Answer

pytestmark = pytest.mark.simulated(limit_s=None)

ACCESS = "urn:ietf:params:oauth:token-type:access_token"
Weaken = pytest.MonkeyPatch


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/oauth.db") as opened:
        yield opened


@pytest.fixture
async def world(db: Database) -> AsyncIterator[Party]:
    async with party(db) as made:
        yield made


def good(world: Party, token: str) -> bool:
    try:
        world.oauth.tokens.verify(token)
    except TokenError:
        return False
    return True


async def test_attack_a_code_used_twice(world: Party, monkeypatch: Weaken) -> None:
    client = await world.client()
    code = await world.code(client)
    first = (await world.by_code(client, code)).json
    assert (await world.by_code(client, code)).json["error"] == "invalid_grant"
    # What the first use gave, whoever that was, is gone too.
    assert not good(world, first["access_token"])
    assert (await world.refreshed(client, first["refresh_token"])).json["error"] == "invalid_grant"

    async def forgetful(self: Any, tx: Any, code: str, **_: Any) -> Redeemed:
        found = await tx.one(dict, "SELECT * FROM _archstone_oauth_codes WHERE hash = :hash", hash=grants.digest(code))
        return Redeemed("good", found["grant_id"])

    monkeypatch.setattr(grants.Grants, "redeem", forgetful)
    code = await world.code(client)
    assert [(await world.by_code(client, code)).status for _ in range(2)] == [200, 200]


async def test_attack_a_code_of_another_client(world: Party, monkeypatch: Weaken) -> None:
    victim, thief = await world.client(), await world.client(name="Thief")
    code = await world.code(victim)
    assert (await world.by_code(thief, code)).json["error"] == "invalid_grant"
    assert (await world.by_code(victim, code)).json["error"] == "invalid_grant"  # it has leaked: nobody uses it

    real = grants.Grants.redeem

    async def for_anybody(self: Any, tx: Any, code: str, **said: Any) -> Redeemed:
        return await real(self, tx, code, **{**said, "client_id": victim.client.id})

    async def anybodys(self: Any, client: Client, grant_id: str) -> Any:
        found = await world.oauth.grants.find(world.oauth.db, grant_id)
        return found, world.people.persons["ann"]

    monkeypatch.setattr(grants.Grants, "redeem", for_anybody)
    monkeypatch.setattr(token_endpoint.TokenEndpoint, "_standing", anybodys)
    assert (await world.by_code(thief, await world.code(victim))).status == 200


async def test_attack_a_stolen_code_without_the_verifier(world: Party, monkeypatch: Weaken) -> None:
    client = await world.client(confidential=False)
    for verifier in ("", "x" * 43, challenge_of(VERIFIER)):
        told = await world.by_code(client, await world.code(client), code_verifier=verifier)
        assert told.json["error"] == "invalid_grant"
    monkeypatch.setattr(grants, "pkce_holds", lambda challenge, verifier: not verifier or challenge == verifier)
    assert (await world.by_code(client, await world.code(client), code_verifier="")).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
        {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": None},
        {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": "s256"},
    ],
)
async def test_attack_pkce_taken_out_of_the_request(
    world: Party, monkeypatch: Weaken, changes: dict[str, str | None]
) -> None:
    told = await world.decision(await world.client(), **changes)
    assert told.query["error"] == "invalid_request"
    assert "code" not in told.query

    real = consenting.asked_of

    def lenient(client: Client, said: dict[str, str], uri: str, settings: OAuthSettings) -> Any:
        fixed = {**said, "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256"}
        return real(client, fixed, uri, settings)

    monkeypatch.setattr(consenting, "asked_of", lenient)
    assert "code" in (await world.decision(await world.client(), **changes)).query


@pytest.mark.parametrize(
    "uri",
    [
        BACK + "/../evil", BACK + "2", BACK + "?next=https://evil.example", BACK + "/", "https://books.example",
        "https://books.example@evil.example/back", "https://books.example.evil.example/back", "HTTPS://BOOKS.EXAMPLE/back",
        "http://books.example/back", "https://evil.example/back", "https://books.example/back#x", "//evil.example",
    ],
)  # fmt: skip
async def test_attack_an_answer_sent_elsewhere(world: Party, monkeypatch: Weaken, uri: str) -> None:
    client = await world.client()
    told = await world.ask("GET", world.request(client, redirect_uri=uri), who="ann")
    assert told.status == 400
    assert "location" not in told.headers
    # Nor is an error sent there: that would be an open redirect.
    told = await world.ask("GET", world.request(client, redirect_uri=uri, response_type="nonsense"), who="ann")
    assert "location" not in told.headers
    monkeypatch.setattr(Client, "fits", lambda self, uri: True)
    assert "location" in (await world.ask("GET", world.request(client, redirect_uri=uri), who="ann")).headers


async def test_attack_another_redirect_uri_at_the_token_endpoint(world: Party, monkeypatch: Weaken) -> None:
    other = "https://books.example/other"
    client = await world.client(redirect_uris=[BACK, other])
    told = await world.by_code(client, await world.code(client), redirect_uri=other)
    assert told.json["error"] == "invalid_grant"
    real = grants.Grants.redeem

    async def careless(self: Any, tx: Any, code: str, **said: Any) -> Redeemed:
        return await real(self, tx, code, **{**said, "redirect_uri": None})

    monkeypatch.setattr(grants.Grants, "redeem", careless)
    assert (await world.by_code(client, await world.code(client), redirect_uri=other)).status == 200


async def test_attack_a_mix_up_of_two_servers(world: Party, monkeypatch: Weaken) -> None:
    """An honest server's code goes to the attacker's token endpoint, unless the client compares `iss` (RFC 9207)."""
    told = await world.decision(await world.client())
    asked_of = "https://evil.example"  # the server that the client believes to have asked

    def client(query: dict[str, str]) -> str:
        """A client as RFC 9207 has it: it compares where it is told."""
        if query.get("iss", asked_of) != asked_of:
            raise LookupError("another server answers")
        return query.get("code", "")

    with pytest.raises(LookupError):
        client(told.query)
    denied = await world.decision(await world.client(), decision="deny")
    with pytest.raises(LookupError):
        client(denied.query)
    assert (told.query["iss"], denied.query["iss"]) == (ISSUER, ISSUER)
    real = consenting.with_query
    monkeypatch.setattr(consenting, "with_query", lambda uri, **more: real(uri, **{**more, "iss": None}))
    assert client((await world.decision(await world.client())).query) != ""  # the weak server does not say who it is


async def test_attack_a_request_without_state(db: Database) -> None:
    async with party(db) as world:
        told = await world.decision(await world.client(), state=None)
        assert told.query["error"] == "invalid_request"
    async with party(db, require_state=False) as weak:
        assert "code" in (await weak.decision(await weak.client(), state=None)).query


async def test_attack_a_code_injected_into_another_session(world: Party, monkeypatch: Weaken) -> None:
    """Eve puts her code into Ann's client: Ann's verifier does not fit, and Ann's nonce is not in it."""
    client = await world.client()
    eves = await world.code(client, who="eve", scope="openid", nonce="eves", code_challenge=challenge_of("e" * 50))
    assert (await world.by_code(client, eves, code_verifier="a" * 50)).json["error"] == "invalid_grant"
    # Without PKCE it passes: then only the nonce tells.
    monkeypatch.setattr(grants, "pkce_holds", lambda challenge, verifier: True)
    again = await world.code(client, who="eve", scope="openid", nonce="eves", code_challenge=challenge_of("e" * 50))
    answer = (await world.by_code(client, again, code_verifier="a" * 50)).json
    import json

    from archstone.security.jws import unpacked

    said = json.loads(unpacked(answer["id_token"].split(".")[1].encode()))
    assert said["nonce"] == "eves"  # and Ann's client compares it with her own


async def test_attack_more_scopes_at_the_refresh(world: Party, monkeypatch: Weaken) -> None:
    client = await world.client()
    token = (await world.tokens(client, scope="orders:read"))["refresh_token"]
    told = await world.refreshed(client, token, scope="orders:read orders:write")
    assert told.json["error"] == "invalid_scope"
    monkeypatch.setattr(token_endpoint, "_narrowed", lambda scope, may: tuple((scope or " ".join(may)).split()))
    told = await world.refreshed(client, token, scope="orders:read orders:write")
    assert "orders:write" in told.json["scope"]


async def test_attack_a_scope_that_the_client_may_not_ask_for(world: Party, monkeypatch: Weaken) -> None:
    client = await world.client(scopes=["orders:read"])
    told = await world.decision(client, scope="orders:read orders:write")
    assert told.query["error"] == "invalid_scope"
    monkeypatch.setattr(consenting, "asked_of", _anything(consenting.asked_of))
    assert "code" in (await world.decision(client, scope="orders:read orders:write")).query


def _anything(real: Any) -> Any:
    import dataclasses

    def weak(client: Client, said: dict[str, str], uri: str, settings: OAuthSettings) -> Any:
        asked = real(client, {**said, "scope": "orders:read"}, uri, settings)
        return dataclasses.replace(asked, scopes=tuple(said["scope"].split()))

    return weak


async def test_attack_an_exchange_for_more(world: Party, monkeypatch: Weaken) -> None:
    app = await world.client()
    service = await world.client(name="Service", grant_types=[EXCHANGE], redirect_uris=[])
    token = (await world.tokens(app, scope="orders:read"))["access_token"]
    said = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS}
    assert (await world.token(service, **said, scope="orders:write")).json["error"] == "invalid_scope"
    assert (await world.token(service, **said, audience="bank-api")).json["error"] == "invalid_target"
    assert (await world.token(service, **said, resource="https://bank.example")).json["error"] == "invalid_target"
    assert (await world.token(app, **said)).json["error"] == "unauthorized_client"
    monkeypatch.setattr(token_endpoint, "_narrowed", lambda scope, may: tuple((scope or "").split()))
    assert (await world.token(service, **said, scope="orders:write")).json["scope"] == "orders:write"


async def test_attack_a_chain_of_exchanges_hides_who_acts(world: Party, monkeypatch: Weaken) -> None:
    app = await world.client()
    one = await world.client(name="One", grant_types=[EXCHANGE], redirect_uris=[])
    two = await world.client(name="Two", grant_types=[EXCHANGE], redirect_uris=[])
    said = {"grant_type": EXCHANGE, "subject_token_type": ACCESS}
    token = (await world.tokens(app))["access_token"]
    first = (await world.token(one, **said, subject_token=token)).json["access_token"]
    assert (await world.token(two, **said, subject_token=first)).json["error"] == "invalid_request"
    monkeypatch.setattr(
        token_endpoint.TokenEndpoint, "_subject", lambda self, said: world.oauth.tokens.verify(said["subject_token"])
    )
    again = (await world.token(two, **said, subject_token=first)).json["access_token"]
    assert world.oauth.tokens.verify(again).actor == two.client.id  # of One nothing is left


async def test_attack_guessing_the_letters_of_a_device(db: Database) -> None:
    from archstone.resilience import RateLimit

    async def tries(world: Party) -> int:
        answered = 0
        for number in range(40):
            told = await world.decide({"user_code": f"BCDF-{'BCDFGHJKLM'[number % 10] * 4}"}, who="eve", path="/device")
            answered += told.status != 429
        return answered

    async with party(db) as world:
        assert await tries(world) == 10
    async with party(db, guessing=RateLimit(1e6, burst=1_000)) as weak:
        assert await tries(weak) == 40


async def test_attack_a_device_code_shown_by_another_client(world: Party, monkeypatch: Weaken) -> None:
    tv = await world.client(grant_types=[DEVICE], redirect_uris=[], confidential=False)
    thief = await world.client(name="Thief", grant_types=[DEVICE], redirect_uris=[], confidential=False)
    begun = (await world.ask("POST", "/device_authorization", {"client_id": tv.client.id})).json
    await world.decide({"user_code": begun["user_code"], "decision": "allow"}, path="/device")
    poll = {"grant_type": DEVICE, "device_code": begun["device_code"]}
    assert (await world.token(thief, **poll)).json["error"] == "invalid_grant"
    real = world.oauth.devices.poll

    async def weak(tx: Any, device_code: str, *, client_id: str) -> Any:
        return await real(tx, device_code, client_id=tv.client.id)

    monkeypatch.setattr(world.oauth.devices, "poll", weak)
    found = await world.oauth.db.run(lambda tx: weak(tx, begun["device_code"], client_id=thief.client.id))
    assert found.outcome == "allowed"


async def test_attack_timing_of_a_clients_secret(world: Party, monkeypatch: Weaken) -> None:
    """Known or not, right or nearly: the same comparisons are made, over hashes, in constant time."""
    import archstone.security.oauth.clients as module

    client = await world.client()
    compared: list[int] = []
    real = hmac.compare_digest

    class Counting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append(len(one))
            return real(one, other)

    monkeypatch.setattr(module, "hmac", Counting)
    seen: list[list[int]] = []
    secret = client.secret or ""
    for who, offered in (
        (client.client.id, secret),
        (client.client.id, secret[:-1]),
        ("nobody", secret),
        ("nobody", ""),
    ):
        compared.clear()
        await world.oauth.clients.proven(who, offered)
        seen.append(list(compared))
    assert seen == [[32, 32]] * 4

    async def weak(client_id: str, offered: str) -> Client | None:
        found = await world.oauth.clients.find(client_id)  # returns early, and compares texts
        return found if found is not None and offered == secret else None

    compared.clear()
    await weak("nobody", secret)
    assert compared == []


async def test_attack_a_refresh_token_used_twice(world: Party, monkeypatch: Weaken) -> None:
    client = await world.client()
    first = await world.tokens(client)
    second = (await world.refreshed(client, first["refresh_token"])).json
    assert (await world.refreshed(client, first["refresh_token"])).json["error"] == "invalid_grant"
    await asyncio.sleep(1)
    assert (await world.refreshed(client, second["refresh_token"])).json["error"] == "invalid_grant"
    assert not good(world, second["access_token"])

    async def nothing(grant: str, **more: str) -> None:
        return None

    other = await world.tokens(client)
    third = (await world.refreshed(client, other["refresh_token"])).json
    monkeypatch.setattr(world.oauth, "end_grant", nothing)
    await world.refreshed(client, other["refresh_token"])
    assert good(world, third["access_token"])  # the weak one lets the thief go on until it expires


async def test_attack_a_refresh_token_of_another_client(world: Party, monkeypatch: Weaken) -> None:
    client, thief = await world.client(), await world.client(name="Thief")
    token = (await world.tokens(client))["refresh_token"]
    assert (await world.refreshed(thief, token)).json["error"] == "invalid_grant"
    assert (await world.refreshed(client, token)).status == 200  # and it is not used up by the attempt
    token = (await world.tokens(client))["refresh_token"]

    async def anybodys(self: Any, client: Client, grant_id: str) -> Any:
        return await world.oauth.grants.find(world.oauth.db, grant_id), world.people.persons["ann"]

    monkeypatch.setattr(token_endpoint.TokenEndpoint, "_standing", anybodys)
    assert (await world.refreshed(thief, token)).status == 200


async def test_attack_a_consent_sent_by_another_site(world: Party, monkeypatch: Weaken) -> None:
    client = await world.client()
    begun = await world.ask("GET", world.request(client), who="ann")
    page = await world.ask("GET", begun.to.removeprefix("/oauth"), who="ann")
    said = {"id": page.field("id"), "decision": "allow"}
    for headers in (
        {}, {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"}, {"origin": ORIGIN + ".evil.example"},
    ):  # fmt: skip
        told = await world.ask("POST", "/consent", said, who="ann", headers=headers)
        assert told.status == 400
    monkeypatch.setattr(consenting, "check_own_form", lambda request, issuer: None)
    assert "code" in (await world.ask("POST", "/consent", said, who="ann")).query


async def test_attack_a_decision_about_another_persons_request(world: Party, monkeypatch: Weaken) -> None:
    """Eve opens a request, and lets Ann's browser decide it: it is Eve's, once she has seen it."""
    client = await world.client()
    begun = await world.ask("GET", world.request(client), who="eve")
    page = await world.ask("GET", begun.to.removeprefix("/oauth"), who="eve")
    said = {"id": page.field("id"), "decision": "allow"}
    assert (await world.decide(said, who="ann")).status == 400
    assert (await world.ask("GET", begun.to.removeprefix("/oauth"), who="ann")).status == 400
    real = world.oauth.requests.take

    async def weak(tx: Any, name: str, person: str) -> Any:
        return await real(tx, name, "eve")

    monkeypatch.setattr(world.oauth.requests, "take", weak)
    assert "code" in (await world.decide(said, who="ann")).query


async def test_attack_a_confidential_client_without_its_secret(world: Party, monkeypatch: Weaken) -> None:
    client = await world.client(grant_types=[OWN], redirect_uris=[])
    for secret in ({}, {"client_secret": "x"}, {"client_secret": (client.secret or "")[:-1]}):
        said = {"grant_type": "client_credentials", "client_id": client.client.id, **secret}
        assert (await world.ask("POST", "/token", said)).json["error"] == "invalid_client"

    async def weak(self: Any, request: Any, said: Any) -> Any:
        return await world.oauth.clients.find(said["client_id"])

    monkeypatch.setattr(token_endpoint.TokenEndpoint, "client_of", weak)
    said = {"grant_type": "client_credentials", "client_id": client.client.id}
    assert (await world.ask("POST", "/token", said)).status == 200


async def test_attack_an_id_token_as_an_access_token(world: Party) -> None:
    client = await world.client()
    answer = await world.tokens(client, scope="openid", nonce="n")
    assert not good(world, answer["id_token"])
    told = await world.ask("GET", "/userinfo", headers={"authorization": f"Bearer {answer['id_token']}"})
    assert told.status == 401
    from archstone.security.jws import Opener

    # Weak: a signature is all it checks.
    _, said = Opener(world.oauth.tokens.ring.by_id()).open(answer["id_token"].encode())
    assert said["sub"] == "ann"


async def test_attack_a_code_after_its_minute(world: Party, db: Database) -> None:
    client = await world.client()
    code = await world.code(client)
    await asyncio.sleep(60)
    assert (await world.by_code(client, code)).json["error"] == "invalid_grant"
    code = await world.code(client)
    await asyncio.sleep(59.9)
    assert (await world.by_code(client, code)).status == 200
    async with party(db, code_s=600.0) as weak:
        code = await weak.code(client)
        await asyncio.sleep(60)
        assert (await weak.by_code(client, code)).status == 200


async def test_attack_a_frame_around_the_consent(world: Party, monkeypatch: Weaken) -> None:
    begun = await world.ask("GET", world.request(await world.client()), who="ann")
    path = begun.to.removeprefix("/oauth")

    def framed(headers: dict[str, str]) -> bool:
        """Whether a browser would show the page inside another one."""
        return (
            "frame-ancestors 'none'" not in headers.get("content-security-policy", "")
            and "x-frame-options" not in headers
        )

    assert not framed((await world.ask("GET", path, who="ann")).headers)
    real = consenting.consent_page

    def bare(*about: Any, **more: Any) -> Answer:
        page = real(*about, **more)
        return Answer(page.status, page.body, tuple(pair for pair in page.headers if pair[0] == b"content-type"))

    monkeypatch.setattr(consenting, "consent_page", bare)
    weak = await world.ask("GET", path, who="ann")
    assert (weak.status, framed(weak.headers)) == (200, True)


async def test_attack_a_script_in_a_name(world: Party, monkeypatch: Weaken) -> None:
    nasty = "\"><script>alert(1)</script>'"
    begun = await world.ask("GET", world.request(await world.client(name=nasty)), who="ann")
    path = begun.to.removeprefix("/oauth")
    page = await world.ask("GET", path, who="ann")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    monkeypatch.setattr(pages, "escape", str)
    assert "<script>alert(1)" in (await world.ask("GET", path, who="ann")).text


async def test_attack_the_query_of_a_redirect_uri_is_kept_and_not_overwritten(
    world: Party, monkeypatch: Weaken
) -> None:
    uri = BACK + "?tenant=7"
    client = await world.client(redirect_uris=[uri])

    async def answered() -> dict[str, list[str]]:
        told = await world.decision(client, redirect_uri=uri, state="&code=evil&iss=evil")
        return parse_qs(urlsplit(told.to).query)

    found = await answered()
    assert found["tenant"] == ["7"]
    assert [len(found[name]) for name in ("code", "state", "iss")] == [1, 1, 1]

    def unquoted(uri: str, **more: str | None) -> str:
        return uri + "".join(f"&{name}={value}" for name, value in more.items())

    monkeypatch.setattr(consenting, "with_query", unquoted)
    assert [len((await answered())[name]) for name in ("code", "iss")] == [2, 2]


async def test_attack_a_consent_hidden_behind_two_hundred(world: Party) -> None:
    """Whoever has the session allows more than a list of consents shows, so that ending them all leaves one."""
    client, oauth = await world.client(), world.oauth

    async def many(tx: Transaction) -> None:
        for _ in range(200):
            await oauth.allow(tx, client_id=client.client.id, person="ann", scopes=["orders:read"], signed_in_us=None)

    async def one_look(person: str) -> None:
        """Weak: ends what one look finds."""
        for grant in await oauth.grants.of_person(person):
            await oauth.end_grant(grant.id, why="person")

    for ending, status in ((one_look, 200), (oauth.end_person, 400)):
        hidden = await world.tokens(client)
        await asyncio.sleep(1)
        await oauth.db.run(many)
        await ending("ann")
        assert (await world.refreshed(client, hidden["refresh_token"])).status == status
