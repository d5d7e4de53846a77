"""An account is deleted: what is known of the person is gone, what the books need stays, the address is free."""

from pathlib import Path

import pytest
from pages_browser import ROOT, Browser, an_admin, registered
from shop_database import faults_in
from wiring import SERVICE, running, running_shop

from archstone.runtime import Embedded
from archstone.systems.shop.carts.contract import Carts
from archstone.systems.shop.notifications.contract import Mails
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.system import shop as the_shop
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    LastAdminError,
    SessionEndedError,
    Sessions,
    SignInError,
    UserAdmin,
    UserRead,
    UserUnknownError,
    UserWrite,
    WrongPasswordError,
    browser_mark,
)

PASSWORD = "a quiet evening"
EMAIL = "ann@example.com"
TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}


async def test_what_is_known_of_a_person_is_gone_and_every_session_with_it(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL, "Ann Alder")
        await shop.client(UserWrite, as_=ann).prefer("de", "dark")
        session = await shop.client(Sessions).login(EMAIL, PASSWORD)
        browser = await shop.client(BrowserSessions, as_=SERVICE).begin(EMAIL, PASSWORD)
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        with pytest.raises(SignInError):
            await shop.client(Sessions).login(EMAIL, PASSWORD)
        with pytest.raises(SessionEndedError):
            await shop.client(Sessions).refresh(session.refresh_token)
        with pytest.raises(SessionEndedError):
            await shop.client(BrowserSessions, as_=SERVICE).visitor(browser_mark(browser.token))


async def test_no_row_of_the_users_holds_the_person_any_more(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL, "Ann Alder")
        await shop.client(UserAdmin, as_=ROOT).deactivate(ann.id, "said rude things")
        await shop.client(UserAdmin, as_=ROOT).reactivate(ann.id)
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        await shop.at_rest()
        db = shop.database("users")
        tables = [each for each in await db.all(str, TABLES[db.dialect]) if not each.startswith("sqlite_")]
        assert {"users", "_archstone_keys"} <= set(tables)
        told = {each: str(await db.all(dict, f"SELECT * FROM {each}")) for each in tables}
        assert [each for each, text in told.items() for word in ("Ann Alder", EMAIL, "rude") if word in text] == []
        gone = await shop.client(UserAdmin, as_=ROOT).user(ann.id)
        assert (gone.email, gone.name, gone.active, gone.deleted, gone.roles) == ("", "", False, True, ())


