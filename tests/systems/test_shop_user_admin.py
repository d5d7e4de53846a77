"""Accounts in the hands of administrators: found, closed and opened, with a trace, and never without the last one."""

import asyncio
from pathlib import Path

import pytest
from wiring import SERVICE, RunningShop, running_shop

from archstone.context import Principal
from archstone.services import ForbiddenError
from archstone.systems.shop.orders.administration import OrderAdmin
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    DeactivatedError,
    LastAdminError,
    SessionEndedError,
    Sessions,
    SignInError,
    UserAdmin,
    UserUnknownError,
    browser_mark,
)

ADMIN = Principal("a" * 32, frozenset({"admin"}))
PASSWORD = "a quiet evening"


async def people(shop: RunningShop) -> list[Principal]:
    registered = []
    for email, name in (("ann@example.com", "Ann Alder"), ("bob@sample.org", "Bob Öhm"), ("cleo@example.com", "Cleo")):
        registered.append(await shop.register(email, name))
        await asyncio.sleep(0.001)
    return registered


@pytest.mark.both_databases
async def test_users_are_found_by_name_address_role_and_state(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob, cleo = await people(shop)
        admin = shop.client(UserAdmin, as_=ADMIN)
        await admin.grant("cleo@example.com", "admin")
        await admin.deactivate(bob.id, "Asked for it")

        async def found(**wanted: object) -> list[str]:
            return [user.id for user in (await admin.users(**wanted)).items]  # type: ignore[arg-type] - parameters by name

        assert await found() == [ann.id, bob.id, cleo.id]
        assert await found(search="EXAMPLE") == [ann.id, cleo.id]
        assert await found(search="alder") == [ann.id]
        assert await found(search="Öhm") == [bob.id]
        assert await found(search="%") == []
        assert await found(role="admin") == [cleo.id]
        assert await found(active=False) == [bob.id]
        assert await found(search="example", active=True, role="customer") == [ann.id, cleo.id]
        page = await admin.users(search="example", limit=1)
        assert [user.id for user in (await admin.users(search="example", cursor=page.next_cursor)).items] == [cleo.id]
        with pytest.raises(BadCursorError):
            await admin.users(cursor=page.next_cursor)
        assert (await admin.user(ann.id)).email == "ann@example.com"
        with pytest.raises(UserUnknownError):
            await admin.user("f" * 32)
        with pytest.raises(ForbiddenError):
            await shop.client(UserAdmin, as_=ann).user(bob.id)


async def test_a_closed_account_has_no_sessions_and_opens_none_until_it_is_opened(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, _, _ = await people(shop)
        sessions, browsers = shop.client(Sessions), shop.client(BrowserSessions, as_=SERVICE)
        program = await sessions.login("ann@example.com", PASSWORD)
        browser = await browsers.begin("ann@example.com", PASSWORD)
        admin = shop.client(UserAdmin, as_=ADMIN)
        assert not (await admin.deactivate(ann.id, "Fraud")).active
        with pytest.raises(SessionEndedError):
            await sessions.refresh(program.refresh_token)
        with pytest.raises(SessionEndedError):
            await browsers.visitor(browser_mark(browser.token))
        for begin in (sessions.login, browsers.begin):
            with pytest.raises(DeactivatedError):
                await begin("ann@example.com", PASSWORD)
            with pytest.raises(SignInError) as caught:
                await begin("ann@example.com", "something else")
            assert not isinstance(caught.value, DeactivatedError)
        assert (await admin.reactivate(ann.id)).active
        await sessions.login("ann@example.com", PASSWORD)


async def test_every_change_of_an_account_is_told_once_newest_first(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, _, _ = await people(shop)
        admin = shop.client(UserAdmin, as_=ADMIN)
        await admin.grant("bob@sample.org", "admin")
        for _ in range(2):
            await admin.grant("ann@example.com", "admin")
        for _ in range(2):
            await admin.withdraw("ann@example.com", "admin")
        for _ in range(2):
            await admin.deactivate(ann.id, "Asked for it")
        for _ in range(2):
            await admin.reactivate(ann.id)
        changes = await admin.user_changes(ann.id)
        assert [(each.what, each.role, each.reason) for each in changes.items] == [
            ("reactivated", None, None), ("deactivated", None, "Asked for it"),
            ("withdrawn", "admin", None), ("granted", "admin", None),
        ]  # fmt: skip
        assert {each.by for each in changes.items} == {ADMIN.id}
        page = await admin.user_changes(ann.id, limit=3)
        rest = await admin.user_changes(ann.id, limit=3, cursor=page.next_cursor)
        assert page.items + rest.items == changes.items
        with pytest.raises(UserUnknownError):
            await admin.user_changes("f" * 32)


async def test_the_last_administrator_who_can_sign_in_stays(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob, _ = await people(shop)
        admin = shop.client(UserAdmin, as_=ADMIN)
        for email in ("ann@example.com", "bob@sample.org"):
            await admin.grant(email, "admin")
        await admin.deactivate(bob.id, "On holiday")
        with pytest.raises(LastAdminError):
            await admin.withdraw("ann@example.com", "admin")
        with pytest.raises(LastAdminError):
            await admin.deactivate(ann.id, "Left")
        await admin.withdraw("bob@sample.org", "admin")  # closed already, so nothing is lost
        assert (await admin.user(ann.id)).roles == ("admin", "customer")
        await admin.grant("cleo@example.com", "admin")
        outcomes = await asyncio.gather(
            admin.withdraw("ann@example.com", "admin"), admin.withdraw("cleo@example.com", "admin"),
            return_exceptions=True,
        )  # fmt: skip
        assert [isinstance(each, LastAdminError) for each in outcomes].count(True) == 1
        assert len((await admin.users(role="admin", active=True)).items) == 1


async def test_orders_are_found_by_the_address_of_the_customer(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob, _ = await people(shop)
        placed = await shop.place(ann, ("KIT-001", 1))
        await shop.place(bob, ("KIT-001", 1))
        admin = shop.client(OrderAdmin, as_=ADMIN)
        assert [each.id for each in (await admin.orders(customer=" Ann@Example.com ".strip())).items] == [placed]
        for nobody in ("nobody@example.com", "@", "f" * 32):
            assert (await admin.orders(customer=nobody)).items == ()
        await shop.at_rest()
