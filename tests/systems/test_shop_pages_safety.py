"""What the pages refuse: forms from elsewhere, cookies that are not theirs, guesses, and whatever is too much."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pages_browser import HOST, Browser, filled, registered
from wiring import running

from archstone.runtime import Embedded, Settings
from archstone.services.http import ask
from archstone.systems.shop.system import shop
from archstone.systems.shop.web.cookies import cookies_of
from archstone.systems.shop.web.exchange import local_path

pytestmark = pytest.mark.sqlite_only("what is refused at the door reaches no database")

TOKEN = "t" * 43
PASSWORD = "a quiet evening"


class Stalled:
    """An application as it is met by a client that sends the beginning of a form and no more."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        parts = [{"type": "http.request", "body": b"email=", "more_body": True}]

        async def part() -> Any:
            return parts.pop() if parts else await asyncio.Event().wait()

        await self.app(scope, part, send)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({"sec-fetch-site": ""}, 303),
        ({"origin": ""}, 303),
        ({"sec-fetch-site": "", "origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": f"https://{HOST}"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "null", "sec-fetch-site": ""}, 403),
        ({"origin": f"http://{HOST}.evil.test", "sec-fetch-site": ""}, 403),
        ({"host": ""}, 403),
    ],
)
async def test_a_form_counts_only_if_it_comes_from_our_own_pages(
    run: Embedded, headers: Mapping[str, str], status: int
) -> None:
    ann = await registered(Browser(run.asgi))
    ann.headers = headers
    answer = await ann.post("/cart/lines", {"sku": "KIT-001", "quantity": "1"})
    assert answer.status == status
    ann.headers = {}
    assert ("Cart 1" in (await ann.get("/")).text) == (status == 303)
    if status == 403:
        assert "nothing has been done" in answer.text


