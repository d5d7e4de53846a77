"""Another address of mail for an account: nothing changes before its mail is read, and the old address can undo it."""

import asyncio
import re
from pathlib import Path

import pytest
from test_shop_factors import EMAIL, NEW, PASSWORD, audited, mails, proof_of, users_of, with_app
from wiring import SERVICE, RunningShop, running_shop

from archstone.context import Principal
from archstone.systems.shop.users import formerly, readdressing
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    EmailTakenError,
    SessionEndedError,
    Sessions,
    SignInError,
    UserRead,
    UserWrite,
    browser_mark,
)
from archstone.systems.shop.users.emails import EmailChanges
from archstone.systems.shop.users.proving import (
    Factors,
    NotProvedError,
    Recovery,
    SecondFactorError,
    TicketError,
    TooManyTriesError,
    WeakPasswordError,
    WrongCodeError,
)
from archstone.systems.shop.users.readdressing import Readdressing

THERE, OTHER = "ann@example.org", "ann@example.net"
WAY_BACK_S = 90


@pytest.fixture(autouse=True)
def _a_shorter_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute and a half for the week: a whole shop that runs for a week of virtual time takes minutes of ours."""
    assert formerly.HELD_S == 7 * 86_400
    monkeypatch.setattr(formerly, "HELD_S", WAY_BACK_S)


async def link(shop: RunningShop, path: str) -> str:
    """Return the ticket of the newest mail with a link to a page."""
    await shop.at_rest()
    found = [re.search(rf"https://shop\.test{path}\?ticket=\s*(\S+)", each) for each in mails(shop.data)]
    return next(match[1] for match in reversed(found) if match)


async def asked(shop: RunningShop, who: Principal, email: str, *, proof: str | None = None) -> str:
    """Ask for another address; return the ticket that was sent there."""
    emails = shop.client(EmailChanges, as_=who)
    await emails.ask_email(email, proof or await proof_of(shop, who))
    return await link(shop, "/email-change")


async def moved(shop: RunningShop, who: Principal, email: str) -> str:
    """Change to another address; return the ticket that undoes it."""
    await shop.client(EmailChanges).confirm_email(await asked(shop, who, email))
    return await link(shop, "/email-undo")


async def opens(shop: RunningShop, email: str, password: str = PASSWORD) -> bool:
    try:
        await shop.client(Sessions).login(email, password)
    except SignInError:
        return False
    return True


async def address(shop: RunningShop, who: Principal) -> str:
    return (await shop.client(UserRead, as_=who).me()).email


@pytest.mark.both_databases
async def test_an_address_changes_once_its_mail_is_read_and_everybody_is_signed_out(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        session = await shop.client(Sessions).login(EMAIL, PASSWORD)
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        mark = browser_mark((await browsers.begin(EMAIL, PASSWORD)).token)
        ticket = await asked(shop, ann, THERE)
        assert [await opens(shop, each) for each in (EMAIL, THERE)] == [True, False]
        await shop.client(EmailChanges).confirm_email(ticket)
        assert [await opens(shop, each) for each in (EMAIL, THERE)] == [False, True]
        assert await address(shop, ann) == THERE
        with pytest.raises(SessionEndedError):
            await shop.client(Sessions).refresh(session.refresh_token)
        with pytest.raises(SessionEndedError):
            await browsers.visitor(mark)
        with pytest.raises(TicketError):
            await shop.client(EmailChanges).confirm_email(ticket)
        await shop.at_rest()
        files = sorted((tmp_path / "mails").iterdir())
        told = [f"To: {each}".encode() for each in (THERE, EMAIL)]
        assert all(any(line in file.read_bytes() for file in files) for line in told)
        undoing = [each for each in mails(tmp_path) if "/email-undo" in each]
        assert len(undoing) == 1
        assert THERE not in undoing[0]  # whoever reads the old mailbox does not learn the new one
        assert [each for each in await audited(shop) if "email" in each] == [
            "users.email-change-asked", "users.email-changed",
        ]  # fmt: skip


@pytest.mark.both_databases
async def test_the_old_address_takes_the_account_back_and_what_was_added_since_goes(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        undo = await moved(shop, ann, THERE)
        # Whoever has stolen the password goes on: an app of their own, so that nobody else comes in.
        await with_app(shop, ann)
        await asyncio.sleep(WAY_BACK_S - 30)
        emails = shop.client(EmailChanges)
        with pytest.raises(WeakPasswordError):
            await emails.undo_email(undo, "password123")
        await emails.undo_email(undo, NEW)
        assert [await opens(shop, *each) for each in ((EMAIL, NEW), (EMAIL, PASSWORD), (THERE, PASSWORD))] == [
            True, False, False,
        ]  # fmt: skip
        view = await shop.client(Factors, as_=ann).security()
        assert (view.totp, view.codes_left, view.passkeys) == (False, 0, ())
        with pytest.raises(TicketError):
            await emails.undo_email(undo, "a third evening")
        await shop.at_rest()
        assert any("password of your account was changed" in each for each in mails(tmp_path))
        assert "users.email-undone" in await audited(shop)
        assert await users_of(shop).db.one(int, "SELECT count(*) FROM former_addresses") == 0


async def test_the_way_back_ends_after_a_week_and_the_address_is_free_again(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        undo = await moved(shop, ann, THERE)
        await asyncio.sleep(WAY_BACK_S)
        with pytest.raises(TicketError):
            await shop.client(EmailChanges).undo_email(undo, NEW)
        await shop.register(EMAIL, "Somebody else")
        assert await opens(shop, THERE)


async def test_nobody_takes_the_old_address_while_there_is_a_way_back(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, eve = await shop.register(EMAIL), await shop.register("eve@example.com", "Eve")
        late = shop.client(EmailChanges, as_=eve)
        undo = await moved(shop, ann, THERE)
        with pytest.raises(EmailTakenError):
            await shop.register(EMAIL, "Mallory")
        before = len(mails(tmp_path))
        await late.ask_email(EMAIL, await proof_of(shop, eve))
        await shop.at_rest()
        assert len(mails(tmp_path)) == before
        await shop.client(EmailChanges).undo_email(undo, NEW)
        assert await opens(shop, EMAIL, NEW)


async def test_who_comes_back_may_and_what_two_want_is_whose_mail_is_read_first(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob = await shop.register(EMAIL), await shop.register("bob@example.com", "Bob")
        first, second = await asked(shop, ann, THERE), await asked(shop, bob, THERE)
        emails = shop.client(EmailChanges)
        await emails.confirm_email(second)
        with pytest.raises(EmailTakenError):
            await emails.confirm_email(first)
        assert await address(shop, ann) == EMAIL
        await moved(shop, bob, "bob@example.com")
        assert await address(shop, bob) == "bob@example.com"
        undo = await link(shop, "/email-undo")
        await emails.undo_email(undo, NEW)
        assert await address(shop, bob) == THERE


async def test_the_first_address_undoes_all_that_came_after_it(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        undo = await moved(shop, ann, THERE)
        again = await moved(shop, ann, OTHER)
        emails = shop.client(EmailChanges)
        await emails.undo_email(undo, NEW)
        assert await address(shop, ann) == EMAIL
        with pytest.raises(TicketError):
            await emails.undo_email(again, "a third evening")
        assert await opens(shop, EMAIL, NEW)


async def test_an_app_of_before_is_asked_for_and_stays(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, _ = await with_app(shop, ann)
        ticket = await asked(shop, ann, THERE, proof=await proof_of(shop, ann, await app.next_code()))
        emails = shop.client(EmailChanges)
        await emails.confirm_email(ticket)
        undo = await link(shop, "/email-undo")
        for code in ("", "000000"):
            with pytest.raises(WrongCodeError):
                await emails.undo_email(undo, NEW, code)
        assert await address(shop, ann) == THERE
        await emails.undo_email(undo, NEW, await app.next_code())
        assert (await shop.client(Factors, as_=ann).security()).totp
        with pytest.raises(SecondFactorError):
            await shop.client(Sessions).login(EMAIL, NEW)


async def test_an_account_that_is_deleted_holds_no_address_and_comes_not_back(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        undo = await moved(shop, ann, THERE)
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        with pytest.raises(TicketError):
            await shop.client(EmailChanges).undo_email(undo, NEW)
        await shop.register(EMAIL, "Somebody else")


async def test_what_is_asked_for_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formerly, "MOST_HELD", 1)
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await moved(shop, ann, OTHER)
        emails, proof = shop.client(EmailChanges, as_=ann), await proof_of(shop, ann)
        with pytest.raises(TooManyTriesError) as caught:
            await emails.ask_email(THERE, proof)
        assert WAY_BACK_S - 30 < caught.value.retry_after_s <= WAY_BACK_S
        await asyncio.sleep(caught.value.retry_after_s)
        for number in range(4):
            await emails.ask_email(f"ann{number}@example.com", proof)
        with pytest.raises(TooManyTriesError) as caught:
            await emails.ask_email(THERE, proof)
        assert 0 < caught.value.retry_after_s <= 600
        await shop.at_rest()
        assert len([each for each in mails(tmp_path) if "/email-change" in each]) == 5


@pytest.mark.sqlite_only("it counts the commits of the engine")
@pytest.mark.parametrize("weak", [False, True])
async def test_attack_asking_for_an_address_to_learn_whether_somebody_has_it(
    tmp_path: Path, weak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for = Readdressing.ask_email
    if weak:  # what cannot be had is not asked for

        async def looking(self: Readdressing, email: str, proof: str | None = None, browser: str | None = None) -> None:
            if not await self._is_taken(email, ""):
                await asked_for(self, email, proof, browser)

        monkeypatch.setattr(Readdressing, "ask_email", looking)
    async with running_shop(tmp_path) as shop:
        await shop.register("bob@example.com", "Bob")
        eve = await shop.register(EMAIL)
        emails, proof = shop.client(EmailChanges, as_=eve), await proof_of(shop, eve)
        outbox = shop.database("users")

        async def work(email: str) -> tuple[object, int]:
            await shop.at_rest()  # what came before has left the outbox
            before = outbox.statistics().commits
            return await emails.ask_email(email, proof), outbox.statistics().commits - before

        told = [await work(each) for each in ("nobody@example.com", "bob@example.com", EMAIL)]
        assert (told[0] == told[1] == told[2]) != weak
        await shop.at_rest()
        assert len([each for each in mails(tmp_path) if "/email-change" in each]) == 1


@pytest.mark.parametrize("weak", [False, True])
async def test_attack_a_session_that_was_stolen_moves_the_account(
    tmp_path: Path, weak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a session but not the password sends the account to an address of their own."""
    if weak:  # the session is enough

        async def own(self: Readdressing, proof: str | None, browser: str | None) -> object:
            del proof, browser
            return await self._own()

        monkeypatch.setattr(Readdressing, "_proved", own)
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        mark = browser_mark((await browsers.begin(EMAIL, PASSWORD)).token)
        await users_of(shop).db.execute("UPDATE browser_sessions SET proved_at = 0")  # a while ago
        got = False
        for how in ({}, {"proof": "made up"}, {"browser": mark}):
            try:
                await shop.client(EmailChanges, as_=ann).ask_email("eve@example.com", **how)
                got = True
            except NotProvedError:
                continue
        assert got == weak


