"""What acts for an account goes on with a new password, and ends where somebody else has had the account."""

import asyncio
import email.parser
import email.policy
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pages_browser import ROOT, Browser, registered
from test_shop_programs import OPTIONS, PLACE, a_key, allowed, an_app, api, post
from wiring import running

from archstone.runtime import Embedded, Settings
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.contract import User, UserAdmin
from archstone.systems.shop.web import routes

EMAIL, PASSWORD, NEW = "ann@example.com", "a quiet evening", "another quiet evening"
STALE_S = 601
"""Seconds after which signing in is no recent proof any more."""


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with running(shop, data=tmp_path, settings=Settings(options=OPTIONS)) as run:
        yield run


@pytest.fixture
async def ann(run: Embedded) -> Browser:
    return await registered(Browser(run.asgi, scheme="https"))


class Helpers:
    """An API key and an app that act for somebody."""

    def __init__(self, run: Embedded, key: str, client: tuple[str, str], tokens: dict[str, Any]) -> None:
        self._run = run
        self.key = key
        self._client = client
        self._tokens = tokens

    @classmethod
    async def of(cls, run: Embedded, who: Browser) -> "Helpers":
        client = await an_app(run, "orders:read")
        return cls(run, await a_key(who, "orders:read"), client, await allowed(run, who, client, "orders:read"))

    async def act(self) -> tuple[bool, bool, bool]:
        """Return whether the key opens, whether the app's token does, and whether the app gets another one."""
        by_key, _ = await api(self._run, "/users/me/orders", x_api_key=self.key)
        by_token, _ = await api(self._run, "/users/me/orders", authorization=f"Bearer {self._tokens['access_token']}")
        said = {"grant_type": "refresh_token", "refresh_token": self._tokens["refresh_token"]}
        proof = {"client_id": self._client[0], "client_secret": self._client[1]}
        refreshed, told = await post(self._run, "/oauth/token", {**said, **proof})
        if refreshed == 200:
            self._tokens = told
        return by_key == 200, by_token == 200, refreshed == 200


ALL, NONE = (True, True, True), (False, False, False)


async def link(data: Path, path: str) -> str:
    """Return where a mail leads that has a link to a page, and take it out of the folder."""
    read = email.parser.BytesParser(policy=email.policy.default).parsebytes
    for _ in range(2_000):
        for file in (data / "mails").iterdir():
            if found := re.search(rf"{PLACE}({path}\?ticket=\S+)", str(read(file.read_bytes()).get_content())):
                file.unlink()
                return found[1]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no mail leads to {path}")


async def account(run: Embedded) -> User:
    user = await run.client(UserAdmin, as_=ROOT).user_with(EMAIL)
    assert user is not None
    return user


async def reset(run: Embedded, data: Path, **said: str) -> str:
    """Choose another password by the link of a mail; return where that leads."""
    guest = Browser(run.asgi, scheme="https")
    await guest.submit(await guest.get("/forgot"), "/forgot", email=EMAIL)
    page = await guest.get(await link(data, "/reset"))
    return (await guest.post("/reset", {**page.form("/reset").fields, "new": NEW, **said})).to


async def test_a_new_password_ends_no_key_and_no_app_and_says_so(run: Embedded, ann: Browser, tmp_path: Path) -> None:
    helpers = await Helpers.of(run, ann)
    changed = await ann.submit(await ann.get("/account"), "/account/password", current=PASSWORD, new="a third evening")
    assert "API keys and apps go on" in (await ann.follow(changed)).text
    assert "1 API key and 1 app . They go on" in (await ann.get("/account/security")).text
    assert await helpers.act() == ALL
    assert await reset(run, tmp_path) == "/login?told=reset"
    assert await helpers.act() == ALL


async def test_all_that_acts_in_ones_name_is_ended_at_once_after_a_proof(run: Embedded, ann: Browser) -> None:
    helpers = await Helpers.of(run, ann)
    await asyncio.sleep(STALE_S)
    ends = "/account/security/programs/end"
    asked = await ann.post(ends, {})
    assert asked.to == "/account/prove?next=/account/security&told=prove"
    await ann.submit(await ann.follow(asked), "/account/prove", password=PASSWORD)
    done = await ann.submit(await ann.get("/account/security"), ends)
    page = await ann.follow(done)
    assert "No API key and no app acts for you any more." in page.text
    assert "0 API keys and 0 apps" in page.text
    assert [each.action for each in page.forms if each.action == ends] == []
    assert await helpers.act() == NONE


async def test_attack_a_key_and_an_app_of_a_thief_outlive_the_reset(
    run: Embedded, ann: Browser, tmp_path: Path
) -> None:
    helpers = await Helpers.of(run, ann)  # made by whoever had the password
    assert await reset(run, tmp_path) == "/login?told=reset"  # weak: another password and nothing else
    assert await helpers.act() == ALL
    assert await reset(run, tmp_path, programs="yes", new="a third evening") == "/login?told=reset-all"
    assert await helpers.act() == NONE


