"""The pages of second factors: set up, sign in with a code, prove once more, and come back by mail."""

import asyncio
import base64
import email.parser
import email.policy
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pages_browser import ROOT, Answer, Browser, an_admin, registered
from wiring import running

from archstone.runtime import Embedded, Settings
from archstone.security import Totp
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.contract import UserAdmin

PASSWORD = "a quiet evening"
TOTP = Totp("Archstone Shop")


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with running(shop, data=tmp_path) as embedded:
        yield embedded


def secret_of(page: Answer) -> bytes:
    found = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', page.html)
    assert found
    return base64.b32decode(found[1].replace(" ", ""))


async def with_app(browser: Browser) -> tuple[bytes, list[str]]:
    """Set up an app on the pages; return its secret, and the backup codes."""
    page = await browser.get("/account/security/app")
    secret = secret_of(page)
    done = await browser.submit(page, "/account/security/app", code=TOTP.code(secret))
    assert done.status == 200, done.text
    codes = re.findall(r"<li><code>([A-Z0-9-]+)</code></li>", done.html)
    assert len(codes) == 10
    return secret, codes


async def test_an_app_is_set_up_from_a_picture_and_signing_in_asks_for_its_code(run: Embedded) -> None:
    ann, elsewhere = await registered(Browser(run.asgi)), Browser(run.asgi)
    assert "Set up an app" in (await ann.get("/account/security")).text
    wrong = await ann.submit(await ann.get("/account/security/app"), "/account/security/app", code="000000")
    assert (wrong.status, "does not fit" in wrong.text) == (422, True)
    page = await ann.get("/account/security/app")
    assert page.html.count("<svg") >= 1
    assert page.inline == []
    secret, codes = await with_app(ann)
    assert "10 backup codes left" in (await ann.get("/account/security")).text

    login = await elsewhere.get("/login?next=/orders")
    asked = await elsewhere.submit(login, "/login", email="ann@example.com", password=PASSWORD)
    assert (asked.status, elsewhere.cookies) == (200, {})
    refused = await elsewhere.submit(asked, "/login/code", code="123456")
    assert (refused.status, "123456" in refused.html, elsewhere.cookies) == (422, False, {})
    await asyncio.sleep(30)
    done = await elsewhere.submit(refused, "/login/code", code=TOTP.code(secret))
    assert done.to == "/orders"
    assert "Ann Alder" in (await elsewhere.get("/account/security")).text
    third = Browser(run.asgi)
    asked = await third.submit(await third.get("/login"), "/login", email="ann@example.com", password=PASSWORD)
    assert (await third.submit(asked, "/login/code", code=codes[0])).status == 303


