"""Users: registration, sign-in that tells nothing, sessions that are used once, roles."""

import asyncio
from pathlib import Path

import pytest
from wiring import RunningShop, running_shop

from archstone.context import Principal
from archstone.security import Passwords, TokenExpiredError, Tokens, Verdict
from archstone.services import ForbiddenError, NotSignedInError, RequestInvalidError, options
from archstone.systems.shop.analytics.contract import Analytics
from archstone.systems.shop.users.contract import (
    EmailTakenError,
    SessionEndedError,
    Sessions,
    SignInError,
    UserAdmin,
    UserRead,
    UserUnknownError,
    UserWrite,
    WeakPasswordError,
)

ADMIN = Principal("service:console", frozenset({"admin"}))


def tokens_of(shop: RunningShop) -> Tokens:
    return shop.dispatchers["users"].service.tokens  # type: ignore[attr-defined]


async def test_who_registers_can_sign_in_and_is_a_customer(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        user = await shop.client(UserWrite).register("Ann@Example.com", "a quiet evening", "Ann")
        session = await shop.client(Sessions).login("ann@EXAMPLE.com", "a quiet evening")
        principal = tokens_of(shop).verify(session.access_token).principal
        assert principal == Principal(user.id, frozenset({"customer"}))
        assert session.expires_in == 900
        me = await shop.client(UserRead, as_=principal).me()
        assert me == user
        assert (me.email, me.roles) == ("ann@example.com", ("customer",))


async def test_an_address_registers_once_whatever_its_case(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        with pytest.raises(EmailTakenError):
            await shop.client(UserWrite).register("ANN@example.com", "another evening", "Ann")


@pytest.mark.parametrize("password", ["aaaaaaaaaaaa", "password1234", "QWERTYUIOP", "ann@example.com"])
async def test_a_password_that_is_guessed_first_is_refused(tmp_path: Path, password: str) -> None:
    async with running_shop(tmp_path) as shop:
        with pytest.raises(WeakPasswordError):
            await shop.client(UserWrite).register("ann@example.com", password, "Ann")


async def test_a_short_password_or_a_broken_address_breaks_the_contract(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        with pytest.raises(RequestInvalidError, match="password"):
            await shop.client(UserWrite).register("ann@example.com", "short", "Ann")
        with pytest.raises(RequestInvalidError, match="email"):
            await shop.client(UserWrite).register("ann", "a quiet evening", "Ann")


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        told = []
        for email in ("ann@example.com", "nobody@example.com"):
            with pytest.raises(SignInError) as caught:
                await shop.client(Sessions).login(email, "wrong password")
            told.append((str(caught.value), caught.value.args))
        assert told[0] == told[1]


async def test_a_refresh_token_is_good_once_and_a_copy_ends_the_session(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        sessions = shop.client(Sessions)
        first = await sessions.login("ann@example.com", "a quiet evening")
        second = await sessions.refresh(first.refresh_token)
        with pytest.raises(SessionEndedError):
            await sessions.refresh(first.refresh_token)
        await asyncio.sleep(1)
        with pytest.raises(SessionEndedError):
            await sessions.refresh(second.refresh_token)
        with pytest.raises(SessionEndedError):
            await sessions.refresh("rt_nonsense")


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_who_signs_out_or_waits_a_week_must_sign_in_again(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        sessions = shop.client(Sessions)
        first = await sessions.login("ann@example.com", "a quiet evening")
        await sessions.logout(first.refresh_token)
        await sessions.logout("rt_nonsense")
        with pytest.raises(SessionEndedError):
            await sessions.refresh(first.refresh_token)
        second = await sessions.login("ann@example.com", "a quiet evening")
        await asyncio.sleep(900)
        with pytest.raises(TokenExpiredError):
            tokens_of(shop).verify(second.access_token)
        await shop.database("users").execute("UPDATE _archstone_refresh_tokens SET expires_at = 1")
        with pytest.raises(SessionEndedError):
            await sessions.refresh(second.refresh_token)


async def test_an_admin_grants_and_withdraws_roles_and_lists_users(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        for name in "abcde":
            await shop.register(f"{name}@example.com")
            await asyncio.sleep(0.001)
        admin = shop.client(UserAdmin, as_=ADMIN)
        await admin.grant("e@example.com", "admin")  # there must always be one
        assert (await admin.grant("a@example.com", "admin")).roles == ("admin", "customer")
        assert (await admin.grant("a@example.com", "admin")).roles == ("admin", "customer")
        session = await shop.client(Sessions).login("a@example.com", "a quiet evening")
        assert "admin" in tokens_of(shop).verify(session.access_token).principal.roles
        assert (await admin.withdraw("a@example.com", "admin")).roles == ("customer",)
        with pytest.raises(SessionEndedError):
            await shop.client(Sessions).refresh(session.refresh_token)
        with pytest.raises(UserUnknownError):
            await admin.grant("nobody@example.com", "admin")
        page = await admin.users(limit=3)
        rest = await admin.users(limit=3, cursor=page.next_cursor)
        assert [user.email[0] for user in page.items + rest.items] == list("abcde")
        assert rest.next_cursor is None


async def test_what_asks_for_a_role_refuses_those_without(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        with pytest.raises(ForbiddenError):
            await shop.client(UserAdmin, as_=ann).users()
        with pytest.raises(ForbiddenError):
            await shop.client(Analytics, as_=ann).summary()
        with pytest.raises(ForbiddenError):
            await shop.client(UserRead, as_=ann).contact(ann.id)
        with pytest.raises(NotSignedInError):
            await shop.client(UserRead).me()


async def test_profile_and_preferences_change_and_the_mail_speaks_the_language(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        write = shop.client(UserWrite, as_=ann)
        assert (await write.rename("Änne")).name == "Änne"
        await write.prefer("de", "dark")
        preferences = await shop.client(UserRead, as_=ann).preferences()
        assert (preferences.language, preferences.theme) == ("de", "dark")
        await shop.ended(ann, await shop.place(ann, ("KIT-001", 1)))
        await shop.at_rest()
    [mail] = (tmp_path / "mails").iterdir()
    assert "Guten Tag Änne," in mail.read_text()


async def test_a_role_withdrawn_during_the_check_of_the_password_is_not_in_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking, withdrawn, verify = asyncio.Event(), asyncio.Event(), Passwords.verify

    async def slow(self: Passwords, stored: str | None, password: str) -> Verdict:
        checking.set()
        await withdrawn.wait()
        return await verify(self, stored, password)

    monkeypatch.setattr(Passwords, "verify", slow)
    async with running_shop(tmp_path) as shop:
        await shop.client(UserWrite).register("eve@example.com", "a quiet evening", "Eve")
        await shop.register("ann@example.com")
        for email in ("ann@example.com", "eve@example.com"):
            await shop.client(UserAdmin, as_=ADMIN).grant(email, "admin")
        login = asyncio.create_task(shop.client(Sessions).login("eve@example.com", "a quiet evening"))
        await checking.wait()
        await shop.client(UserAdmin, as_=ADMIN).withdraw("eve@example.com", "admin")
        withdrawn.set()
        session = await login
        assert tokens_of(shop).verify(session.access_token).principal.roles == {"customer"}


async def test_the_database_of_users_holds_no_quick_digest_of_a_password(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        who = ("ann@example.com", "a quiet evening", "Ann")
        await options(shop.client(UserWrite), key="registration-1").register(*who)
        db = shop.dispatchers["users"].service.db
        assert await db.all(str, "SELECT key FROM _archstone_keys") == []
