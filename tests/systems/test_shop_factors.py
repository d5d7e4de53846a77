"""Second factors of the shop's accounts: an app, codes on paper, passkeys, recent proof, the way back by mail."""

import asyncio
import base64
import email.parser
import email.policy
import re
from pathlib import Path
from typing import cast

import pytest
from soft_authenticator import Device
from wiring import SERVICE, RunningShop, running_shop

from archstone import context
from archstone.context import Principal
from archstone.services import Environment, option_values
from archstone.systems.shop.providers import safeguards
from archstone.systems.shop.system import shop as shop_system
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    Session,
    SessionEndedError,
    Sessions,
    SignInError,
    UserAdmin,
    UserWrite,
    browser_mark,
)
from archstone.systems.shop.users.proving import (
    Factors,
    FactorsError,
    NotProvedError,
    PasskeyRefusedError,
    Recovery,
    SecondFactorError,
    TicketError,
    TooManyTriesError,
    WeakPasswordError,
    WrongCodeError,
    WrongPasswordError,
)
from archstone.systems.shop.users.safeguards import Safeguards
from archstone.systems.shop.users.service import UsersService

EMAIL, PASSWORD, NEW = "ann@example.com", "a quiet evening", "a louder morning"
OPERATOR = Principal("operator", frozenset({"admin"}))


def users_of(shop: RunningShop) -> UsersService:
    return cast("UsersService", shop.dispatchers["users"].service)


def guard_of(shop: RunningShop) -> Safeguards:
    return users_of(shop).guard


async def proof_of(shop: RunningShop, who: Principal, code: str = "") -> str:
    return (await shop.client(Factors, as_=who).prove(PASSWORD, code)).proof


class App:
    """What somebody has on the telephone."""

    def __init__(self, shop: RunningShop, secret: str) -> None:
        self._shop = shop
        self.secret = base64.b32decode(secret.replace(" ", ""))

    def code(self, *, before: int = 0) -> str:
        totp = guard_of(self._shop).totp
        return totp.code(self.secret, step=totp.step() - before)

    async def next_code(self) -> str:
        await asyncio.sleep(30)
        return self.code()


async def with_app(shop: RunningShop, who: Principal) -> tuple[App, tuple[str, ...]]:
    """Set up an app; return it, and the backup codes."""
    factors = shop.client(Factors, as_=who)
    proof = await proof_of(shop, who)
    offer = await factors.offer_totp()
    app = App(shop, offer.secret)
    return app, (await factors.add_totp(offer.offer, app.code(), proof)).codes


async def ticket_of(shop: RunningShop, password: str = PASSWORD) -> str:
    with pytest.raises(SecondFactorError) as caught:
        await shop.client(Sessions).login(EMAIL, password)
    assert caught.value.ways == ("totp", "backup")
    return caught.value.ticket


async def signed_in(shop: RunningShop, code: str) -> Session:
    return await shop.client(Sessions).confirm(await ticket_of(shop), code)


def mails(data: Path) -> list[str]:
    read = email.parser.BytesParser(policy=email.policy.default).parsebytes
    found = [read(each.read_bytes()).get_body() for each in sorted((data / "mails").iterdir())]
    return [str(each.get_content()) for each in found if each is not None]


async def audited(shop: RunningShop) -> list[str]:
    users = users_of(shop)
    return [each.action for each in reversed(await users.audits.of(users.db, "users").entries())]


@pytest.mark.both_databases
async def test_an_account_with_an_app_asks_for_its_code_and_takes_each_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, codes = await with_app(shop, ann)
        assert len(codes) == 10
        used = app.code()  # the one that set it up
        with pytest.raises(WrongCodeError):
            await signed_in(shop, used)
        code = await app.next_code()
        await signed_in(shop, f" {code[:3]} {code[3:]} ")
        for again in (code, used, ""):
            with pytest.raises(WrongCodeError):
                await signed_in(shop, again)
        assert await audited(shop) == ["users.registered", "users.totp-added", "users.signed-in"]