async def test_changing_factors_asks_once_more_after_ten_minutes_and_goes_on_there(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    secret, _ = await with_app(ann)
    await asyncio.sleep(601)
    told = await ann.get("/account/security/app")
    assert told.to == "/account/prove?next=/account/security/app&told=prove"
    assert (await ann.post("/account/security/app/remove", {})).to == "/account/prove?next=/account/security"
    page = await ann.follow(told)
    wrong = await ann.submit(page, "/account/prove", password="a wrong evening", code=TOTP.code(secret))
    assert (wrong.status, "This is not your password." in wrong.text) == (422, True)
    wrong = await ann.submit(page, "/account/prove", password=PASSWORD, code="000000")
    assert (wrong.status, "was used before" in wrong.text) == (422, True)
    done = await ann.submit(page, "/account/prove", password=PASSWORD, code=TOTP.code(secret))
    assert done.to == "/account/security/app"
    removed = await ann.post("/account/security/app/remove", {})
    assert removed.to == "/account/security?told=unfactored"
    assert "Set up an app" in (await ann.follow(removed)).text


async def test_an_administrator_proves_it_again_before_changing_anything(run: Embedded) -> None:
    root = await an_admin(run)
    await registered(Browser(run.asgi))
    page = await root.get("/admin/users")
    assert page.status == 200
    user = await run.client(UserAdmin, as_=ROOT).user_with("ann@example.com")
    assert user is not None
    await asyncio.sleep(601)
    assert (await root.get("/admin/users")).status == 200
    asked = await root.post(f"/admin/users/{user.id}/close", {"reason": "why"})
    assert asked.to == f"/account/prove?next=/admin/users/{user.id}&told=prove"
    done = await root.submit(await root.follow(asked), "/account/prove", password=PASSWORD)
    assert done.to == f"/admin/users/{user.id}"


async def test_administrators_set_up_an_app_first_where_the_shop_asks_for_it(tmp_path: Path) -> None:
    options = {"admins_need_factor": "yes"}
    async with running(shop, data=tmp_path, settings=Settings(options=options)) as run:
        root = await an_admin(run)
        assert (await root.get("/admin")).to == "/account/security?told=factor"
        assert (await root.post("/admin/letters/drop", {})).to == "/account/security?told=factor"
        await with_app(root)
        assert (await root.get("/admin")).status == 200


async def test_a_browser_signs_another_one_out(run: Embedded) -> None:
    ann, other, bob = await registered(Browser(run.asgi)), Browser(run.asgi), Browser(run.asgi)
    await other.submit(await other.get("/login"), "/login", email="ann@example.com", password=PASSWORD)
    await registered(bob, "bob@example.com")
    page = await ann.get("/account/security")
    ends = [form.action for form in page.forms if form.action.endswith("/end")]
    assert len(ends) == 1
    assert (await bob.post(ends[0], {})).status == 303  # not Bob's: nothing happens
    assert (await other.get("/account")).status == 200
    assert (await ann.post(ends[0], {})).to == "/account/security?told=ended-there"
    assert (await other.get("/account")).status == 303
    assert (await ann.get("/account")).status == 200


async def test_a_way_back_by_mail(run: Embedded, tmp_path: Path) -> None:
    ann = await registered(Browser(run.asgi))
    guest = Browser(run.asgi)
    answers = [
        await guest.submit(await guest.get("/forgot"), "/forgot", email=address)
        for address in ("ann@example.com", "nobody@example.com")
    ]
    assert [each.to for each in answers] == ["/login?told=link"] * 2
    for _ in range(200):
        if found := list((tmp_path / "mails").iterdir()):
            break
        await asyncio.sleep(0.05)
    read = email.parser.BytesParser(policy=email.policy.default).parsebytes
    [mail] = [str(read(each.read_bytes()).get_content()) for each in found]
    link = re.search(r"http://localhost:8080(/reset\?ticket=\S+)", mail)
    assert link
    page = await guest.get(link[1])
    short = await guest.submit(page, "/reset", new="short")
    assert (short.status, "8 to 200" in short.text) == (422, True)
    weak = await guest.submit(page, "/reset", new="password123")
    assert (weak.status, "stolen passwords" in weak.text) == (422, True)
    assert (await guest.submit(page, "/reset", new="a louder morning")).to == "/login?told=reset"
    assert (await guest.submit(page, "/reset", new="a third evening")).status == 422
    assert (await ann.get("/account")).status == 303
    login = await guest.submit(
        await guest.get("/login"), "/login", email="ann@example.com", password="a louder morning"
    )
    assert login.status == 303


@pytest.mark.parametrize("path", ["/account/security", "/account/prove", "/account/security/app", "/account/email"])
async def test_pages_of_an_account_are_for_who_is_signed_in(run: Embedded, path: str) -> None:
    assert (await Browser(run.asgi).get(path)).to == f"/login?next={path}"


async def link_in_a_mail(data: Path, path: str) -> str:
    """Wait for the mail with a link to a page; return where it leads."""
    read = email.parser.BytesParser(policy=email.policy.default).parsebytes
    for _ in range(200):
        for each in (data / "mails").iterdir():
            text = str(read(each.read_bytes()).get_content())
            if found := re.search(rf"http://localhost:8080({path}\?ticket=\S+)", text):
                return found[1]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no mail with a link to {path}")


async def test_another_address_and_back_again(run: Embedded, tmp_path: Path) -> None:
    ann, guest = await registered(Browser(run.asgi)), Browser(run.asgi)
    page = await ann.get("/account/email")
    assert "ann@example.com" in page.text
    wrong = await ann.submit(page, "/account/email", email="no address")
    assert (wrong.status, "alert" in wrong.html) == (422, True)
    assert (await ann.submit(page, "/account/email", email="ann@example.org")).to == "/account?told=email-asked"
    page = await guest.get(await link_in_a_mail(tmp_path, "/email-change"))
    assert (await ann.get("/account")).status == 200  # opening the link changes nothing
    assert (await guest.submit(page, "/email-change")).to == "/login?told=email-changed"
    assert (await guest.submit(page, "/email-change")).status == 422
    assert (await ann.get("/account")).to == "/login?next=/account"
    login = await ann.get("/login")
    assert (await ann.submit(login, "/login", email="ann@example.org", password=PASSWORD)).status == 303

    page = await guest.get(await link_in_a_mail(tmp_path, "/email-undo"))
    weak = await guest.submit(page, "/email-undo", new="password123")
    assert (weak.status, "stolen passwords" in weak.text) == (422, True)
    assert (await guest.submit(page, "/email-undo", new="a louder morning")).to == "/login?told=email-undone"
    assert (await guest.submit(page, "/email-undo", new="a third evening")).status == 422
    assert (await ann.get("/account")).status == 303
    login = await ann.get("/login")
    answer = await ann.submit(login, "/login", email="ann@example.com", password="a louder morning")
    assert answer.status == 303


async def test_another_address_asks_first_who_one_is(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    page = await ann.get("/account/email")
    await asyncio.sleep(601)
    assert (await ann.get("/account/email")).to.startswith("/account/prove?next=/account/email")
    assert (await ann.submit(page, "/account/email", email="ann@example.org")).to == (
        "/account/prove?next=/account/email&told=prove"
    )


@pytest.mark.parametrize("path", ["/login/code", "/login/passkey", "/reset", "/email-change", "/email-undo"])
async def test_a_form_that_is_made_up_is_refused_with_words(run: Embedded, path: str) -> None:
    fields = {"ticket": "x" * 100, "ceremony": "x" * 100, "code": "1", "answer": "{}", "new": "a louder morning"}
    for sent in (fields, {}, dict.fromkeys(fields, ""), dict.fromkeys(fields, "\ud7ff" * 500)):
        answer = await Browser(run.asgi).post(path, sent)
        assert answer.status == 422
        assert "alert" in answer.html
