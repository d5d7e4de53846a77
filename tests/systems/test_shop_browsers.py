"""Sessions of browsers: used again and again, ended at once, over by themselves."""

from pathlib import Path

import pytest
from wiring import SERVICE, RunningShop, running_shop

from archstone.context import Principal
from archstone.services import ForbiddenError, periodic
from archstone.systems.shop.users.browsers import IDLE_S, LONGEST_S, MAX_EACH, RENEW_AFTER_S
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    SessionEndedError,
    Sessions,
    SignInError,
    UserAdmin,
    browser_mark,
)

PASSWORD = "a quiet evening"
ADMIN = Principal("service:console", frozenset({"admin"}))


async def begun(shop: RunningShop, instead_of: str | None = None) -> str:
    session = await shop.client(BrowserSessions, as_=SERVICE).begin("ann@example.com", PASSWORD, instead_of)
    return browser_mark(session.token)


async def alive(shop: RunningShop, mark: str) -> bool:
    try:
        await shop.client(BrowserSessions, as_=SERVICE).visitor(mark)
    except SessionEndedError:
        return False
    return True


async def aged(shop: RunningShop, *, seen_s: float = 0, begun_s: float = 0) -> None:
    await shop.database("users").execute(
        "UPDATE browser_sessions SET seen_at = seen_at - :seen, begun_at = begun_at - :begun",
        seen=round(seen_s * 1e6), begun=round(begun_s * 1e6),
    )  # fmt: skip


async def test_a_session_says_who_is_there_as_often_as_it_is_asked(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        mark = await begun(shop)
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        for _ in range(2):
            visitor = await browsers.visitor(mark)
            assert (visitor.user.id, visitor.user.roles, visitor.renew) == (ann.id, ("customer",), False)
        with pytest.raises(SignInError):
            await browsers.begin("ann@example.com", "another evening")


async def test_only_the_pages_may_ask(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        with pytest.raises(ForbiddenError):
            await shop.client(BrowserSessions, as_=ann).begin("ann@example.com", PASSWORD)


async def test_the_token_is_not_in_the_file(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        session = await shop.client(BrowserSessions, as_=SERVICE).begin("ann@example.com", PASSWORD)
        kept = await shop.database("users").one(str, "SELECT mark FROM browser_sessions")
        assert kept == browser_mark(session.token) != session.token


async def test_signing_in_again_ends_what_the_browser_had(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        first, other = await begun(shop), await begun(shop)
        second = await begun(shop, first)
        assert [await alive(shop, mark) for mark in (first, other, second)] == [False, True, True]


async def test_ending_one_leaves_the_others_and_ending_all_leaves_none(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        one, two = await begun(shop), await begun(shop)
        await browsers.end(one)
        await browsers.end(one)
        assert [await alive(shop, mark) for mark in (one, two)] == [False, True]
        program = await shop.client(Sessions).login("ann@example.com", PASSWORD)
        await browsers.end_all(ann.id)
        assert not await alive(shop, two)
        with pytest.raises(SessionEndedError):
            await shop.client(Sessions).refresh(program.refresh_token)


async def test_withdrawing_a_role_ends_the_sessions_and_granting_holds_at_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        mark = await begun(shop)
        admin = shop.client(UserAdmin, as_=ADMIN)
        await shop.register("bob@example.com")
        await admin.grant("bob@example.com", "admin")
        await admin.grant("ann@example.com", "admin")
        visitor = await shop.client(BrowserSessions, as_=SERVICE).visitor(mark)
        assert visitor.user.roles == ("admin", "customer")
        await admin.withdraw("ann@example.com", "admin")
        assert not await alive(shop, mark)


async def test_an_idle_session_ends_unless_its_visits_are_written_down(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        mark = await begun(shop)
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        await aged(shop, seen_s=RENEW_AFTER_S + 1)
        assert (await browsers.visitor(mark)).renew
        await browsers.renew(mark)
        assert not (await browsers.visitor(mark)).renew
        await aged(shop, seen_s=IDLE_S)
        assert not await alive(shop, mark)
        await browsers.renew(mark)
        assert not await alive(shop, mark), "what has ended does not begin again"


async def test_a_session_ends_after_ninety_days_in_any_case_and_is_swept(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        old = await begun(shop)
        await aged(shop, begun_s=LONGEST_S)
        new = await begun(shop)
        assert [await alive(shop, mark) for mark in (old, new)] == [False, True]
        for work in periodic(shop.dispatchers["users"]):
            await work.once()
        assert await shop.database("users").all(str, "SELECT mark FROM browser_sessions") == [new]


async def test_a_user_has_twenty_sessions_and_the_longest_unseen_makes_room(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register("ann@example.com")
        first = await begun(shop)
        await aged(shop, seen_s=60)
        later = [await begun(shop) for _ in range(MAX_EACH)]
        assert not await alive(shop, first)
        assert [await alive(shop, mark) for mark in later] == [True] * MAX_EACH