@pytest.mark.parametrize("weak", [False, True])
async def test_attack_a_reset_link_of_the_old_address(
    tmp_path: Path, weak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads the old mailbox, and asked for a link before the owner left it."""
    if weak:  # bound to the password alone
        monkeypatch.setattr(
            "archstone.systems.shop.users.rows.Row.mark", property(lambda row: row.password_hash[-20:]), raising=True
        )
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        recovery = shop.client(Recovery)
        ticket = await asked(shop, ann, THERE)
        await recovery.ask_reset(EMAIL)
        reset = await link(shop, "/reset")
        await shop.client(EmailChanges).confirm_email(ticket)
        try:
            await recovery.reset_password(reset, NEW)
        except TicketError:
            assert not weak
        assert await opens(shop, THERE, NEW) == weak


@pytest.mark.parametrize("weak", [False, True])
async def test_attack_the_old_address_is_taken_so_that_nothing_is_undone(
    tmp_path: Path, weak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has moved an account away registers with its old address, before the owner reads the mail."""
    if weak:  # nothing is held

        async def free(db: object, email: str, user_id: str) -> bool:
            del db, email, user_id
            return False

        monkeypatch.setattr(formerly, "held_by_others", free)
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await moved(shop, ann, "eve@example.com")
        try:
            await shop.register(EMAIL, "Eve")
        except EmailTakenError:
            assert not weak
        else:
            assert weak


@pytest.mark.parametrize("weak", [False, True])
async def test_attack_an_app_added_after_the_theft_keeps_the_owner_out(
    tmp_path: Path, weak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if weak:  # the account comes back as it is

        async def nothing(tx: object, user_id: str, since: int) -> None:
            del tx, user_id, since

        monkeypatch.setattr(readdressing.formerly, "take_back", nothing)
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        undo = await moved(shop, ann, "eve@example.com")
        await with_app(shop, ann)
        await shop.client(EmailChanges).undo_email(undo, NEW)
        try:
            assert await opens(shop, EMAIL, NEW)
            assert not weak
        except SecondFactorError:
            assert weak
