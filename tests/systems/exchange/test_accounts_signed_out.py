"""What ends sessions ends their tokens: signing out, another password, another role, an administrator."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk_stage import ADMIN, Socket, Stage, Visitor, exchange_running

from archstone.context import Principal
from archstone.security import Audits
from archstone.services.http import ask
from archstone.systems.exchange.accounts.contract import (
    AccountAdmin,
    Accounts,
    SignInError,
    TooManyTriesError,
    UnknownHolderError,
    WeakPasswordError,
    WrongPasswordError,
)
from archstone.systems.exchange.surveillance import Surveillance
from archstone.systems.exchange.web import stream

PASSWORD, OTHER = "seven quiet herons", "eleven louder geese"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with exchange_running(tmp_path / "exchange") as stage:
        yield stage


def mine(account: int) -> Principal:
    return Principal(str(account), frozenset({"trader"}))


async def status(stage: Stage, *header: str) -> int:
    name, value = header
    return (await ask(stage.run.asgi, "GET", "/api/v1/portfolio", headers=[(name, value)])).status


async def by_token(stage: Stage, token: str) -> int:
    return await status(stage, "authorization", f"Bearer {token}")


async def registered(stage: Stage) -> tuple[int, str]:
    made = await stage.client(Accounts).register("ann@example.org", PASSWORD, "Ann")
    assert await by_token(stage, made.access_token) == 200
    return made.visitor.account, made.access_token


async def actions(stage: Stage) -> list[str]:
    (log,) = [each for each in stage.run.parts.provided[Audits].logs if each.name == "accounts"]
    assert (await log.verify()).holds
    return [each.action for each in await log.entries(limit=20)]


async def test_another_password_ends_every_token_and_gives_a_new_one(stage: Stage) -> None:
    account, token = await registered(stage)
    changed = await stage.client(Accounts, mine(account)).change_password(PASSWORD, OTHER)
    assert (await by_token(stage, token), await by_token(stage, changed.access_token)) == (401, 200)
    with pytest.raises(SignInError):
        await stage.client(Accounts).login("ann@example.org", PASSWORD)
    back = await stage.client(Accounts).login("ann@example.org", OTHER)
    assert await by_token(stage, back.access_token) == 200
    assert await actions(stage) == ["accounts.signed-in", "accounts.password-changed", "accounts.opened"]


async def test_what_is_refused_changes_nothing(stage: Stage) -> None:
    account, token = await registered(stage)
    accounts = stage.client(Accounts, mine(account))
    with pytest.raises(WeakPasswordError):
        await accounts.change_password(PASSWORD, "password")
    with pytest.raises(WrongPasswordError):
        await accounts.change_password("wrong", OTHER)
    assert await by_token(stage, token) == 200
    trial = await stage.client(Accounts).trial()
    with pytest.raises(WrongPasswordError):
        await stage.client(Accounts, mine(trial.visitor.account)).change_password("", OTHER)


async def test_the_present_password_cannot_be_tried_out(stage: Stage) -> None:
    account, _ = await registered(stage)
    accounts = stage.client(Accounts, mine(account))
    for _ in range(10):
        with pytest.raises(WrongPasswordError):
            await accounts.change_password("wrong", OTHER)
    with pytest.raises(TooManyTriesError):
        await accounts.change_password(PASSWORD, OTHER)


async def test_signing_out_everywhere_ends_browsers_tokens_and_the_stream_and_leaves_keys(stage: Stage) -> None:
    account, token = await registered(stage)
    accounts = stage.client(Accounts, mine(account))
    key = await accounts.make_key("a bot")
    browser = Visitor(stage.run.asgi)
    await browser.post("/login", email="ann@example.org", password=PASSWORD)
    assert (await browser.get("/account")).status == 200
    connected = await Socket(stage.run.asgi, {"authorization": f"Bearer {token}"}).open()
    out = await browser.post("/account/sign-out")
    assert (out.headers["location"], out.headers["clear-site-data"]) == ("/", '"cache", "storage"')
    assert (await browser.get("/account")).headers["location"].startswith("/login")
    assert (await by_token(stage, token), await status(stage, "x-api-key", key.text)) == (401, 200)
    await asyncio.sleep(stream.AGAIN_S + 1)
    assert connected.closed == 1008
    assert (await actions(stage))[:2] == ["accounts.signed-out", "accounts.signed-in"]


async def test_another_role_ends_the_tokens_of_the_old_one(stage: Stage) -> None:
    _, token = await registered(stage)
    browser = Visitor(stage.run.asgi)
    await browser.post("/login", email="ann@example.org", password=PASSWORD)
    await stage.client(AccountAdmin, ADMIN).grant("ann@example.org", "admin")
    assert await by_token(stage, token) == 401
    assert (await browser.get("/risk")).status == 200, "a browser asks for its role each time"
    await stage.client(AccountAdmin, ADMIN).grant("ann@example.org", "trader")
    assert (await browser.get("/risk")).status == 403


async def test_an_administrator_shuts_somebody_out(stage: Stage) -> None:
    account, token = await registered(stage)
    key = await stage.client(Accounts, mine(account)).make_key("a bot")
    await stage.client(AccountAdmin, ADMIN).shut_out(account)
    assert (await by_token(stage, token), await status(stage, "x-api-key", key.text)) == (401, 401)
    assert (await actions(stage))[0] == "accounts.shut-out"
    with pytest.raises(UnknownHolderError):
        await stage.client(AccountAdmin, ADMIN).shut_out(99_999)


async def test_tokens_that_were_ended_stay_ended_after_a_start(tmp_path: Path) -> None:
    async with exchange_running(tmp_path / "exchange") as stage:
        account, token = await registered(stage)
        await stage.client(Accounts, mine(account)).sign_out()
    async with exchange_running(tmp_path / "exchange") as stage:
        assert await by_token(stage, token) == 401


@pytest.mark.sqlite_only("the pages ask services")
async def test_signing_in_anew_ends_the_session_that_the_browser_had(stage: Stage) -> None:
    await registered(stage)
    browser = Visitor(stage.run.asgi)
    await browser.post("/trial")
    old = dict(browser.cookies)
    await browser.post("/login", email="ann@example.org", password=PASSWORD)
    assert (await browser.get("/account")).status == 200
    thief = Visitor(stage.run.asgi, cookies=old)
    assert (await thief.get("/account")).status == 303


@pytest.mark.sqlite_only("the pages ask services")
async def test_the_password_is_changed_in_the_browser_which_stays_signed_in(stage: Stage) -> None:
    await registered(stage)
    here, there = Visitor(stage.run.asgi), Visitor(stage.run.asgi)
    for browser in (here, there):
        await browser.post("/login", email="ann@example.org", password=PASSWORD)
    wrong = await here.post("/account/password", current="wrong", new=OTHER)
    assert (wrong.status, "The present password is another one" in wrong.text) == (422, True)
    changed = await here.post("/account/password", current=PASSWORD, new=OTHER)
    assert changed.headers["location"] == "/account?told=password"
    assert ((await here.get("/account")).status, (await there.get("/account")).status) == (200, 303)


async def test_strangers_begin_only_so_many_connections(stage: Stage) -> None:
    sockets = [await Socket(stage.run.asgi, {"x-api-key": f"ask_{number:044}"}).open() for number in range(51)]
    assert [each.closed for each in sockets] == [1008] * 50 + [1013]


async def test_who_judges_and_relates_is_on_record(stage: Stage) -> None:
    surveillance = stage.run.client(Surveillance, as_=Principal("903", frozenset({"admin"})))
    await surveillance.relate(7, 70)
    (log,) = [each for each in stage.run.parts.provided[Audits].logs if each.name == "surveillance"]
    (told,) = await log.entries(limit=5)
    assert (told.action, told.subject, told.who) == ("surveillance.related", "7", "903")
    assert (await log.verify()).holds
