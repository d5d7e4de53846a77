"""Signing up by mail, by the option `sign_up`: the address is proved first, and nobody learns who has an account."""

import re
from pathlib import Path

import pytest
from pages_browser import Browser
from test_shop_factors import EMAIL, PASSWORD, audited, mails
from test_shop_pages_security import link_in_a_mail
from wiring import RunningShop, running, running_shop

from archstone.runtime import Settings
from archstone.systems.shop.system import shop as system
from archstone.systems.shop.users.contract import EmailTakenError, Sessions, SignUpByMailError, UserWrite
from archstone.systems.shop.users.joining import SignUps
from archstone.systems.shop.users.proving import TicketError, WeakPasswordError


async def ticket_for(shop: RunningShop, email: str) -> str:
    await shop.client(SignUps).ask_sign_up(email)
    await shop.at_rest()
    found = [re.search(r"https://shop\.test/sign-up\?ticket=\s*(\S+)", each) for each in mails(shop.data)]
    return next(match[1] for match in reversed(found) if match)


@pytest.mark.both_databases
async def test_an_account_is_made_by_who_reads_the_mail_and_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path, sign_up_by_mail=True) as shop:
        ups = shop.client(SignUps)
        assert (await ups.sign_up_way()).way == "by-mail"
        with pytest.raises(SignUpByMailError):
            await shop.register(EMAIL)
        ticket = await ticket_for(shop, EMAIL)
        with pytest.raises(WeakPasswordError):
            await ups.sign_up(ticket, "password123", "Ann")
        user = await ups.sign_up(ticket, PASSWORD, "Ann")
        assert (user.email, user.name, user.roles) == (EMAIL, "Ann", ("customer",))
        with pytest.raises(EmailTakenError):
            await ups.sign_up(ticket, PASSWORD, "Ann")
        with pytest.raises(TicketError):
            await ups.sign_up("made up", PASSWORD, "Ann")
        await shop.client(Sessions).login(EMAIL, PASSWORD)
        assert "users.registered" in await audited(shop)


async def test_at_once_is_how_it_is_without_the_option(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        assert (await shop.client(SignUps).sign_up_way()).way == "at-once"
        await shop.register(EMAIL)


@pytest.mark.sqlite_only("it counts the commits of the engine")
@pytest.mark.parametrize("weak", [False, True])
async def test_attack_signing_up_to_learn_who_has_an_account(tmp_path: Path, weak: bool) -> None:
    """Somebody signs up with the address of another, and looks at what they are told."""
    async with running_shop(tmp_path, sign_up_by_mail=not weak) as shop:
        if weak:  # an account is made at once, so an address that is taken has to be told
            await shop.register(EMAIL)
        else:
            await shop.client(SignUps).sign_up(await ticket_for(shop, EMAIL), PASSWORD, "Ann")
        outbox = shop.database("users")

        async def told(email: str) -> tuple[str, int]:
            before = outbox.statistics().commits
            try:
                if weak:
                    await shop.client(UserWrite).register(email, PASSWORD, "Eve")
                else:
                    await shop.client(SignUps).ask_sign_up(email)
            except EmailTakenError as error:
                return type(error).__name__, 0
            return "", outbox.statistics().commits - before

        assert (await told(EMAIL) == await told("nobody@example.com")) != weak
        await shop.at_rest()
        to_ann = [each for each in mails(tmp_path) if "Hello Ann" in each]
        assert len(to_ann) == (0 if weak else 1)  # she is told, since she may have forgotten
        assert all("https://shop.test/forgot" in each and "/sign-up" not in each for each in to_ann)


async def test_the_pages_ask_for_the_address_first(tmp_path: Path) -> None:
    settings = Settings(options={"sign_up": "by-mail"})
    async with running(system, data=tmp_path, settings=settings) as run:
        ann = Browser(run.asgi)
        page = await ann.get("/register")
        assert "password" not in page.form("/register/mail").fields
        assert (await ann.submit(page, "/register/mail", email="no address")).status == 422
        assert (await ann.submit(page, "/register/mail", email=EMAIL)).to == "/login?told=sign-up"
        made_up = {"email": EMAIL, "name": "Ann", "password": PASSWORD}
        assert "/register/mail" in [form.action for form in (await ann.post("/register", made_up)).forms]
        page = await ann.get(await link_in_a_mail(tmp_path, "/sign-up"))
        weak = await ann.submit(page, "/sign-up", name="Ann", password="password123")
        assert (weak.status, "stolen passwords" in weak.text) == (422, True)
        assert (await ann.submit(page, "/sign-up", name="Ann", password=PASSWORD)).status == 303
        assert EMAIL in (await ann.get("/account")).text
        guest = Browser(run.asgi)
        assert (await guest.submit(page, "/sign-up", name="Ann", password=PASSWORD)).status == 422