@pytest.mark.both_databases
async def test_of_two_uses_of_a_code_at_the_same_moment_one_signs_in(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, codes = await with_app(shop, ann)
        for code in (await app.next_code(), codes[0]):
            ticket = await ticket_of(shop)
            uses = (shop.client(Sessions).confirm(ticket, code) for _ in range(2))
            ends = await asyncio.gather(*uses, return_exceptions=True)
            assert sorted(type(each).__name__ for each in ends) == ["Session", "WrongCodeError"]


async def test_a_backup_code_works_once_and_a_mail_tells_of_it(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        _, codes = await with_app(shop, ann)
        await signed_in(shop, codes[0].lower())
        for wrong in (codes[0], codes[1][:-1] + ("2" if codes[1][-1] != "2" else "3")):
            with pytest.raises(WrongCodeError):
                await signed_in(shop, wrong)
        assert (await shop.client(Factors, as_=ann).security()).codes_left == 9
        fresh = await shop.client(Factors, as_=ann).renew_codes(await proof_of(shop, ann, codes[2]))
        with pytest.raises(WrongCodeError):
            await signed_in(shop, codes[3])
        await signed_in(shop, fresh.codes[0])
        await shop.at_rest()
    assert sum("one of your backup codes" in each for each in mails(tmp_path)) == 3


async def test_the_ticket_opens_nothing_without_a_code_and_not_for_long(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, _ = await with_app(shop, ann)
        ticket = await ticket_of(shop)
        sessions = shop.client(Sessions)
        for changed in (ticket[:-2] + "AA", "x", ticket + "x", "-" * 1000, "\u00fc"):
            with pytest.raises(TicketError):
                await sessions.confirm(changed, app.code())
        proof = (await shop.client(Factors, as_=ann).prove(PASSWORD, await app.next_code())).proof
        with pytest.raises(TicketError):  # sealed for another purpose
            await sessions.confirm(proof, await app.next_code())
        await asyncio.sleep(241)
        with pytest.raises(TicketError):
            await sessions.confirm(ticket, app.code())


async def test_a_ticket_does_not_outlive_the_password_that_it_was_made_for(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, _ = await with_app(shop, ann)
        ticket = await ticket_of(shop)
        await shop.client(UserWrite, as_=ann).change_password(PASSWORD, NEW)
        with pytest.raises(TicketError):
            await shop.client(Sessions).confirm(ticket, await app.next_code())


async def test_codes_are_tried_five_times_and_then_slowly(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, _ = await with_app(shop, ann)
        for _ in range(5):
            with pytest.raises(WrongCodeError):
                await signed_in(shop, "000000")
        with pytest.raises(TooManyTriesError) as caught:
            await signed_in(shop, app.code())
        assert 59 < caught.value.retry_after_s < 61
        await asyncio.sleep(61)
        await signed_in(shop, app.code())
        system = users_of(shop).audits.system
        await asyncio.sleep(1)
        assert [each.outcome for each in await system.entries(action="users.second-factor")] == ["denied"] + [
            "failed"
        ] * 5


async def test_changing_factors_asks_for_a_recent_proof(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob = await shop.register(EMAIL), await shop.register("bob@example.com")
        factors = shop.client(Factors, as_=ann)
        offer = await factors.offer_totp()
        app = App(shop, offer.secret)
        bobs = await proof_of(shop, bob)
        for proof in (None, "x", bobs, offer.offer):
            with pytest.raises(NotProvedError):
                await factors.add_totp(offer.offer, app.code(), proof)
        with pytest.raises(WrongPasswordError):
            await factors.prove("a wrong evening")
        mine = await proof_of(shop, ann)
        with pytest.raises(TicketError):  # Bob's offer would make Bob's app Ann's
            await factors.add_totp((await shop.client(Factors, as_=bob).offer_totp()).offer, app.code(), mine)
        with pytest.raises(FactorsError):
            await factors.remove_totp(mine)
        await asyncio.sleep(601)
        with pytest.raises(NotProvedError):
            await factors.renew_codes(mine)
        again = await proof_of(shop, ann)
        await shop.client(UserWrite, as_=ann).change_password(PASSWORD, NEW)
        with pytest.raises(NotProvedError):
            await factors.renew_codes(again)


async def test_the_session_of_a_browser_proves_itself_for_ten_minutes(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob = await shop.register(EMAIL), await shop.register("bob@example.com")
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        mark = browser_mark((await browsers.begin(EMAIL, PASSWORD)).token)
        factors = shop.client(Factors, as_=ann)
        offer = await factors.offer_totp()
        with pytest.raises(NotProvedError):  # the session of somebody else
            await shop.client(Factors, as_=bob).renew_codes(browser=mark)
        assert (await browsers.visitor(mark)).proved
        await asyncio.sleep(599)
        assert (await browsers.visitor(mark)).proved
        await asyncio.sleep(2)
        assert not (await browsers.visitor(mark)).proved
        with pytest.raises(NotProvedError):
            await factors.renew_codes(browser=mark)
        await factors.prove(PASSWORD, browser=mark)
        assert (await browsers.visitor(mark)).proved
        offer = await factors.offer_totp()
        await factors.add_totp(offer.offer, App(shop, offer.secret).code(), browser=mark)
        assert (await browsers.visitor(mark)).user.email == EMAIL  # this session goes on


async def test_adding_and_removing_an_app_ends_every_other_session_and_tells_by_mail(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        there = await shop.client(Sessions).login(EMAIL, PASSWORD)
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        mark = browser_mark((await browsers.begin(EMAIL, PASSWORD)).token)
        app, _ = await with_app(shop, ann)
        with pytest.raises(SessionEndedError):
            await shop.client(Sessions).refresh(there.refresh_token)
        with pytest.raises(SessionEndedError):
            await browsers.visitor(mark)
        proof = await proof_of(shop, ann, await app.next_code())
        await shop.client(Factors, as_=ann).remove_totp(proof)
        await shop.client(Sessions).login(EMAIL, PASSWORD)
        assert await shop.database("users").one(int, "SELECT count(*) FROM backup_codes") == 0
        await shop.at_rest()
        assert {"users.totp-added", "users.totp-removed"} <= set(await audited(shop))
    assert ["asks for a code" in each for each in mails(tmp_path)] == [True, True]


async def test_nothing_of_a_factor_is_in_the_database_in_the_clear(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, codes = await with_app(shop, ann)
        kept = await shop.database("users").all(tuple[str, bytes], "SELECT user_id, secret FROM totp_factors")
        assert app.secret not in bytes(kept[0][1])
        hashes = await shop.database("users").all(str, "SELECT hash FROM backup_codes")
        assert all(each.startswith("$argon2id$") for each in hashes)
        assert not any(code.replace("-", "") in each for code in codes for each in hashes)


async def with_passkey(shop: RunningShop, who: Principal, device: Device) -> None:
    factors = shop.client(Factors, as_=who)
    proof = await proof_of(shop, who)
    ask = await factors.ask_new_passkey()
    challenge = bytes.fromhex(guard_of(shop).tickets.read("new-passkey", ask.ceremony)["challenge"])
    await factors.add_passkey(ask.ceremony, device.register(challenge), "Telephone", proof)


def a_device(who: Principal, **more: object) -> Device:
    told = {"rp_id": "shop.test", "origin": "https://shop.test", "user": bytes.fromhex(who.id), **more}
    return Device(**told)  # type: ignore[arg-type]


@pytest.mark.both_databases
async def test_a_passkey_signs_in_alone_and_each_answer_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        device = a_device(ann)
        await with_passkey(shop, ann, device)
        await with_app(shop, ann)  # a passkey is both factors: no code is asked for
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        ask = await browsers.ask_passkey()
        challenge = bytes.fromhex(guard_of(shop).tickets.read("passkey", ask.ceremony)["challenge"])
        device.count = 0
        with pytest.raises(PasskeyRefusedError):  # the counter was at 1
            await browsers.begin_with_passkey(ask.ceremony, device.sign(challenge))
        device.count = 2
        session = await browsers.begin_with_passkey(ask.ceremony, device.sign(challenge))
        assert session.user.email == EMAIL
        device.count = 3
        with pytest.raises(TicketError):
            await browsers.begin_with_passkey(ask.ceremony, device.sign(challenge))
        view = await shop.client(Factors, as_=ann).security()
        assert [(each.name, each.used_at is not None) for each in view.passkeys] == [("Telephone", True)]


async def test_a_passkey_is_its_owners_alone(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, bob = await shop.register(EMAIL), await shop.register("bob@example.com")
        device = a_device(ann)
        await with_passkey(shop, ann, device)
        with pytest.raises(PasskeyRefusedError):
            await with_passkey(shop, bob, device)
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        ask = await browsers.ask_passkey()
        challenge = bytes.fromhex(guard_of(shop).tickets.read("passkey", ask.ceremony)["challenge"])
        device.user, device.count = bytes.fromhex(bob.id), 2
        with pytest.raises(PasskeyRefusedError):
            await browsers.begin_with_passkey(ask.ceremony, device.sign(challenge))
        mine = (await shop.client(Factors, as_=ann).security()).passkeys[0].id
        await shop.client(Factors, as_=bob).remove_passkey(mine, await proof_of(shop, bob))
        assert len((await shop.client(Factors, as_=ann).security()).passkeys) == 1
        await shop.client(Factors, as_=ann).remove_passkey(mine, await proof_of(shop, ann))
        device.user, device.count = bytes.fromhex(ann.id), 3
        with pytest.raises(PasskeyRefusedError):
            await browsers.begin_with_passkey(ask.ceremony, device.sign(challenge))


async def link_of(shop: RunningShop, data: Path) -> str:
    await shop.at_rest()
    found = [re.search(r"https://shop\.test/reset\?ticket=\s*(\S+)", each) for each in mails(data)]
    return next(match[1] for match in reversed(found) if match)


@pytest.mark.both_databases
async def test_who_has_forgotten_the_password_gets_a_link_that_works_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register(EMAIL)
        session = await shop.client(Sessions).login(EMAIL, PASSWORD)
        recovery = shop.client(Recovery)
        await recovery.ask_reset(EMAIL)
        ticket = await link_of(shop, tmp_path)
        with pytest.raises(WeakPasswordError):
            await recovery.reset_password(ticket, "password123")
        await recovery.reset_password(ticket, NEW)
        with pytest.raises(TicketError):
            await recovery.reset_password(ticket, "another evening yet")
        with pytest.raises(SignInError):
            await shop.client(Sessions).login(EMAIL, PASSWORD)
        with pytest.raises(SessionEndedError):
            await shop.client(Sessions).refresh(session.refresh_token)
        await shop.client(Sessions).login(EMAIL, NEW)
        assert "users.password-reset" in await audited(shop)


async def test_the_way_back_does_not_go_around_a_second_factor(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        app, codes = await with_app(shop, ann)
        recovery = shop.client(Recovery)
        await recovery.ask_reset(EMAIL)
        ticket = await link_of(shop, tmp_path)
        for code in ("", "000000"):
            with pytest.raises(WrongCodeError):
                await recovery.reset_password(ticket, NEW, code)
        await recovery.reset_password(ticket, NEW, codes[0])
        assert (await shop.client(Factors, as_=ann).security()).totp  # nothing is switched off by it
        await shop.client(Sessions).confirm(await ticket_of(shop, NEW), await app.next_code())


@pytest.mark.sqlite_only("it counts the commits of the engine")
async def test_asking_for_a_link_tells_nothing_and_floods_no_mailbox(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register(EMAIL)
        recovery = shop.client(Recovery)
        outbox = shop.database("users")
        written: list[int] = []
        for address in (EMAIL, "nobody@example.com"):
            before = outbox.statistics().commits
            await recovery.ask_reset(address)
            written.append(outbox.statistics().commits - before)
        assert written[0] == written[1]
        for _ in range(10):
            await recovery.ask_reset(EMAIL)
        await shop.at_rest()
    assert len(mails(tmp_path)) == 3


async def test_an_administrator_is_none_without_a_factor_where_one_is_asked_for(tmp_path: Path) -> None:
    async with running_shop(tmp_path, admins_need_factor=True) as shop:
        ann = await shop.register(EMAIL)
        await shop.client(UserAdmin, as_=OPERATOR).grant(EMAIL, "admin")
        browsers = shop.client(BrowserSessions, as_=SERVICE)
        begun = await browsers.begin(EMAIL, PASSWORD)
        visitor = await browsers.visitor(browser_mark(begun.token))
        assert (begun.user.roles, visitor.user.roles, visitor.needs_factor) == (("customer",), ("customer",), True)
        tokens = users_of(shop).tokens
        session = await shop.client(Sessions).login(EMAIL, PASSWORD)
        assert tokens.verify(session.access_token).principal.roles == {"customer"}
        app, _ = await with_app(shop, ann)
        session = await signed_in(shop, await app.next_code())
        assert tokens.verify(session.access_token).principal.roles == {"admin", "customer"}
        renewed = await shop.client(Sessions).refresh(session.refresh_token)
        assert tokens.verify(renewed.access_token).principal.roles == {"admin", "customer"}


@pytest.mark.parametrize(
    ("chosen", "url", "asked"),
    [
        ("auto", "http://localhost:8080", False),
        ("auto", "https://shop.example", True),
        ("no", "https://shop.example", False),
        ("yes", "http://localhost:8080", True),
    ],
)
def test_whether_administrators_need_a_factor_goes_by_where_the_shop_is(
    tmp_path: Path, chosen: str, url: str, *, asked: bool
) -> None:
    given = {"options": option_values(shop_system.options, {"public_url": url, "admins_need_factor": chosen})}
    found = safeguards(Environment(system="shop", data=tmp_path, settings=given))
    assert found.admins_need_factor is asked
    assert option_values(shop_system.options, {})["admins_need_factor"] == "auto"


async def test_strangers_who_guess_do_not_lock_the_owner_out_at_home(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await shop.register(EMAIL)
        sessions = shop.client(Sessions)
        context.set_whence("192.0.2.1")
        await sessions.login(EMAIL, PASSWORD)
        for number in range(30):
            context.set_whence(f"198.51.100.{number}")
            with pytest.raises((SignInError, TooManyTriesError)):
                await sessions.login(EMAIL, "a wrong evening")
        context.set_whence("203.0.113.9")
        with pytest.raises(TooManyTriesError) as caught:
            await sessions.login(EMAIL, PASSWORD)
        assert caught.value.status == 429
        context.set_whence("192.0.2.1")
        await sessions.login(EMAIL, PASSWORD)
        context.set_whence("")
        kept = await shop.database("users").all(str, "SELECT place FROM known_places")
        assert kept
        assert not any("192.0.2" in each for each in kept)


async def test_deleting_an_account_erases_its_factors(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register(EMAIL)
        await with_passkey(shop, ann, a_device(ann))
        await with_app(shop, ann)
        await shop.client(UserWrite, as_=ann).delete_account(PASSWORD)
        for table in ("totp_factors", "backup_codes", "passkeys", "known_places", "browser_sessions"):
            assert await shop.database("users").one(int, f"SELECT count(*) FROM {table}") == 0