async def test_every_form_of_the_pages_is_guarded(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    ann.headers = {"origin": "http://evil.test", "sec-fetch-site": "cross-site"}
    order = "/orders/" + "0" * 32
    for path in (
        "/cart/lines", "/cart/clear", "/checkout", f"{order}/cancel", f"{order}/again", "/account/name",
        "/account/preferences", "/account/password", "/account/delete",
        "/account/sign-out-everywhere", "/login", "/register", "/logout",
    ):  # fmt: skip
        assert (await ann.post(path, {})).status == 403, path


async def test_over_https_the_cookie_is_bound_to_the_host_and_over_http_it_has_a_plain_name(run: Embedded) -> None:
    secure = Browser(run.asgi, scheme="https")
    page = await secure.get("/register")
    answer = await secure.submit(page, "/register", email="ann@example.com", name="Ann", password=PASSWORD)
    (cookie,) = answer.cookies
    assert cookie.startswith("__Host-shop-session=")
    parts = set(cookie.split("; ")[1:])
    assert parts == {"Path=/", "Max-Age=1209600", "HttpOnly", "SameSite=Lax", "Secure"}
    assert (await secure.get("/account")).status == 200
    plain = Browser(run.asgi)
    page = await plain.get("/login")
    (cookie,) = (await plain.submit(page, "/login", email="ann@example.com", password=PASSWORD)).cookies
    assert cookie.startswith("shop-session=")
    assert set(cookie.split("; ")[1:]) == {"Path=/", "Max-Age=1209600", "HttpOnly", "SameSite=Lax"}
    plain.scheme = "https"
    assert (await plain.get("/account")).status == 303, "a plain cookie counts for nothing over https"


def test_a_cookie_that_comes_twice_or_malformed_counts_as_absent() -> None:
    def seen(*values: str) -> dict[str, str]:
        return cookies_of([(b"cookie", value.encode()) for value in values], https=False)

    assert seen(f"shop-session={TOKEN}; other=1") == {"shop-session": TOKEN}
    assert seen(f"shop-session={TOKEN}", f"shop-cart={TOKEN}") == {"shop-session": TOKEN, "shop-cart": TOKEN}
    for bad in (
        f"shop-session={TOKEN}; shop-session={'u' * 43}", "shop-session=short", f"shop-session={TOKEN}x",
        "shop-session", "", f"Shop-Session={TOKEN}", f"__Host-shop-session={TOKEN}",
    ):  # fmt: skip
        assert seen(bad) == {}, bad


async def test_pages_tell_browsers_what_they_may_not_do(run: Embedded) -> None:
    for scheme in ("http", "https"):
        told = (await Browser(run.asgi, scheme=scheme).get("/")).headers
        policy = told["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert told["cross-origin-opener-policy"] == "same-origin"
        assert told["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in told["permissions-policy"]
        assert told["referrer-policy"] == "same-origin"
        assert ("strict-transport-security" in told) == (scheme == "https")


async def test_signing_in_takes_a_new_token_and_the_old_one_ends(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    old = dict(ann.cookies)
    answer = await ann.post("/login", {"email": "ann@example.com", "password": PASSWORD, "next": "/orders"})
    assert answer.to == "/orders"
    assert ann.cookies != old
    assert (await Browser(run.asgi, cookies=old).get("/account")).status == 303
    assert (await ann.get("/account")).status == 200


async def test_a_visit_after_a_day_keeps_session_and_cookie_longer(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    assert (await ann.get("/")).cookies == []
    users = run.parts.services["users"].database
    await users.execute("UPDATE browser_sessions SET seen_at = seen_at - 90000000000")
    kept = dict(ann.cookies)
    (cookie,) = (await ann.get("/")).cookies
    assert "Max-Age=1209600" in cookie
    assert ann.cookies == kept
    assert (await ann.get("/")).cookies == []
    await users.execute("UPDATE browser_sessions SET seen_at = seen_at - 90000000000")
    await ann.post("/logout", {})
    assert ann.cookies == {}


async def test_a_guests_cart_is_remembered_from_its_last_change(run: Embedded) -> None:
    guest = Browser(run.asgi)
    for quantity in ("1", "2"):
        (cookie,) = (await guest.post("/cart/lines", {"sku": "KIT-001", "quantity": quantity})).cookies
        assert cookie.startswith(f"shop-cart={guest.cookies['shop-cart']}; Path=/; Max-Age=2592000; HttpOnly")


async def test_signing_out_ends_the_session_itself_and_not_only_the_cookie(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    kept = dict(ann.cookies)
    left = await ann.submit(await ann.get("/"), "/logout")
    assert left.headers["clear-site-data"] == '"cache", "storage"'
    assert ann.cookies == {}
    thief = Browser(run.asgi, cookies=kept)
    assert (await thief.get("/account")).to == "/login?next=/account"
    assert (await ann.post("/logout", {})).status == 303


async def test_signing_out_everywhere_ends_every_browser(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    phone = Browser(run.asgi)
    await phone.post("/login", {"email": "ann@example.com", "password": PASSWORD})
    assert (await phone.get("/account")).status == 200
    await ann.submit(await ann.get("/account"), "/account/sign-out-everywhere")
    assert [(await browser.get("/account")).status for browser in (ann, phone)] == [303, 303]


async def test_who_was_signed_out_meanwhile_comes_back_to_the_page_of_the_form(run: Embedded) -> None:
    guest = Browser(run.asgi)
    order = "/orders/" + "0" * 32
    for path, back in (
        ("/checkout", "/checkout"), ("/account/name", "/account"), (f"{order}/cancel", order)
    ):  # fmt: skip
        answer = await guest.post(path, {})
        assert answer.to == f"/login?next={back}&told=ended"
        assert "so nothing was done" in (await guest.follow(answer)).text


async def test_the_session_is_no_key_to_the_api(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    assert (await ann.get("/api/v1/users/me")).status == 401
    ann.headers = {"authorization": f"Bearer {ann.cookies['shop-session']}"}
    assert (await ann.get("/api/v1/users/me")).status == 401


async def test_wrong_passwords_are_told_alike_and_kept_nowhere(run: Embedded) -> None:
    await registered(Browser(run.asgi))
    guest = Browser(run.asgi)
    page = await guest.get("/login?next=/cart")
    known = await guest.submit(page, "/login", email="ann@example.com", password="wrong wrong")
    unknown = await guest.submit(page, "/login", email="bob@example.com", password="wrong wrong")
    assert known.status == unknown.status == 422
    for answer in (known, unknown):
        assert "E-mail address or password is wrong." in answer.text
        assert "wrong wrong" not in answer.html
        assert answer.form("/login").fields["next"] == "/cart"
    assert known.form("/login").fields["email"] == "ann@example.com"
    assert guest.cookies == {}


async def test_guessing_passwords_is_slowed_down_for_each_account(run: Embedded) -> None:
    await registered(Browser(run.asgi))
    guest = Browser(run.asgi)
    for _ in range(10):
        assert (await guest.post("/login", {"email": "ann@example.com", "password": "guess"})).status == 422
    slowed = await guest.post("/login", {"email": "ANN@example.com", "password": "guess"})
    assert (slowed.status, "Too many attempts" in slowed.text) == (429, True)
    assert int(slowed.headers["retry-after"]) >= 1
    elsewhere = Browser(run.asgi, client=("192.0.2.7", 1))
    assert (await elsewhere.post("/login", {"email": "ann@example.com", "password": "guess"})).status == 429


@pytest.mark.parametrize(
    ("email", "password", "told"),
    [
        ("nobody", PASSWORD, "an e-mail address, such as"),
        ("ann@example.com", "short", "a password of 8 to 200"),
        ("ann@example.com", "password123", "stolen passwords"),
        ("taken@example.com", PASSWORD, "Please sign in"),
    ],
)
async def test_what_is_wrong_with_an_account_is_told_beside_the_field(
    run: Embedded, email: str, password: str, told: str
) -> None:
    await registered(Browser(run.asgi), "taken@example.com")
    guest = Browser(run.asgi)
    page = await guest.get("/register")
    answer = await guest.submit(page, "/register", email=email, name="Ann <b>", password=password)
    assert answer.status in {409, 422}
    assert told in answer.text
    assert answer.form("/register").fields["name"] == "Ann <b>"
    assert f'value="{password}"' not in answer.html
    assert guest.cookies == {}


@pytest.mark.parametrize(
    "offered",
    [
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "evil",
        "",
        "/a b",
        "/a\r\nset-cookie:x",
        "/ä",
        "/" + "x" * 300,
    ],
)
def test_nobody_is_sent_to_another_site_after_signing_in(offered: str) -> None:
    assert local_path(offered) == "/"
    assert local_path("/orders?cursor=a%20b") == "/orders?cursor=a%20b"


async def test_what_is_no_form_of_ours_is_refused(run: Embedded) -> None:
    guest = Browser(run.asgi)
    assert (await guest.post("/login", {"email": "x" * 40_000})).status == 413
    assert (await guest.post("/login", {f"f{n}": "" for n in range(60)})).status == 413
    guest.headers = {"content-type": "application/json"}
    assert (await guest.post("/login", {})).status == 415
    guest.headers = {}
    assert (await guest.post("/", {})).headers["allow"] == "GET"
    assert (await guest.get("/logout")).status == 405


async def test_broken_bytes_in_a_form_or_an_address_are_no_failure(run: Embedded) -> None:
    guest = Browser(run.asgi)
    own = [("host", HOST), ("origin", f"http://{HOST}"), ("content-type", "application/x-www-form-urlencoded")]
    body = b"email=%ff%fe%00&password=\xff\xfe&next=%0d%0ax"
    assert (await ask(run.asgi, "POST", "/login", headers=own, body=body)).status == 422
    for path in ("/search?q=%00%ff", "/search?q=%F0%9F%92%A9%27%22*", "/c/kitchen?cursor=%ff", "/%ff%fe", "/?told=%00"):
        assert (await guest.get(path)).status in {200, 303, 404}, path


async def test_a_form_that_never_ends_is_given_up_and_only_so_many_are_waited_for(
    run: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archstone.systems.shop.web.body.MOST", 1)
    own = [("host", HOST), ("origin", f"http://{HOST}"), ("content-type", "application/x-www-form-urlencoded")]
    slow = asyncio.create_task(ask(Stalled(run.asgi), "POST", "/login", headers=own))
    await asyncio.sleep(1)
    assert (await Browser(run.asgi).post("/login", {})).status == 503
    assert (await slow).status == 408
    assert (await Browser(run.asgi).post("/login", {})).status == 422


async def test_asking_for_the_head_of_a_stream_opens_none(run: Embedded) -> None:
    await ask(run.asgi, "HEAD", f"/orders/{'0' * 32}/events")


async def test_who_comes_too_often_is_told_to_wait_and_others_are_not(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path, settings=Settings(rate_limit_per_s=2)) as run:
        busy, calm = Browser(run.asgi), Browser(run.asgi, client=("192.0.2.7", 1))
        answers = [await busy.get("/") for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
        assert "a bit fast" in answers[-1].text
        assert (await calm.get("/")).status == 200


async def test_a_service_that_fails_is_a_page_and_the_frame_does_without(run: Embedded) -> None:
    guest = Browser(run.asgi)
    await filled(guest, ("KIT-001", 1))
    await run.parts.services["carts"].database.execute("DROP TABLE lines")
    assert (await guest.get("/")).status == 200
    broken = await guest.get("/cart")
    assert broken.status == 500
    assert "Something went wrong" in broken.text
    assert "lines" not in broken.text, "what failed is for the log"