async def test_a_reset_that_is_refused_ends_nothing_and_keeps_the_wish(
    run: Embedded, ann: Browser, tmp_path: Path
) -> None:
    helpers = await Helpers.of(run, ann)
    guest = Browser(run.asgi, scheme="https")
    await guest.submit(await guest.get("/forgot"), "/forgot", email=EMAIL)
    page = await guest.get(await link(tmp_path, "/reset"))
    assert "programs" not in page.form("/reset").fields
    said = {**page.form("/reset").fields, "new": "password123", "programs": "yes"}
    again = await guest.post("/reset", said)
    assert (again.status, again.form("/reset").fields["programs"]) == (422, "yes")
    assert (await guest.post("/reset", {**said, "ticket": "none", "new": NEW})).status == 422
    assert await helpers.act() == ALL


async def weak(self: Programs, person: str) -> None:
    """Weak: what lies in another database is ended when it is used, if whoever it is of is not there."""


async def test_attack_a_key_and_an_app_of_a_thief_outlive_the_way_back_to_the_old_address(
    run: Embedded, ann: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = (("thief@example.org", weak, ALL), ("eve@example.org", Programs.end_all, NONE))
    for address, ending, left in rounds:
        helpers = await Helpers.of(run, ann)  # made by whoever has the password
        await ann.submit(await ann.get("/account/email"), "/account/email", email=address)
        await ann.submit(await ann.get(await link(tmp_path, "/email-change")), "/email-change")
        assert await helpers.act() == ALL
        page = await ann.get(await link(tmp_path, "/email-undo"))
        assert "Every API key ends" in page.text
        with monkeypatch.context() as patched:
            patched.setattr(Programs, "end_all", ending)
            assert (await ann.submit(page, "/email-undo", new=NEW)).to == "/login?told=email-undone"
        assert await helpers.act() == left
        await ann.submit(await ann.get("/login"), "/login", email=EMAIL, password=NEW)


async def test_attack_a_key_and_an_app_that_keep_still_until_the_account_is_opened_again(
    run: Embedded, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, who = run.client(UserAdmin, as_=ROOT), await account(run)
    for ending, left in ((weak, ALL), (Programs.end_all, NONE)):
        helpers = await Helpers.of(run, ann)
        with monkeypatch.context() as patched:
            patched.setattr(Programs, "end_all", ending)
            await users.deactivate(who.id, "Stolen")
            await users.reactivate(who.id)
        assert await helpers.act() == left
        await ann.submit(await ann.get("/login"), "/login", email=EMAIL, password=PASSWORD)


async def test_attack_a_stolen_session_makes_itself_a_key_for_a_year(
    run: Embedded, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await a_key(ann, "orders:read")
    await asyncio.sleep(STALE_S)
    thief = Browser(run.asgi, scheme="https", cookies=dict(ann.cookies))
    fields = {"name": "export", "days": "365", "may-orders:read": "yes"}
    page = await thief.get("/account/keys")
    rotate = next(form.action for form in page.forms if form.action.endswith("/rotate"))
    assert "/account/keys" not in [form.action for form in page.forms]  # a link to prove it in its place
    for path in ("/account/keys", rotate):
        assert (await thief.post(path, fields)).to == "/account/prove?next=/account/keys&told=prove"
    programs: Programs = run.parts.provided[Programs]
    assert len(await programs.keys.keys_of((await account(run)).id)) == 1
    revoke = next(form.action for form in page.forms if form.action.endswith("/revoke"))
    assert (await ann.post(revoke, {})).to == "/account/keys?told=key-revoked"  # to end one needs none
    assert (await api(run, "/users/me/orders", x_api_key=key))[0] == 401
    # weak: a session is enough
    table = [
        (pattern, {method: each._replace(proved=False) for method, each in found.items()})
        for pattern, found in routes._TABLE
    ]
    monkeypatch.setattr(routes, "_TABLE", table)
    assert "ask_" in (await thief.post("/account/keys", fields)).html


async def test_who_has_to_sign_in_or_to_prove_it_first_comes_to_a_page_that_is_there(
    run: Embedded, ann: Browser
) -> None:
    await a_key(ann, "orders:read")
    other = Browser(run.asgi, scheme="https")
    await other.submit(await other.get("/login"), "/login", email=EMAIL, password=PASSWORD)
    keys, security = await ann.get("/account/keys"), await ann.get("/account/security")
    forms = {form.action for page in (keys, security) for form in page.forms if form.action.startswith("/account/")}
    assert len(forms) >= 6
    await asyncio.sleep(STALE_S)
    guest = Browser(run.asgi, scheme="https")
    for action in sorted(forms):
        asked = await guest.post(action, {})
        back = (await guest.follow(asked)).form("/login").fields["next"]
        assert (await ann.get(back)).status == 200, action
        if "rotate" in action or "/end" in action:
            asked = await ann.post(action, {})
            back = (await ann.follow(asked)).form("/account/prove").fields["next"]
            assert (await ann.get(back)).status == 200, action
