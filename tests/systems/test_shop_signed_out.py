"""Access tokens of sessions that have ended: refused from that moment on, and no others."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from wiring import RunningShop, running_shop

from archstone.context import Principal
from archstone.security import DatabaseRevocations, Revocations, TokenError, Tokens
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    Session,
    SessionEndedError,
    Sessions,
    UserAdmin,
    UserWrite,
)
from archstone.systems.shop.users.service import UsersService

ADMIN = Principal("a" * 32, frozenset({"admin"}))
PAGES = Principal("service:pages", frozenset({"service"}))
PASSWORD = "a quiet evening"
EMAIL = "ann@example.com"


def users_of(shop: RunningShop) -> UsersService:
    service = shop.dispatchers["users"].service
    assert isinstance(service, UsersService)
    return service


def good(tokens: Tokens, session: Session) -> bool:
    try:
        return bool(tokens.verify(session.access_token))
    except TokenError as error:
        return "revoked" not in str(error)


async def deactivated(shop: RunningShop, ann: Principal, mine: Session) -> None:
    await shop.client(UserAdmin, as_=ADMIN).deactivate(ann.id, "Asked for it")


async def withdrawn(shop: RunningShop, ann: Principal, mine: Session) -> None:
    admin = shop.client(UserAdmin, as_=ADMIN)
    await shop.register("root@example.com")
    await admin.grant("root@example.com", "admin")  # there must always be one
    await admin.grant(EMAIL, "admin")
    await admin.withdraw(EMAIL, "admin")


async def everywhere(shop: RunningShop, ann: Principal, mine: Session) -> None:
    await shop.client(BrowserSessions, as_=PAGES).end_all(ann.id)


async def changed(shop: RunningShop, ann: Principal, mine: Session) -> None:
    await shop.client(UserWrite, as_=ann).change_password(PASSWORD, "another quiet evening")


async def deleted(shop: RunningShop, ann: Principal, mine: Session) -> None:
    await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)


async def copied(shop: RunningShop, ann: Principal, mine: Session) -> None:
    sessions = shop.client(Sessions)
    await sessions.refresh(mine.refresh_token)
    with pytest.raises(SessionEndedError):
        await sessions.refresh(mine.refresh_token)
    await asyncio.sleep(1)  # in a transaction of its own


@pytest.mark.both_databases
@pytest.mark.parametrize("end", [deactivated, withdrawn, everywhere, changed, deleted, copied])
async def test_what_ends_sessions_ends_their_access_tokens_at_once(
    tmp_path: Path, end: Callable[[RunningShop, Principal, Session], Awaitable[None]]
) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob = await shop.register(EMAIL), await shop.register("bob@example.com")
        tokens = users_of(shop).tokens
        mine = await shop.client(Sessions).login(EMAIL, PASSWORD)
        bobs = await shop.client(Sessions).login("bob@example.com", PASSWORD)
        assert (good(tokens, mine), good(tokens, bobs)) == (True, True)
        await end(shop, ann, mine)
        assert (good(tokens, mine), good(tokens, bobs)) == (False, True)
        assert bob.id == tokens.verify(bobs.access_token).principal.id


async def test_who_changes_the_password_stays_signed_in_there_and_nowhere_else(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        tokens, sessions = users_of(shop).tokens, shop.client(Sessions)
        here, there = await sessions.login(EMAIL, PASSWORD), await sessions.login(EMAIL, PASSWORD)
        await shop.client(UserWrite, as_=ann).change_password(
            PASSWORD, "another quiet evening", refresh_token=here.refresh_token
        )
        assert (good(tokens, here), good(tokens, there)) == (True, False)
        # In the same second: an instant of the token would not tell it from those before.
        again = await sessions.login(EMAIL, "another quiet evening")
        assert good(tokens, again)


async def test_signing_out_ends_the_access_tokens_of_that_session(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register(EMAIL)
        tokens, sessions = users_of(shop).tokens, shop.client(Sessions)
        here, there = await sessions.login(EMAIL, PASSWORD), await sessions.login(EMAIL, PASSWORD)
        renewed = await sessions.refresh(here.refresh_token)
        await sessions.logout(renewed.refresh_token)
        assert [good(tokens, each) for each in (here, renewed, there)] == [False, False, True]


async def test_a_command_that_fails_ends_nothing(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await shop.client(UserAdmin, as_=ADMIN).grant(EMAIL, "admin")
        mine = await shop.client(Sessions).login(EMAIL, PASSWORD)
        with pytest.raises(Exception, match="admin"):  # the last one
            await shop.client(UserAdmin, as_=ADMIN).withdraw(EMAIL, "admin")
        assert good(users_of(shop).tokens, mine)
        assert ann.id


@pytest.mark.both_databases
async def test_other_processes_and_the_next_run_know_as_well(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        users = users_of(shop)
        mine = await shop.client(Sessions).login(EMAIL, PASSWORD)
        claims = users.tokens.verify(mine.access_token)
        async with Revocations(DatabaseRevocations(users.db), refresh_s=0.5) as elsewhere:
            assert not elsewhere.is_revoked(claims)
            await shop.client(BrowserSessions, as_=PAGES).end_all(ann.id)
            if users.db.shared:
                await asyncio.sleep(1.0)
                assert elsewhere.is_revoked(claims)
        async with Revocations(DatabaseRevocations(users.db)) as later:
            assert later.is_revoked(claims)


async def test_what_was_taken_back_is_forgotten_once_it_has_expired(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await shop.client(Sessions).login(EMAIL, PASSWORD)
        await shop.client(BrowserSessions, as_=PAGES).end_all(ann.id)
        db = shop.database("users")
        assert await db.one(int, "SELECT count(*) FROM _archstone_revocations") == 1
        await db.execute("UPDATE _archstone_revocations SET expires_at = 1")
        await db.run(lambda tx: users_of(shop)._revoked.sweep(tx=tx))
        assert await db.one(int, "SELECT count(*) FROM _archstone_revocations") == 0


async def test_whose_refresh_token_was_used_twice_is_on_record(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        mine = await shop.client(Sessions).login(EMAIL, PASSWORD)
        await copied(shop, Principal(ann.id, frozenset({"customer"})), mine)
        (told,) = await users_of(shop).audits.system.entries(action="users.refresh-token-reused", limit=5)
        assert (told.subject, told.outcome) == (ann.id, "denied")