async def test_the_address_can_be_registered_again_by_somebody_new(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        order = await shop.place(ann, ("KIT-001", 1))
        await shop.ended(ann, order)
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        again = await shop.register(EMAIL, "Another")
        assert again.id != ann.id
        assert (await shop.client(Orders, as_=again).orders_of(again.id)).items == ()
        assert (await shop.client(UserRead, as_=again).me()).name == "Another"
        await shop.client(UserWrite, as_=again).delete_account(PASSWORD)
        await shop.register(EMAIL)


async def test_orders_stay_and_the_cart_and_the_address_of_mails_go(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        order = await shop.place(ann, ("KIT-001", 1))
        await shop.ended(ann, order)
        await shop.client(Carts, as_=ann).put("me", "KIT-002", 3)
        await shop.at_rest()
        mails = shop.client(Mails, as_=ROOT)
        assert [each.to for each in await mails.mails_of(order)] == [EMAIL]
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        await shop.at_rest()
        assert [each.to for each in await mails.mails_of(order)] == [""]
        assert await shop.database("carts").all(str, "SELECT owner FROM carts") == []
        assert await shop.database("carts").all(str, "SELECT owner FROM lines") == []
        kept = await shop.client(Orders, as_=ROOT).order(order)
        assert kept.status == "confirmed"


async def test_a_mail_that_comes_too_late_for_the_account_is_written_to_nobody(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        order = await shop.place(ann, ("KIT-001", 1), token="tok_flaky")
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        await shop.ended(ann, order)
        await shop.at_rest()
        sagas = await shop.database("notifications").all(str, "SELECT status FROM _archstone_sagas")
        assert set(sagas) <= {"done"}
    assert list((tmp_path / "mails").iterdir()) == []
    assert faults_in(tmp_path) == []


async def test_what_is_refused_deletes_nothing(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        with pytest.raises(WrongPasswordError):
            await shop.client(UserWrite, as_=ann).delete_account("a wrong evening")
        await shop.client(UserAdmin, as_=ROOT).grant(EMAIL, "admin")
        with pytest.raises(LastAdminError):
            await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        assert (await shop.client(UserRead, as_=ann).me()).email == EMAIL
        await shop.register("bob@example.com")
        await shop.client(UserAdmin, as_=ROOT).grant("bob@example.com", "admin")
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)


async def test_an_account_that_is_gone_stays_gone(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        write, read, admin = (shop.client(each, as_=ann) for each in (UserWrite, UserRead, UserAdmin))
        await write.delete_account(PASSWORD)
        admin = shop.client(UserAdmin, as_=ROOT)
        for late in (
            lambda: write.delete_account(PASSWORD),
            lambda: write.rename("Ann"),
            lambda: write.prefer("de", "dark"),
            lambda: write.change_password(PASSWORD, "a louder morning"),
            read.me,
            read.preferences,
            lambda: admin.reactivate(ann.id),
            lambda: admin.deactivate(ann.id, "again"),
        ):
            with pytest.raises(UserUnknownError):
                await late()
        assert (await admin.users()).items == ()
        assert await admin.user_with(EMAIL) is None


async def test_the_page_says_what_goes_and_what_stays_and_then_it_is_done(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    assert "/account/delete" in (await ann.get("/account")).html
    page = await ann.get("/account/delete")
    assert "We erase your name" in page.text
    assert "We keep your orders" in page.text
    wrong = await ann.submit(page, "/account/delete", password="a wrong evening")
    assert (wrong.status, "This is not your password. Nothing has been deleted." in wrong.text) == (422, True)
    assert "a wrong evening" not in wrong.html
    long = await ann.submit(page, "/account/delete", password="x" * 201)
    assert (long.status, "Nothing has been deleted" in long.text) == (422, True)
    done = await ann.submit(page, "/account/delete", password=PASSWORD)
    assert "Your account is deleted." in (await ann.follow(done)).text
    assert ann.cookies == {}
    await registered(ann)


async def test_the_last_administrator_is_told_why_not(run: Embedded) -> None:
    root = await an_admin(run)
    answer = await root.submit(await root.get("/account/delete"), "/account/delete", password=PASSWORD)
    assert (answer.status, "You are the last administrator" in answer.text) == (409, True)
    assert (await root.get("/admin/users")).status == 200


async def test_guessing_the_password_here_is_slowed_down_as_well(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    page = await ann.get("/account/delete")
    statuses = [(await ann.submit(page, "/account/delete", password=f"guess {n}")).status for n in range(11)]
    assert statuses == [422] * 10 + [429]


async def test_an_administrator_sees_a_number_without_a_person(run: Embedded) -> None:
    ann, root = await registered(Browser(run.asgi)), await an_admin(run)
    user = await run.client(UserAdmin, as_=ROOT).user_with(EMAIL)
    assert user is not None
    await ann.submit(await ann.get("/account/delete"), "/account/delete", password=PASSWORD)
    page = await root.get(f"/admin/users/{user.id}")
    assert page.status == 200
    assert "Deleted by its owner" in page.text
    assert EMAIL not in page.html
    assert not {form.action for form in page.forms} & {
        f"/admin/users/{user.id}/{what}" for what in ("grant", "close", "open", "withdraw")
    }
    assert (await root.post(f"/admin/users/{user.id}/open", {})).status == 404
    assert EMAIL not in (await root.get("/admin/users")).html


async def test_a_deletion_outlives_a_restart(tmp_path: Path) -> None:
    async with running(the_shop, data=tmp_path) as run:
        ann = await registered(Browser(run.asgi))
        await ann.submit(await ann.get("/account/delete"), "/account/delete", password=PASSWORD)
    async with running(the_shop, data=tmp_path) as run:
        guest = Browser(run.asgi)
        assert (await guest.post("/login", {"email": EMAIL, "password": PASSWORD})).status == 422
