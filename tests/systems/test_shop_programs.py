"""Programs in the shop: API keys, and apps of others that customers let act for them."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from oauth_party import VERIFIER, challenge_of
from pages_browser import HOST, Browser, an_admin, registered
from wiring import running

from archstone.context import Principal
from archstone.gateway import scopes_of
from archstone.runtime import Embedded, Settings
from archstone.security import Audits
from archstone.services.http import ask
from archstone.systems.shop.programs.programs import SCOPES, Programs
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.contract import UserAdmin

BACK = "https://books.example/back"
PLACE = f"https://{HOST}"
OPTIONS = {"public_url": PLACE, "admins_need_factor": "no"}


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with running(shop, data=tmp_path, settings=Settings(options=OPTIONS)) as run:
        yield run


@pytest.fixture
async def ann(run: Embedded) -> Browser:
    return await registered(Browser(run.asgi, scheme="https"))


async def api(run: Embedded, path: str, *, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any]:
    told = [("host", HOST), *((name.replace("_", "-"), value) for name, value in headers.items())]
    if body is not None:
        told.append(("content-type", "application/json"))
    sent = b"" if body is None else json.dumps(body).encode()
    answer = await ask(run.asgi, method, f"/api/v1{path}", headers=told, body=sent, scheme="https")
    return answer.status, json.loads(answer.body) if answer.body else None


async def post(run: Embedded, path: str, said: Mapping[str, str], **headers: str) -> tuple[int, Any]:
    told = [("host", HOST), ("content-type", "application/x-www-form-urlencoded"), *headers.items()]
    answer = await ask(run.asgi, "POST", path, headers=told, body=urlencode(said).encode(), scheme="https")
    return answer.status, json.loads(answer.body) if answer.body else None


async def a_key(ann: Browser, *scopes: str) -> str:
    fields = {"name": "export", "days": "30", **{f"may-{each}": "yes" for each in scopes}}
    page = await ann.post("/account/keys", fields)
    found = re.search(r'id="new-key">(ask_\w+)<', page.html)
    assert found is not None, page.text
    return found[1]


async def an_app(run: Embedded, *scopes: str) -> tuple[str, str]:
    programs: Programs = run.parts.provided[Programs]
    made = await programs.oauth.clients.register(
        "Bookkeeper", redirect_uris=[BACK], scopes=("openid", "email", *scopes)
    )
    return made.client.id, made.secret or ""


async def allowed(run: Embedded, who: Browser, client: tuple[str, str], scope: str, **more: str) -> dict[str, Any]:
    """Let an app act for somebody, as a browser and the app do together; return its tokens."""
    said = {
        "response_type": "code", "client_id": client[0], "redirect_uri": BACK, "scope": scope, "state": "s",
        "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256", **more,
    }  # fmt: skip
    begun = await who.get(f"/oauth/authorize?{urlencode(said)}")
    page = await who.follow(begun)
    answer = await who.post("/oauth/consent", {**page.form("/oauth/consent").fields, "decision": "allow"})
    code = parse_qs(urlsplit(answer.to).query)["code"][0]
    fields = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER,
        "client_id": client[0], "client_secret": client[1],
    }  # fmt: skip
    status, tokens = await post(run, "/oauth/token", fields)
    assert status == 200, tokens
    return tokens


def test_every_scope_that_is_offered_is_one_of_an_operation() -> None:
    assert set(SCOPES) <= scopes_of(shop.operations)


async def test_a_key_opens_what_it_is_for_and_nothing_else(run: Embedded, ann: Browser) -> None:
    key = await a_key(ann, "orders:read")
    assert (await api(run, "/users/me/orders", authorization=f"Bearer {key}"))[0] == 200
    assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 200
    assert (await api(run, "/products", x_api_key=key))[0] == 200
    assert (await api(run, "/carts/me", x_api_key=key))[0] == 404  # as nobody, who has no cart
    assert (await api(run, "/carts/me", x_api_key=await a_key(ann, "carts:read")))[0] == 200
    for method, path in (("POST", "/orders"), ("PUT", "/users/me/password"), ("POST", "/users/me/deletion")):
        status, problem = await api(run, path, method=method, body={}, x_api_key=key, idempotency_key="k")
        assert (status, problem["type"]) == (403, "urn:archstone:error:gateway.scope")
    assert (await api(run, "/users/me/orders", x_api_key=key, authorization=f"Bearer {key}"))[0] == 401
    assert (await api(run, "/users/me/orders", x_api_key=key[:-1]))[0] == 401


async def test_a_key_that_is_revoked_opens_nothing_from_then_on(run: Embedded, ann: Browser) -> None:
    key = await a_key(ann, "orders:read")
    page = await ann.get("/account/keys")
    assert key not in page.html
    action = next(form.action for form in page.forms if form.action.endswith("/revoke"))
    assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 200
    assert (await ann.post(action, {})).to == "/account/keys?told=key-revoked"
    assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 401
    assert (await ann.post(action, {})).status == 404


async def test_a_key_is_replaced_with_an_overlap(run: Embedded, ann: Browser) -> None:
    key = await a_key(ann, "orders:read")
    page = await ann.get("/account/keys")
    action = next(form.action for form in page.forms if form.action.endswith("/rotate"))
    found = re.search(r'id="new-key">(ask_\w+)<', (await ann.post(action, {})).html)
    assert found is not None
    for each in (key, found[1]):
        assert (await api(run, "/users/me/orders", x_api_key=each))[0] == 200


async def test_nobody_ends_a_key_of_somebody_else(run: Embedded, ann: Browser) -> None:
    key = await a_key(ann, "orders:read")
    action = next(form.action for form in (await ann.get("/account/keys")).forms if form.action.endswith("/revoke"))
    eve = await registered(Browser(run.asgi, scheme="https"), "eve@example.com")
    assert (await eve.post(action, {})).status == 404
    assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 200


async def test_a_key_needs_a_name_and_a_purpose(ann: Browser) -> None:
    assert (await ann.post("/account/keys", {"name": "", "days": "30"})).status == 422
    page = await ann.post("/account/keys", {"name": "x", "days": "30"})
    assert (page.status, "at least one thing" in page.text) == (422, True)
    assert (await ann.post("/account/keys", {"name": "x", "days": "999", "may-orders:read": "yes"})).status == 422


async def test_an_app_acts_for_a_customer_within_what_was_allowed(run: Embedded, ann: Browser) -> None:
    client = await an_app(run, "orders:read", "orders:place")
    tokens = await allowed(run, ann, client, "openid email orders:read", nonce="n")
    token = f"Bearer {tokens['access_token']}"
    assert (await api(run, "/users/me/orders", authorization=token))[0] == 200
    status, problem = await api(run, "/orders", method="POST", body={}, authorization=token, idempotency_key="k")
    assert (status, problem["type"]) == (403, "urn:archstone:error:gateway.scope")
    answer = await ask(run.asgi, "GET", "/oauth/userinfo", headers=[("authorization", token)], scheme="https")
    assert json.loads(answer.body)["email"] == "ann@example.com"
    said = {"token": tokens["refresh_token"], "client_id": client[0], "client_secret": client[1]}
    assert (await post(run, "/oauth/revoke", said))[0] == 200
    assert (await api(run, "/users/me/orders", authorization=token))[0] == 401


async def records(run: Embedded) -> list[tuple[str, str, str, str]]:
    """Return what the logs of the system and of programs say, oldest first: outcome, who, action, subject."""
    audits: Audits = run.parts.provided[Audits]
    found: list[tuple[str, str, str, str]] = []
    for log in audits.logs:
        if log.name in {"system", "programs"}:
            await log.record("test.looked")  # after it every note is on disk
            assert (await log.verify()).holds
            read = [(each.outcome, each.who, each.action, each.subject) for each in await log.entries()]
            found += [each for each in reversed(read) if each[2] != "test.looked"]
    return found


async def test_what_a_program_is_refused_by_its_scope_is_on_record(run: Embedded, ann: Browser) -> None:
    tokens = await allowed(run, ann, await an_app(run, "orders:read"), "orders:read")
    key = await a_key(ann, "orders:read")
    for headers in ({"authorization": f"Bearer {tokens['access_token']}"}, {"x_api_key": key}):
        assert (await api(run, "/orders", method="POST", body={}, idempotency_key="k", **headers))[0] == 403
        assert (await api(run, "/products", **headers))[0] == 200  # as nobody: nothing was refused
        assert (await api(run, "/users/me/orders", **headers))[0] == 200
    programs: Programs = run.parts.provided[Programs]
    who = (await programs.keys.verify(key)).owner
    assert [each for each in await records(run) if each[0] == "denied"] == [
        ("denied", who, "roles.denied", "Orders.place"),
        ("denied", who, "roles.denied", "Orders.place"),
    ]
    audits: Audits = run.parts.provided[Audits]
    told = json.loads((await audits.system.entries(action="roles.denied"))[0].details)
    by = f"key:{(await programs.keys.verify(key)).id}"
    assert told == {"requires": "orders:place", "why": "no scope", "row": None, "by": by}


async def test_keys_are_on_record_from_their_making_to_their_use_after_their_end(run: Embedded, ann: Browser) -> None:
    key = await a_key(ann, "orders:read")
    programs: Programs = run.parts.provided[Programs]
    known = await programs.keys.verify(key)
    await ann.post(f"/account/keys/{known.id}/rotate", {})
    await ann.post(f"/account/keys/{known.id}/revoke", {})
    assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 401
    new = next(each for each in await programs.keys.keys_of(known.owner) if each.replaces == known.id)
    assert [each for each in await records(run) if "keys." in each[2]] == [
        ("done", known.owner, "keys.made", known.id),
        ("done", known.owner, "keys.rotated", new.id),
        ("done", known.owner, "keys.revoked", known.id),
        ("denied", "", "keys.refused", known.id),
    ]


async def test_a_key_is_made_with_a_limit_of_its_own(run: Embedded, ann: Browser) -> None:
    fields = {"name": "slow", "days": "30", "may-orders:read": "yes"}
    page = await ann.post("/account/keys", {**fields, "per_minute": "6"})
    found = re.search(r'id="new-key">(ask_\w+)<', page.html)
    assert found is not None
    assert "At most 6 requests a minute" in page.text
    statuses = [(await api(run, "/users/me/orders", x_api_key=found[1]))[0] for _ in range(8)]
    assert statuses == [200] * 6 + [429] * 2
    assert (await api(run, "/users/me/orders", x_api_key=await a_key(ann, "orders:read")))[0] == 200
    assert (await ann.post("/account/keys", {**fields, "per_minute": "9000"})).status == 422


async def test_what_is_allowed_to_apps_and_ended_is_on_record(run: Embedded, ann: Browser) -> None:
    client = await an_app(run, "orders:read")
    tokens = await allowed(run, ann, client, "orders:read")
    said = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    proof = {"client_id": client[0], "client_secret": client[1]}
    assert (await post(run, "/oauth/token", {**said, **proof}))[0] == 200
    assert (await post(run, "/oauth/token", {**said, **proof}))[0] == 400
    found = await records(run)
    assert sorted(each[2] for each in found) == [
        "oauth.client-registered", "oauth.consent-ended", "oauth.consent-given", "oauth.refresh-token-reused",
    ]  # fmt: skip
    given = next(each for each in found if each[2] == "oauth.consent-given")
    assert given[1] != ""
    assert {each[3] for each in found if "consent" in each[2] or "reused" in each[2]} == {given[3]}


async def test_an_app_of_an_account_that_is_closed_opens_nothing_at_once(run: Embedded, ann: Browser) -> None:
    tokens = await allowed(run, ann, await an_app(run, "orders:read"), "orders:read")
    token = f"Bearer {tokens['access_token']}"
    assert (await api(run, "/users/me/orders", authorization=token))[0] == 200
    root = Principal("a" * 32, frozenset({"admin"}))
    users = run.client(UserAdmin, as_=root)
    who = await run.client(UserAdmin, as_=Principal("service:test", frozenset({"service", "admin"}))).user_with(
        "ann@example.com"
    )
    assert who is not None
    await users.deactivate(who.id, "Asked for it")
    assert (await api(run, "/users/me/orders", authorization=token))[0] == 401
    await users.reactivate(who.id)
    assert (await api(run, "/users/me/orders", authorization=token))[0] == 401  # what was allowed has ended


async def test_an_app_of_an_administrator_is_no_administrator(run: Embedded) -> None:
    root = await an_admin(run)
    root.scheme, root.cookies = "https", {}
    await root.post("/login", {"email": "root@example.com", "password": "a quiet evening"})
    tokens = await allowed(run, root, await an_app(run, "orders:read"), "orders:read")
    token = f"Bearer {tokens['access_token']}"
    assert (await api(run, "/users/me/orders", authorization=token))[0] == 200
    assert (await api(run, "/orders", authorization=token))[0] == 403
    assert (await api(run, "/users", authorization=token))[0] == 403


async def test_an_app_of_somebody_who_is_gone_ends(run: Embedded, ann: Browser) -> None:
    client = await an_app(run, "orders:read")
    tokens = await allowed(run, ann, client, "orders:read")
    key = await a_key(ann, "orders:read")
    page = await ann.get("/account/delete")
    await ann.submit(page, "/account/delete", password="a quiet evening")
    said = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    status, told = await post(run, "/oauth/token", {**said, "client_id": client[0], "client_secret": client[1]})
    assert (status, told["error"]) == (400, "invalid_grant")
    assert (await api(run, "/users/me/orders", authorization=f"Bearer {tokens['access_token']}"))[0] == 401
    assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 401


async def test_who_is_not_signed_in_comes_back_to_the_consent(run: Embedded) -> None:
    client = await an_app(run, "orders:read")
    guest = Browser(run.asgi, scheme="https")
    await registered(guest, "late@example.com")
    guest.cookies.clear()
    said = {
        "response_type": "code", "client_id": client[0], "redirect_uri": BACK, "scope": "orders:read", "state": "s",
        "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256",
    }  # fmt: skip
    begun = await guest.get(f"/oauth/authorize?{urlencode(said)}")
    login = await guest.follow(await guest.follow(begun))
    answer = await guest.submit(login, "/login", email="late@example.com", password="a quiet evening")
    assert answer.to.startswith("/oauth/consent?id=")
    assert "Bookkeeper" in (await guest.follow(answer)).text


async def test_administrators_register_and_remove_apps(run: Embedded, ann: Browser) -> None:
    root = await an_admin(run)
    page = await root.post(
        "/admin/apps", {"name": "New", "redirect_uris": BACK, "kind": "server", "may-orders:read": "yes"}
    )
    assert 'id="client-secret"' in page.html
    client = re.search(r'id="client-id">(\w+)<', page.html)
    assert client is not None
    assert (
        "has no secret"
        in (
            await root.post("/admin/apps", {"name": "Phone", "redirect_uris": "com.example.app:/b", "kind": "device"})
        ).text
    )
    assert (
        await root.post("/admin/apps", {"name": "Bad", "redirect_uris": "http://x", "kind": "server"})
    ).status == 422
    sure = await root.post(f"/admin/apps/{client[1]}/remove", {})
    assert "Remove New?" in sure.text
    assert (await root.post(f"/admin/apps/{client[1]}/remove", {"sure": "yes"})).to == "/admin/apps?told=app-removed"
    assert "New" not in [form.action for form in (await root.get("/admin/apps")).forms]
    assert (await ann.get("/admin/apps")).status == 403


async def test_metadata_is_where_clients_look_for_it(run: Embedded) -> None:
    for path in (
        "/oauth/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/oauth",
        "/oauth/.well-known/oauth-authorization-server",
    ):  # fmt: skip
        answer = await ask(run.asgi, "GET", path, headers=[("host", HOST)], scheme="https")
        assert json.loads(answer.body)["issuer"] == f"{PLACE}/oauth"
    answer = await ask(run.asgi, "GET", "/oauth/jwks.json", headers=[("host", HOST)], scheme="https")
    assert [key["alg"] for key in json.loads(answer.body)["keys"]] == ["ES256"]


async def test_keys_and_apps_outlive_the_process(tmp_path: Path) -> None:
    settings = Settings(options=OPTIONS)
    async with running(shop, data=tmp_path, settings=settings) as run:
        ann = await registered(Browser(run.asgi, scheme="https"))
        key = await a_key(ann, "orders:read")
        tokens = await allowed(run, ann, await an_app(run, "orders:read"), "orders:read")
    async with running(shop, data=tmp_path, settings=settings) as run:
        assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 200
        assert (await api(run, "/users/me/orders", authorization=f"Bearer {tokens['access_token']}"))[0] == 200
