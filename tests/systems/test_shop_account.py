"""One's own account: another password, which ends every other session and is told by one mail."""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pages_browser import Browser, registered
from wiring import SERVICE, RunningShop, running_shop

from archstone.context import Principal
from archstone.errors import RejectedError
from archstone.runtime import Embedded
from archstone.security import Passwords, PasswordsBusyError, Verdict
from archstone.services import NotSignedInError, RequestInvalidError
from archstone.services.http import ask
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    Session,
    SessionEndedError,
    Sessions,
    SignInError,
    UserRead,
    UserUnknownError,
    UserWrite,
    WeakPasswordError,
    WrongPasswordError,
    browser_mark,
)

OLD, NEW = "a quiet evening", "a louder morning"
EMAIL = "ann@example.com"


async def signed_in(shop: RunningShop, password: str = OLD) -> Session:
    return await shop.client(Sessions).login(EMAIL, password)


async def in_browser(shop: RunningShop, password: str = OLD) -> str:
    return browser_mark((await shop.client(BrowserSessions, as_=SERVICE).begin(EMAIL, password)).token)


async def alive(shop: RunningShop, session: Session | str) -> bool:
    try:
        if isinstance(session, str):
            await shop.client(BrowserSessions, as_=SERVICE).visitor(session)
        else:
            await shop.client(Sessions).refresh(session.refresh_token)
    except SessionEndedError:
        return False
    return True


