"""The OAuth server: every flow as its RFC has it, what it answers to what is wrong, and its bounds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet
from oauth_party import BACK, ISSUER, ORIGIN, VERIFIER, Party, challenge_of, party

from archstone.data import Database
from archstone.errors import ConfigError
from archstone.security import KeyRing, TokenError
from archstone.security.oauth import OAuthSettings, TooManyClientsError
from archstone.security.oauth.clients import DEVICE, EXCHANGE, OWN, redirect_fault
from archstone.security.oauth.devices import plain_code
from archstone.security.oauth.grants import pkce_holds

pytestmark = pytest.mark.simulated(limit_s=None)

ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/oauth.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    async with Database(url) as opened:
        yield opened


@pytest.fixture
async def world(db: Database) -> AsyncIterator[Party]:
    async with party(db) as made:
        yield made


async def test_a_code_gives_an_access_token_for_what_was_allowed(world: Party) -> None:
    client = await world.client()
    answer = await world.tokens(client, scope="orders:read")
    claims = world.oauth.tokens.verify(answer["access_token"])
    assert (claims.principal.id, claims.principal.scopes) == ("ann", frozenset({"orders:read"}))
    assert claims.client_id == client.client.id
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 900
    assert answer["scope"] == "orders:read"
    assert "id_token" not in answer


async def test_a_token_carries_no_role_that_the_settings_do_not_name(world: Party) -> None:
    answer = await world.tokens(await world.client())
    assert world.oauth.tokens.verify(answer["access_token"]).principal.roles == frozenset({"customer"})


async def test_the_answer_carries_state_and_issuer(world: Party) -> None:
    told = await world.decision(await world.client(), state="a b&c")
    assert told.to.startswith(BACK + "?")
    assert told.query["state"] == "a b&c"
    assert told.query["iss"] == ISSUER


async def test_an_id_token_tells_the_client_who_it_is_and_can_be_verified_by_the_jwks(world: Party) -> None:
    client = await world.client()
    answer = await world.tokens(client, scope="openid email", nonce="n-1")
    keys = KeySet.import_key_set((await world.ask("GET", "/jwks.json")).json)
    token = jwt.decode(answer["id_token"], keys, algorithms=["ES256"])
    assert token.header["typ"] == "JWT"
    assert token.claims["iss"] == ISSUER
    assert token.claims["aud"] == client.client.id
    assert token.claims["sub"] == "ann"
    assert token.claims["nonce"] == "n-1"
    assert token.claims["auth_time"] == 1
    assert token.claims["exp"] - token.claims["iat"] == 600
    assert token.claims["at_hash"] == challenge_of(answer["access_token"])[:0] + half_hash(answer["access_token"])
    told = await world.ask("GET", "/userinfo", headers={"authorization": f"Bearer {answer['access_token']}"})
    assert told.json == {"sub": "ann", "email": "ann@example.com"}


def half_hash(token: str) -> str:
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:16]).decode().rstrip("=")


async def test_userinfo_asks_for_the_scope_and_a_token(world: Party) -> None:
    answer = await world.tokens(await world.client(), scope="orders:read")
    told = await world.ask("GET", "/userinfo", headers={"authorization": f"Bearer {answer['access_token']}"})
    assert (told.status, told.json["error"]) == (403, "insufficient_scope")
    assert 'error="insufficient_scope"' in told.headers["www-authenticate"]
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic YTpi"}):
        told = await world.ask("GET", "/userinfo", headers=headers)
        assert (told.status, told.json["error"]) == (401, "invalid_token")


async def test_a_person_who_says_no_sends_the_client_an_error(world: Party) -> None:
    told = await world.decision(await world.client(), decision="deny")
    assert (told.query["error"], told.query["state"], told.query["iss"]) == ("access_denied", "xyz", ISSUER)
    assert "code" not in told.query


@pytest.mark.parametrize(
    ("issuer", "origin", "taken"),
    [
        # This machine has several names: a person may have typed another one than the settings have.
        ("http://localhost:8080/oauth", "http://localhost:8080", True),
        ("http://localhost:8080/oauth", "http://127.0.0.1:8080", True),
        ("http://localhost:8080/oauth", "http://[::1]:8080", True),
        ("http://127.0.0.1:8080/oauth", "http://localhost:8080", True),
        ("http://[::1]:8080/oauth", "http://localhost:8080", True),
        ("http://[::1]:8080/oauth", "http://[::1]:8080", True),
        ("http://localhost/oauth", "http://127.0.0.1", True),
        # Another port or scheme of this machine is another place: somebody else's program may be there.
        ("http://localhost:8080/oauth", "http://localhost:8081", False),
        ("http://localhost:8080/oauth", "http://127.0.0.1:8081", False),
        ("http://localhost:8080/oauth", "http://127.0.0.1", False),
        ("http://localhost/oauth", "http://127.0.0.1:80", False),
        ("http://localhost:8080/oauth", "https://127.0.0.1:8080", False),
        # What only looks like it is not this machine.
        ("http://localhost:8080/oauth", "http://127.0.0.1.evil.example:8080", False),
        ("http://localhost:8080/oauth", "http://localhost.evil.example:8080", False),
        ("http://localhost:8080/oauth", "http://127.0.0.2:8080", False),
        ("http://localhost:8080/oauth", "http://0.0.0.0:8080", False),
        ("http://localhost:8080/oauth", "null", False),
        ("http://localhost:8080/oauth", "http://localhost:8080/", False),
        # A place that is not this machine has one name, and this machine is none of its.
        ("https://shop.example/oauth", "https://shop.example", True),
        ("https://shop.example/oauth", "https://localhost", False),
        ("https://shop.example/oauth", "https://127.0.0.1", False),
        ("https://shop.example/oauth", "http://shop.example", False),
    ],
)
async def test_a_decision_comes_from_a_page_of_ours_under_any_name_of_this_machine(
    db: Database, issuer: str, origin: str, taken: bool
) -> None:
    async with party(db, issuer=issuer) as world:
        begun = await world.ask("GET", world.request(await world.client()), who="ann")
        page = await world.ask("GET", begun.to.removeprefix("/oauth"), who="ann")
        said = {"id": page.field("id"), "decision": "allow"}
        told = await world.ask("POST", "/consent", said, who="ann", headers={"origin": origin})
        assert told.status == (303 if taken else 400)
        assert ("code=" in told.headers.get("location", "")) == taken


async def test_who_is_not_signed_in_signs_in_first_and_comes_back(world: Party) -> None:
    begun = await world.ask("GET", world.request(await world.client()))
    told = await world.ask("GET", begun.to.removeprefix("/oauth"))
    assert told.to.startswith("/login?next=/oauth/consent")
    page = await world.ask("GET", begun.to.removeprefix("/oauth"), who="ann")
    assert "Bookkeeper" in page.text
    assert "See your orders" in page.text
    assert "books.example" in page.text


async def test_the_consent_page_holds_no_script_and_leads_to_the_client_only(world: Party) -> None:
    client = await world.client(name='<b>"Evil" & Co</b>')
    begun = await world.ask("GET", world.request(client), who="ann")
    page = await world.ask("GET", begun.to.removeprefix("/oauth"), who="ann")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self' https://books.example;")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in page.text
    assert "<b>" not in page.text
    assert page.headers["cache-control"] == "private, no-store"


async def test_a_refresh_token_rotates_and_may_ask_for_less(world: Party) -> None:
    client = await world.client()
    first = await world.tokens(client, scope="orders:read orders:write")
    second = (await world.refreshed(client, first["refresh_token"], scope="orders:read")).json
    assert second["scope"] == "orders:read"
    third = (await world.refreshed(client, second["refresh_token"])).json
    assert third["scope"].split() == ["orders:read", "orders:write"]
    assert len({each["refresh_token"] for each in (first, second, third)}) == 3


async def test_a_client_without_the_grant_gets_no_refresh_token(world: Party) -> None:
    client = await world.client(grant_types=["authorization_code"])
    assert "refresh_token" not in await world.tokens(client)


async def test_a_consent_ends_after_its_time_however_often_it_was_refreshed(db: Database) -> None:
    async with party(db, refresh_s=3_600, grant_s=9_000) as world:
        client = await world.client()
        token = (await world.tokens(client))["refresh_token"]
        statuses: list[int] = []
        for _ in range(5):
            await asyncio.sleep(1_799)
            told = await world.refreshed(client, token)
            statuses.append(told.status)
            token = told.json.get("refresh_token", token)
        assert statuses == [200, 200, 200, 200, 200]
        await asyncio.sleep(5)
        assert (await world.refreshed(client, token)).json["error"] == "invalid_grant"


async def test_somebody_who_is_gone_is_not_acted_for_any_more(world: Party) -> None:
    client = await world.client()
    answer = await world.tokens(client)
    del world.people.persons["ann"]
    assert (await world.refreshed(client, answer["refresh_token"])).json["error"] == "invalid_grant"
    with pytest.raises(TokenError, match="revoked"):
        world.oauth.tokens.verify(answer["access_token"])


async def test_a_client_gets_a_token_for_itself(world: Party) -> None:
    client = await world.client(grant_types=[OWN], redirect_uris=[])
    told = await world.token(client, grant_type="client_credentials", scope="orders:read")
    claims = world.oauth.tokens.verify(told.json["access_token"])
    assert claims.principal.id == f"client:{client.client.id}"
    assert claims.principal.roles == frozenset()
    assert "refresh_token" not in told.json
    told = await world.token(client, grant_type="client_credentials", scope="openid")
    assert told.json["error"] == "invalid_scope"


async def test_a_secret_in_the_header_is_as_good_as_in_the_body(world: Party) -> None:
    import base64

    client = await world.client(grant_types=[OWN], redirect_uris=[])
    pair = base64.b64encode(f"{client.client.id}:{client.secret}".encode()).decode()
    headers = {"authorization": f"Basic {pair}"}
    told = await world.ask("POST", "/token", {"grant_type": "client_credentials"}, headers=headers)
    assert told.status == 200
    wrong = {"authorization": f"Basic {base64.b64encode(b'x:y').decode()}"}
    told = await world.ask("POST", "/token", {"grant_type": "client_credentials"}, headers=wrong)
    assert (told.status, told.json["error"]) == (401, "invalid_client")
    assert told.headers["www-authenticate"].startswith("Basic")
    both = {"grant_type": "client_credentials", "client_secret": client.secret or ""}
    assert (await world.ask("POST", "/token", both, headers=headers)).json["error"] == "invalid_request"


async def test_a_device_is_connected_by_its_letters(world: Party) -> None:
    client = await world.client(grant_types=[DEVICE, "refresh_token"], redirect_uris=[], confidential=False)
    begun = (await world.ask("POST", "/device_authorization", {"client_id": client.client.id, "scope": "openid"})).json
    assert begun["verification_uri"] == f"{ISSUER}/device"
    assert begun["interval"] == 5
    poll = {"grant_type": DEVICE, "device_code": begun["device_code"]}
    assert (await world.token(client, **poll)).json["error"] == "authorization_pending"
    page = await world.decide({"user_code": begun["user_code"].lower()}, path="/device")
    assert begun["user_code"] in page.text
    done = await world.decide({"user_code": page.field("user_code"), "decision": "allow"}, path="/device")
    assert "It is connected" in done.text
    await asyncio.sleep(5)
    answer = (await world.token(client, **poll)).json
    assert world.oauth.tokens.verify(answer["access_token"]).principal.id == "ann"
    assert {"id_token", "refresh_token"} <= answer.keys()
    assert (await world.token(client, **poll)).json["error"] == "invalid_grant"


async def test_a_device_that_asks_too_fast_waits_longer_each_time(world: Party) -> None:
    client = await world.client(grant_types=[DEVICE], redirect_uris=[], confidential=False)
    begun = (await world.ask("POST", "/device_authorization", {"client_id": client.client.id})).json
    poll = {"grant_type": DEVICE, "device_code": begun["device_code"]}
    await world.token(client, **poll)
    assert (await world.token(client, **poll)).json["error"] == "slow_down"
    await asyncio.sleep(9.9)
    assert (await world.token(client, **poll)).json["error"] == "slow_down"
    await asyncio.sleep(15)
    assert (await world.token(client, **poll)).json["error"] == "authorization_pending"


async def test_a_device_hears_of_a_no_and_of_the_end_of_its_time(world: Party) -> None:
    client = await world.client(grant_types=[DEVICE], redirect_uris=[], confidential=False)
    begun = [(await world.ask("POST", "/device_authorization", {"client_id": client.client.id})).json for _ in "ab"]
    await world.decide({"user_code": begun[0]["user_code"], "decision": "deny"}, path="/device")
    poll = {"grant_type": DEVICE, "device_code": begun[0]["device_code"]}
    assert (await world.token(client, **poll)).json["error"] == "access_denied"
    await asyncio.sleep(600)
    told = await world.token(client, grant_type=DEVICE, device_code=begun[1]["device_code"])
    assert told.json["error"] == "expired_token"


async def test_an_exchange_gives_less_for_the_same_person_and_says_who_acts(world: Party) -> None:
    app = await world.client()
    service = await world.client(
        name="Billing", grant_types=[EXCHANGE], redirect_uris=[], scopes=["orders:read"], audiences=["billing-api"]
    )
    token = (await world.tokens(app, scope="orders:read orders:write"))["access_token"]
    said = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS}
    answer = (await world.token(service, **said)).json
    claims = world.oauth.tokens.verify(answer["access_token"])
    assert (claims.principal.id, claims.actor) == ("ann", service.client.id)
    assert claims.principal.scopes == frozenset({"orders:read"})
    assert answer["issued_token_type"] == ACCESS
    other = (await world.token(service, **said, audience="billing-api")).json
    with pytest.raises(TokenError, match="another audience"):
        world.oauth.tokens.verify(other["access_token"])


async def test_an_exchanged_token_ends_with_the_one_that_it_was_made_of(world: Party) -> None:
    app = await world.client()
    service = await world.client(grant_types=[EXCHANGE], redirect_uris=[])
    token = (await world.tokens(app))["access_token"]
    await asyncio.sleep(600)
    said = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS}
    answer = (await world.token(service, **said)).json
    assert answer["expires_in"] <= 300
    claims = world.oauth.tokens.verify(answer["access_token"])
    await world.oauth.end_grant(claims.grant)
    with pytest.raises(TokenError, match="revoked"):
        world.oauth.tokens.verify(answer["access_token"])


async def test_a_revoked_token_ends_what_it_should(world: Party) -> None:
    client = await world.client()
    one, other = await world.tokens(client), await world.tokens(client)
    proof = {"client_id": client.client.id, "client_secret": client.secret or ""}
    told = await world.ask("POST", "/revoke", {**proof, "token": one["access_token"]})
    assert told.status == 200
    with pytest.raises(TokenError, match="revoked"):
        world.oauth.tokens.verify(one["access_token"])
    assert (await world.refreshed(client, one["refresh_token"])).status == 200
    await world.ask("POST", "/revoke", {**proof, "token": other["refresh_token"]})
    with pytest.raises(TokenError, match="revoked"):
        world.oauth.tokens.verify(other["access_token"])
    assert (await world.refreshed(client, other["refresh_token"])).json["error"] == "invalid_grant"
    assert (await world.ask("POST", "/revoke", {**proof, "token": "nonsense"})).status == 200


async def test_introspection_tells_the_client_of_its_tokens_and_an_api_of_all(world: Party) -> None:
    client, api = await world.client(), await world.client(name="Api", introspects=True)
    answer = await world.tokens(client)

    async def asked(who: str, secret: str | None, token: str) -> dict[str, object]:
        said = {"client_id": who, "client_secret": secret or "", "token": token}
        return (await world.ask("POST", "/introspect", said)).json

    for one in (client, api):
        told = await asked(one.client.id, one.secret, answer["access_token"])
        assert (told["active"], told["sub"], told["scope"]) == (True, "ann", "orders:read")
    stranger = await world.client(name="Stranger")
    assert await asked(stranger.client.id, stranger.secret, answer["access_token"]) == {"active": False}
    told = await asked(client.client.id, client.secret, answer["refresh_token"])
    assert (told["active"], told["token_type"]) == (True, "refresh_token")
    await world.refreshed(client, answer["refresh_token"])
    assert await asked(client.client.id, client.secret, answer["refresh_token"]) == {"active": False}
    assert (await world.ask("POST", "/introspect", {"token": answer["access_token"]})).status == 401


async def test_metadata_tells_what_there_is(world: Party) -> None:
    told = await world.ask("GET", "/.well-known/openid-configuration")
    assert told.json["issuer"] == ISSUER
    assert told.json["code_challenge_methods_supported"] == ["S256"]
    assert told.json["authorization_response_iss_parameter_supported"] is True
    assert "registration_endpoint" not in told.json
    for name in ("authorization", "token", "userinfo", "revocation", "introspection", "device_authorization"):
        assert told.json[f"{name}_endpoint"].startswith(f"{ISSUER}/")
    scope = {"type": "http", "method": "GET", "path": "/.well-known/oauth-authorization-server/oauth",
             "root_path": "/.well-known", "headers": []}  # fmt: skip
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await world.app.well_known(scope, None, send)
    assert sent[0]["status"] == 200


async def test_a_pushed_request_goes_the_same_way(world: Party) -> None:
    client = await world.client()
    said = {
        "client_id": client.client.id, "client_secret": client.secret or "", "response_type": "code",
        "redirect_uri": BACK, "scope": "orders:read", "state": "s", "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }  # fmt: skip
    pushed = await world.ask("POST", "/par", said)
    assert pushed.status == 201
    query = urlencode({"client_id": client.client.id, "request_uri": pushed.json["request_uri"]})
    begun = await world.ask("GET", f"/authorize?{query}", who="ann")
    page = await world.ask("GET", begun.to.removeprefix("/oauth"), who="ann")
    told = await world.decide({"id": page.field("id"), "decision": "allow"})
    assert (await world.by_code(client, told.query["code"])).status == 200
    other = await world.client(name="Other")
    again = urlencode({"client_id": other.client.id, "request_uri": pushed.json["request_uri"]})
    assert (await world.ask("GET", f"/authorize?{again}", who="ann")).status == 400


async def test_people_see_what_they_have_allowed_and_end_it(world: Party) -> None:
    client = await world.client()
    answer = await world.tokens(client)
    page = await world.ask("GET", "/apps", who="ann")
    assert "Bookkeeper" in page.text
    grant = page.field("grant")
    await world.decide({"grant": grant}, who="bob", path="/apps")
    assert world.oauth.tokens.verify(answer["access_token"]).principal.id == "ann"
    await world.decide({"grant": grant}, path="/apps")
    with pytest.raises(TokenError, match="revoked"):
        world.oauth.tokens.verify(answer["access_token"])
    assert "There are none." in (await world.ask("GET", "/apps", who="ann")).text


async def test_a_client_that_is_removed_takes_everything_with_it(world: Party) -> None:
    client = await world.client()
    answer = await world.tokens(client)
    assert await world.oauth.end_client(client.client.id)
    with pytest.raises(TokenError, match="revoked"):
        world.oauth.tokens.verify(answer["access_token"])
    assert (await world.refreshed(client, answer["refresh_token"])).json["error"] == "invalid_client"


async def test_a_secret_is_changed_with_an_overlap(world: Party) -> None:
    client = await world.client(grant_types=[OWN], redirect_uris=[])
    newer = await world.oauth.clients.rotate_secret(client.client.id, overlap_s=60)
    assert newer is not None
    for each in (client, newer):
        assert (await world.token(each, grant_type="client_credentials")).status == 200
    await asyncio.sleep(60)
    assert (await world.token(client, grant_type="client_credentials")).status == 401
    assert (await world.token(newer, grant_type="client_credentials")).status == 200


WRONG = {
    "no response type": ({"response_type": None}, "unsupported_response_type"),
    "an implicit token": ({"response_type": "token"}, "unsupported_response_type"),
    "no challenge": ({"code_challenge": None}, "invalid_request"),
    "a plain challenge": ({"code_challenge_method": "plain"}, "invalid_request"),
    "a short challenge": ({"code_challenge": "x"}, "invalid_request"),
    "no state": ({"state": None}, "invalid_request"),
    "an unknown scope": ({"scope": "everything"}, "invalid_scope"),
    "a request object": ({"request": "eyJ"}, "request_not_supported"),
    "a fragment": ({"response_mode": "fragment"}, "invalid_request"),
    "a fresh sign-in": ({"prompt": "login"}, "invalid_request"),
    "no page": ({"prompt": "none"}, "interaction_required"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_with_a_request_is_told_to_the_client(world: Party, name: str) -> None:
    changes, fault = WRONG[name]
    told = await world.decision(await world.client(), **changes)
    assert told.to.startswith(BACK)
    assert told.query["error"] == fault
    assert told.query["iss"] == ISSUER


async def test_a_parameter_that_comes_twice_is_refused(world: Party) -> None:
    client = await world.client()
    told = await world.ask("GET", world.request(client) + "&scope=orders:write", who="ann")
    assert told.status == 400
    said = [("grant_type", "refresh_token"), ("grant_type", "authorization_code")]
    told = await world.ask("POST", "/token", said)
    assert told.json["error"] == "invalid_request"


async def test_bounds_hold(db: Database) -> None:
    async with party(db, most_clients=2, most_pending=2, asking_s=600.0) as world:
        client = await world.client(grant_types=["authorization_code", DEVICE])
        await world.client()
        with pytest.raises(TooManyClientsError):
            await world.client()
        for _ in range(2):
            assert "/consent" in (await world.ask("GET", world.request(client))).to
        assert (await world.ask("GET", world.request(client))).query["error"] == "temporarily_unavailable"
        await asyncio.sleep(600)
        assert "/consent" in (await world.ask("GET", world.request(client))).to
        said = {"client_id": client.client.id, "client_secret": client.secret or ""}
        for _ in range(2):
            assert (await world.ask("POST", "/device_authorization", said)).status == 200
        told = await world.ask("POST", "/device_authorization", said)
        assert (told.status, told.json["error"]) == (503, "temporarily_unavailable")
        told = await world.ask("POST", "/token", b"x=" + b"y" * 20_000)
        assert told.json["error"] == "invalid_request"
        assert (await world.ask("GET", "/authorize?" + "a" * 9_000)).status == 400


async def test_an_address_that_comes_too_often_waits(world: Party) -> None:
    statuses = [(await world.ask("GET", "/jwks.json")).status for _ in range(101)]
    assert statuses[:100] == [200] * 100
    assert statuses[100] == 429
    assert (await world.ask("GET", "/jwks.json", address="203.0.113.9")).status == 200


async def test_unknown_places_and_methods(world: Party) -> None:
    assert (await world.ask("GET", "/nowhere")).status == 404
    told = await world.ask("GET", "/token")
    assert (told.status, told.headers["allow"]) == (405, "POST")
    assert (await world.ask("POST", "/register", b"{}", headers={"content-type": "application/json"})).status == 404


async def test_registration_is_there_when_it_is_switched_on(db: Database) -> None:
    import json

    async with party(db, registration=True) as world:

        async def register(**said: object) -> object:
            headers = {"content-type": "application/json"}
            told = await world.ask("POST", "/register", json.dumps(said).encode(), headers=headers)
            return told.json if told.status == 201 else told.json["error"]

        made = await register(client_name="New", redirect_uris=[BACK], scope="orders:read")
        assert {"client_id", "client_secret"} <= made.keys()
        public = await register(client_name="New", redirect_uris=[BACK], token_endpoint_auth_method="none")
        assert "client_secret" not in public
        assert await register(client_name="New", redirect_uris=["http://evil.example"]) == "invalid_redirect_uri"
        assert await register(client_name="", redirect_uris=[BACK]) == "invalid_client_metadata"
        for wrong in ({"grant_types": [OWN]}, {"scope": "everything"}, {"redirect_uris": "x"}, {"client_name": 7}):
            said = {"client_name": "New", "redirect_uris": [BACK], **wrong}
            assert await register(**said) == "invalid_client_metadata"
        assert (await world.ask("GET", "/.well-known/openid-configuration")).json["registration_endpoint"]


async def test_what_is_over_is_swept(db: Database) -> None:
    async with party(db, refresh_s=3_600, grant_s=3_600) as world:
        client = await world.client()
        await world.tokens(client)
        await world.ask("GET", world.request(client))
        await asyncio.sleep(86_400 + 3_600 + 1_800)
        for table in ("requests", "codes", "grants", "devices"):
            assert await db.one(int, f"SELECT count(*) FROM _archstone_oauth_{table}") == 0
        assert await db.one(int, "SELECT count(*) FROM _archstone_refresh_tokens") == 0


async def test_nothing_secret_is_stored(world: Party) -> None:
    client = await world.client(grant_types=["authorization_code", "refresh_token", DEVICE])
    code = await world.code(client)
    answer = (await world.by_code(client, code)).json
    secrets = {client.secret or "", code, answer["refresh_token"], answer["access_token"]}
    for table in ("oauth_clients", "oauth_requests", "oauth_codes", "oauth_grants", "refresh_tokens"):
        rows = await world.oauth.db.all(dict, f"SELECT * FROM _archstone_{table}")
        told = " ".join(str(value) for row in rows for value in row.values())
        assert not [each for each in secrets if each in told]


@pytest.mark.parametrize(
    "uri",
    [
        "https://books.example/back", "https://books.example/back?a=b", "http://127.0.0.1/back", "http://[::1]:7/back",
        "http://localhost:3000/back", "com.example.app:/back",
    ],
)  # fmt: skip
def test_where_answers_may_go(uri: str) -> None:
    assert redirect_fault(uri) == ""


@pytest.mark.parametrize(
    "uri",
    [
        "", "http://books.example/back", "https://books.example/back#x", "https://*.example/back",
        "javascript:alert(1)",
        "data:text/html,x", "https:///back", "//books.example", "/back", "https://user@books.example/", "app:/back",
        "https://books.example/\nx", "https://books.example:x/", "https://books.example/" + "x" * 500, "file:///etc",
        "https://bücher.example/",
    ],
)  # fmt: skip
def test_where_answers_may_not_go(uri: str) -> None:
    assert redirect_fault(uri)


def test_settings_tell_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        OAuthSettings(issuer="http://shop.example/oauth", audience="", code_s=0, access_s=0, device_interval_s=0.5)
    for name in ("issuer", "audience", "code_s", "access_s", "device_interval_s"):
        assert f"{name}=" in str(caught.value)
    for issuer in ("https://shop.example/oauth", "http://127.0.0.1:8080/oauth", "https://shop.example"):
        assert OAuthSettings(issuer=issuer, audience="a").issuer == issuer
    for issuer in ("https://shop.example/", "https://shop.example/?a=b", "ftp://shop.example", "https://"):
        with pytest.raises(ConfigError):
            OAuthSettings(issuer=issuer, audience="a")


def test_pkce_as_the_rfc_has_it() -> None:
    # RFC 7636, appendix B.
    assert pkce_holds("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert not pkce_holds("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")


@given(text=st.text(max_size=100))
def test_any_verifier_is_answered(text: str) -> None:
    assert pkce_holds(challenge_of(VERIFIER), text) is (text == VERIFIER)
    assert len(plain_code(text)) <= 40
    redirect_fault(text)


@given(
    method=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from(
        ["/authorize", "/consent", "/token", "/par", "/device", "/revoke", "/introspect", "/userinfo", "/apps"]
    ),
    query=st.text(alphabet="ab=&%;+_client_id01\xff", max_size=80),
    body=st.binary(max_size=80) | st.text(alphabet="ab=&%;+grant_typecode", max_size=80).map(str.encode),
    authorization=st.sampled_from(["", "Basic ", "Basic !!!", "Basic YTpi", "Bearer x", "Basic //8=", "nonsense"]),
    kind=st.sampled_from(["application/x-www-form-urlencoded", "application/json", ""]),
)
@settings(max_examples=30, deadline=None)
async def test_no_request_makes_the_server_fail(
    tmp_path_factory: pytest.TempPathFactory,
    method: str,
    path: str,
    query: str,
    body: bytes,
    authorization: str,
    kind: str,
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    async with Database(f"sqlite:///{folder}/oauth.db") as db, party(db, keys=RING) as world:
        headers = {"authorization": authorization, "content-type": kind, "origin": ORIGIN}
        scoped = f"{path}?{query.encode('latin-1').decode('latin-1')}"
        told = await world.ask(method, scoped.encode("ascii", "ignore").decode(), body, who="ann", headers=headers)
        assert told.status < 500


RING = KeyRing.generate("EdDSA")