async def test_a_new_password_opens_and_the_old_one_does_not(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await shop.client(UserWrite, as_=ann).change_password(OLD, NEW)
        with pytest.raises(SignInError):
            await signed_in(shop)
        await signed_in(shop, NEW)


async def test_this_session_stays_and_every_other_ends(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await shop.register("bob@example.com")
        bobs = await shop.client(Sessions).login("bob@example.com", OLD)
        here, there = await signed_in(shop), await signed_in(shop)
        mine, other = await in_browser(shop), await in_browser(shop)
        await shop.client(UserWrite, as_=ann).change_password(OLD, NEW, here.refresh_token, mine)
        assert [await alive(shop, each) for each in (here, mine, there, other, bobs)] == [
            True,
            True,
            False,
            False,
            True,
        ]


async def test_the_session_of_somebody_else_is_not_kept_by_naming_it(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, session, mark = await shop.register(EMAIL), await signed_in(shop), await in_browser(shop)
        await shop.register("bob@example.com")
        bobs = await shop.client(Sessions).login("bob@example.com", OLD)
        await shop.client(UserWrite, as_=ann).change_password(OLD, NEW, bobs.refresh_token, "0" * 64)
        assert [await alive(shop, each) for each in (session, mark, bobs)] == [False, False, True]


async def test_what_is_refused_changes_nothing_and_is_told_to_nobody(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, mark = await shop.register(EMAIL), await in_browser(shop)
        write = shop.client(UserWrite, as_=ann)
        with pytest.raises(WrongPasswordError):
            await write.change_password("a wrong evening", NEW)
        for guessed in ("password1234", EMAIL, "aaaaaaaaaaaa"):
            with pytest.raises(WeakPasswordError):
                await write.change_password(OLD, guessed)
        for short in ("short", "x" * 201):
            with pytest.raises(RequestInvalidError):
                await write.change_password(OLD, short)
        with pytest.raises(NotSignedInError):
            await shop.client(UserWrite).change_password(OLD, NEW)
        with pytest.raises(UserUnknownError):
            await shop.client(UserWrite, as_=Principal("0" * 32, frozenset({"customer"}))).change_password(OLD, NEW)
        assert await alive(shop, mark)
        await signed_in(shop)
        await shop.at_rest()
    assert list((tmp_path / "mails").iterdir()) == []


async def test_one_mail_tells_of_it_in_the_language_of_the_account(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await shop.client(UserWrite, as_=ann).prefer("de", "auto")
        await shop.client(UserWrite, as_=ann).change_password(OLD, NEW)
        await shop.at_rest()
        assert await shop.database("notifications").all(str, "SELECT id FROM mails") == []
    [mail] = (tmp_path / "mails").iterdir()
    assert "To: ann@example.com" in mail.read_text()
    assert "Passwort" in mail.read_text()
    assert "X-Archstone-Order" not in mail.read_text()


@pytest.mark.both_databases
async def test_of_two_changes_at_once_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked, verify, calls = asyncio.Barrier(2), Passwords.verify, count(1)

    async def together(self: Passwords, stored: str | None, password: str) -> Verdict:
        verdict = await verify(self, stored, password)
        if next(calls) <= 2:  # where transactions run at once, the one that is lost runs again, alone
            await checked.wait()
        return verdict

    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        with monkeypatch.context() as patch:
            patch.setattr(Passwords, "verify", together)
            write = shop.client(UserWrite, as_=ann)
            ends = await asyncio.gather(
                *(write.change_password(OLD, f"{NEW} {n}") for n in range(2)), return_exceptions=True
            )
        assert sorted(type(each).__name__ for each in ends) == ["NoneType", "WrongPasswordError"]
        await shop.at_rest()
    assert len(list((tmp_path / "mails").iterdir())) == 1


async def test_who_comes_when_the_line_for_hashing_is_full_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: Passwords, password: str) -> str:
        del self, password
        raise PasswordsBusyError(64, 64, 1.0)

    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        monkeypatch.setattr(Passwords, "hash", full)
        with pytest.raises(RejectedError, match="passwords-busy"):
            await shop.client(UserWrite, as_=ann).change_password(OLD, NEW)
        await signed_in(shop)


async def test_no_quick_digest_of_a_password_is_kept(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await shop.client(UserWrite, as_=ann).change_password(OLD, NEW)
        assert await shop.database("users").all(str, "SELECT key FROM _archstone_keys") == []


async def asked(run: Embedded, method: str, path: str, body: Any, token: str = "") -> tuple[int, Any]:
    headers = [("host", "shop.test"), ("content-type", "application/json")]
    if token:
        headers.append(("authorization", f"Bearer {token}"))
    answer = await ask(run.asgi, method, f"/api/v1{path}", headers=headers, body=json.dumps(body).encode())
    return answer.status, json.loads(answer.body) if answer.body else None


async def test_over_http_the_password_changes_and_the_next_session_comes_by_the_kept_token(run: Embedded) -> None:
    await asked(run, "POST", "/users", {"email": EMAIL, "password": OLD, "name": "Ann"})
    _, session = await asked(run, "POST", "/sessions", {"email": EMAIL, "password": OLD})
    token, body = session["access_token"], {"current": OLD, "new": NEW, "refresh_token": session["refresh_token"]}
    assert (await asked(run, "PUT", "/users/me/password", body))[0] == 401
    status, problem = await asked(run, "PUT", "/users/me/password", {**body, "current": NEW}, token)
    assert (status, problem["type"]) == (403, "urn:archstone:error:users.wrong-password")
    assert await asked(run, "PUT", "/users/me/password", body, token) == (204, None)
    assert (await asked(run, "POST", "/sessions/refresh", {"refresh_token": body["refresh_token"]}))[0] == 200
    assert (await asked(run, "POST", "/sessions", {"email": EMAIL, "password": NEW}))[0] == 200


async def test_the_page_changes_the_password_and_signs_the_phone_out(run: Embedded) -> None:
    ann, phone = await registered(Browser(run.asgi)), Browser(run.asgi)
    await phone.post("/login", {"email": EMAIL, "password": OLD})
    answer = await ann.submit(await ann.get("/account"), "/account/password", current=OLD, new=NEW)
    assert "Your password is changed." in (await ann.follow(answer)).text
    assert [(await browser.get("/account")).status for browser in (ann, phone)] == [200, 303]
    again = Browser(run.asgi)
    assert (await again.post("/login", {"email": EMAIL, "password": NEW})).status == 303


@pytest.mark.parametrize(
    ("current", "new", "field", "told"),
    [
        ("a wrong evening", NEW, "current", "This is not the password that you have now."),
        (OLD, "short", "new", "Please choose a password of 8 to 200 characters."),
        (OLD, "password1234", "new", "is on every list of stolen passwords"),
    ],
)
async def test_what_is_wrong_is_told_beside_its_field_and_no_password_comes_back(
    run: Embedded, current: str, new: str, field: str, told: str
) -> None:
    ann = await registered(Browser(run.asgi))
    answer = await ann.submit(await ann.get("/account"), "/account/password", current=current, new=new)
    assert answer.status == 422
    assert told in answer.text
    assert f'aria-describedby="{field}-fault"' in answer.html
    assert not {f'value="{current}"', f'value="{new}"'} & set(answer.html.split())
    assert current not in answer.html


async def test_guessing_the_password_that_is_asked_for_is_slowed_down_as_signing_in_is(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    page = await ann.get("/account")
    statuses = [(await ann.submit(page, "/account/password", current=f"guess {n}", new=NEW)).status for n in range(11)]
    assert statuses == [422] * 10 + [429]
    slowed = await ann.submit(page, "/account/password", current=OLD, new=NEW)
    assert "Too many attempts" in slowed.text
    assert int(slowed.headers["retry-after"]) >= 1


async def test_the_user_is_still_who_they_were(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        before = await shop.client(UserRead, as_=ann).me()
        await shop.client(UserWrite, as_=ann).change_password(OLD, NEW)
        assert await shop.client(UserRead, as_=ann).me() == before
