"""The pages, without a browser: what is shown to whom, and what a form does."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk_stage import ADMIN, Stage, Visitor, exchange_running

from archstone.systems.exchange.accounts.contract import AccountAdmin
from archstone.systems.exchange.desk.contract import Quotes
from archstone.systems.exchange.desk.risk import Risk
from archstone.systems.exchange.web.routes import ROUTES

PASSWORD = "seven quiet herons"

pytestmark = pytest.mark.sqlite_only("the pages and the stream ask services; test_desk_trading asks their databases")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with exchange_running(tmp_path / "exchange") as stage:
        yield stage


async def signed_up(stage: Stage) -> Visitor:
    visitor = Visitor(stage.run.asgi)
    assert (await visitor.post("/trial", next="/trade/ACME")).headers["location"] == "/trade/ACME"
    return visitor


async def admin(stage: Stage) -> Visitor:
    visitor = Visitor(stage.run.asgi)
    made = await visitor.post("/register", email="ann@example.org", password=PASSWORD, name="Ann", next="/risk")
    assert made.status == 303
    await stage.client(AccountAdmin, ADMIN).grant("ann@example.org", "admin")
    return visitor


async def test_every_page_is_served_with_a_strict_policy_and_without_inline_scripts(stage: Stage) -> None:
    visitor = await admin(stage)
    await visitor.post("/trade/ACME/orders", side="buy", kind="limit", quantity="3", price="99.50", tif="gtc")
    for route in ROUTES:
        if route.method != "GET":
            continue
        path = route.path.replace("{symbol}", "ACME").replace("{account}", "1001")
        answer = await visitor.get(path)
        assert (path, answer.status) in {(path, 200), ("/login", 303)}
        policy = answer.headers.get("content-security-policy", "default-src 'none'")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", answer.text), path


async def test_a_stranger_sees_the_market_and_is_asked_in_to_trade(stage: Stage) -> None:
    stranger = Visitor(stage.run.asgi)
    assert "ACME" in (await stranger.get("/")).text
    assert "Trade with play money" in (await stranger.get("/trade/ACME")).text
    asked = await stranger.get("/account")
    assert (asked.status, asked.headers["location"]) == (303, "/login?next=/account")
    placed = await stranger.post("/trade/ACME/orders", side="buy", kind="limit", quantity="1", price="99")
    assert placed.headers["location"].startswith("/login?next=/trade/ACME")


async def test_an_order_is_placed_and_canceled_without_a_script(stage: Stage) -> None:
    visitor = await signed_up(stage)
    placed = await visitor.post("/trade/ACME/orders", side="buy", kind="limit", quantity="7", price="99.50", tif="gtc")
    assert placed.headers["location"] == "/trade/ACME?told=placed"
    page = (await visitor.get("/trade/ACME")).text
    assert '<tr data-key="1">' in page
    assert 'data-price="9950"' in page
    gone = await visitor.post("/trade/ACME/cancel", number="1")
    assert gone.headers["location"] == "/trade/ACME?told=canceled"
    assert '<tr data-key="1">' not in (await visitor.get("/trade/ACME")).text


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"quantity": "many"}, "whole number of lots"),
        ({"price": "99.505"}, "at most 2 decimals"),
        ({"quantity": "0"}, "Lots: write a whole number of lots, at least 1."),
        ({"quantity": "9" * 5_000}, "Lots: write a whole number of lots, at least 1."),
        ({"price": ""}, "Limit price: "),
        ({"price": "99999999999"}, "is no price from 0.01 to 21,474,836.47"),
        ({"side": "up"}, "side"),
        ({"price": "1.00"}, "too far from the last one"),
    ],
)
async def test_what_is_wrong_with_a_ticket_is_said_beside_it(stage: Stage, form: dict[str, str], told: str) -> None:
    visitor = await signed_up(stage)
    ticket = {"side": "buy", "kind": "limit", "quantity": "1", "price": "99.50", "tif": "gtc", **form}
    answer = await visitor.post("/trade/ACME/orders", **ticket)
    assert answer.status == 422
    assert told in answer.text


async def test_a_number_that_no_order_can_have_is_no_form_of_ours(stage: Stage) -> None:
    visitor = await signed_up(stage)
    assert (await visitor.post("/trade/ACME/cancel", number="9" * 30)).status == 400
    assert (await visitor.post("/trade/ACME/cancel", number="x")).status == 400
    assert (await visitor.post("/trade/ACME/cancel", number="77")).headers["location"].endswith("told=ended")


async def test_a_form_of_another_site_does_nothing(stage: Stage) -> None:
    visitor = await signed_up(stage)
    visitor.origin = "https://evil.example"
    answer = await visitor.post("/trade/ACME/orders", side="buy", kind="limit", quantity="7", price="99.50")
    assert answer.status == 403
    assert "<tr data-key" not in (await visitor.get("/trade/ACME")).text


async def test_the_risk_console_is_for_those_who_watch_over_risk(stage: Stage) -> None:
    visitor = await signed_up(stage)
    assert (await visitor.get("/risk")).status == 403
    assert (await visitor.post("/risk/kill", on="yes")).status == 403
    assert (await visitor.post("/risk/phase", symbol="ACME", phase="halted")).status == 403
    boss = await admin(stage)
    page = await boss.get("/risk")
    assert page.status == 200
    assert "Stop everybody" in page.text
    assert (await boss.post("/risk/phase", symbol="ACME", phase="halted")).headers["location"] == "/risk?told=halted"
    assert "auction" in (await boss.get("/risk")).text
    for form in ({"symbol": "ACME", "phase": "odd"}, {"symbol": "acme", "phase": "halted"}, {}):
        assert (await boss.post("/risk/phase", **form)).status == 400
    assert (await boss.post("/risk/kill", on="perhaps")).status == 400
    assert (await boss.post("/risk/phase", symbol="ACME", phase="continuous")).headers["location"].endswith("no-move")


async def test_what_the_breaker_has_halted_goes_on_by_itself_unless_it_is_held(stage: Stage) -> None:
    boss, ann, bob = await admin(stage), await stage.trader(), await stage.trader()

    async def phase_after_a_halt(price: int, *, held: bool) -> str:
        for each in (price, price * 108 // 100):
            await ann.place("sell", 1, each)
            await bob.place("buy", 1, each)
        assert 'aria-label="Hold ACME"' in (await boss.get("/risk")).text
        if held:
            told = await boss.post("/risk/phase", symbol="ACME", phase="halted")
            assert told.headers["location"] == "/risk?told=halted"
        await asyncio.sleep(120)
        return (await stage.client(Quotes).instruments()).items[0].phase

    assert await phase_after_a_halt(10_000, held=False) == "continuous"
    assert await phase_after_a_halt(10_800, held=True) == "halted"


async def test_limits_are_set_and_an_account_is_stopped_by_form(stage: Stage) -> None:
    visitor, boss = await signed_up(stage), await admin(stage)
    await visitor.get("/trade/ACME")  # the venue knows the account from now on
    page = await boss.get("/risk/accounts/1001")
    assert 'value="5,000"' in page.text
    told = await boss.post("/risk/accounts/1001/limits", limit="quantity", to="17")
    assert told.headers["location"].endswith("told=limit")
    assert 'value="17"' in (await boss.get("/risk/accounts/1001")).text
    assert (
        (await boss.post("/risk/accounts/1001/limits", limit="quantity", to="x")).headers["location"].endswith("number")
    )
    await boss.post("/risk/accounts/1001/kill", on="yes")
    assert "It is stopped" in (await boss.get("/risk/accounts/1001")).text
    refused = await visitor.post("/trade/ACME/orders", side="buy", kind="limit", quantity="1", price="99.50", tif="gtc")
    assert "kill switch" in refused.text


async def test_money_limits_are_written_as_money(stage: Stage) -> None:
    visitor, boss = await signed_up(stage), await admin(stage)
    await visitor.get("/trade/ACME")
    assert 'value="500,000.00"' in (await boss.get("/risk/accounts/1001")).text
    for typed, kept in (("1,250.50", 125_050), ("1250.5", 125_050), ("7", 700), ("0", 0)):
        told = await boss.post("/risk/accounts/1001/limits", limit="value", to=typed)
        assert told.headers["location"].endswith("told=limit")
        assert (await stage.client(Risk, ADMIN).account(1001)).limits.value == kept
    for typed in ("1.234", "-1", ".5", "a.bc", "1.2.3", ""):
        told = await boss.post("/risk/accounts/1001/limits", limit="value", to=typed)
        assert told.headers["location"].endswith("told=no-number"), typed
    assert (await stage.client(Risk, ADMIN).account(1001)).limits.value == 0


async def test_an_account_is_found_by_its_number(stage: Stage) -> None:
    visitor, boss = await signed_up(stage), await admin(stage)
    await visitor.get("/trade/ACME")
    assert (await boss.get("/risk?account=1001")).headers["location"] == "/risk/accounts/1001"
    assert (await boss.get("/risk?account=" + "9" * 30)).headers["location"] == f"/risk/accounts/{2**32 - 1}"
    assert (await boss.get("/risk?account=x")).status == 200
    unknown = await boss.get("/risk/accounts/77")
    assert (unknown.status, "knows no such account" in unknown.text) == (404, True)


async def test_orders_and_fills_that_are_over_are_found_by_instrument(stage: Stage) -> None:
    visitor, other = await signed_up(stage), await stage.trader()
    await other.place("sell", 4, 10_050)
    await visitor.post("/trade/ACME/orders", side="buy", kind="market", quantity="7")
    await visitor.post("/trade/BORE/orders", side="buy", kind="limit", quantity="2", price="42.00", tif="gtc")
    ended = (await visitor.get("/orders?show=ended")).text
    assert "nobody takes the rest" in ended
    assert "No ended orders of BORE." in (await visitor.get("/orders?show=ended&symbol=BORE")).text
    fills = (await visitor.get("/orders?show=fills&symbol=ACME")).text
    assert '<td class="number">100.50</td><td class="number">4</td><td class="number">402.00</td>' in fills
    assert "No fills of BORE." in (await visitor.get("/orders?show=fills&symbol=BORE")).text
    open_ones = (await visitor.get("/orders?show=odd&symbol=odd")).text
    assert '<td class="number">42.00</td>' in open_ones
    assert "402.00" not in open_ones


async def test_a_statement_tells_what_clearing_has_booked(stage: Stage) -> None:
    visitor, other = await signed_up(stage), await stage.trader()
    await other.place("sell", 4, 10_050)
    await visitor.post("/trade/ACME/orders", side="buy", kind="market", quantity="4")
    await asyncio.sleep(5)  # the tape, the bus, and the inbox of clearing
    today = (await visitor.get("/statement")).text
    assert '<td class="number up">+4</td><td class="time">ACME lots</td>' in today
    assert '<td class="number down">-402.00</td><td class="time">money</td>' in today
    for asked in ("?day=1970-01-02", "?day=1970-01-02&after=1"):
        assert "Nothing moved." in (await visitor.get(f"/statement{asked}")).text
    for asked in ("?day=odd", "?day=9999-12-31", "?after=x", "?day=0001-01-01", "?after=" + "9" * 40):
        assert (await visitor.get(f"/statement{asked}")).status == 200, asked


async def test_a_trial_that_ends_says_that_it_is_gone(stage: Stage) -> None:
    visitor = await signed_up(stage)
    assert "End the trial" in (await visitor.get("/")).text
    gone = await visitor.post("/logout")
    assert gone.headers["location"] == "/?told=trial-ended"
    assert "Its account is gone" in (await visitor.get("/?told=trial-ended")).text


async def test_signing_in_and_out(stage: Stage) -> None:
    visitor = await admin(stage)
    out = await visitor.post("/logout")
    assert out.status == 303
    assert (await visitor.get("/account")).status == 303
    wrong = await visitor.post("/login", email="ann@example.org", password="wrong", next="/account")
    assert wrong.status == 422
    right = await visitor.post("/login", email="ann@example.org", password=PASSWORD, next="/account")
    assert right.headers["location"] == "/account"
    assert "Ann" in (await visitor.get("/account")).text


async def test_an_address_is_the_same_however_it_is_written_and_must_be_one(stage: Stage) -> None:
    visitor = Visitor(stage.run.asgi)
    assert (await visitor.post("/register", email="nobody", password=PASSWORD, name="Ann")).status == 422
    assert (await visitor.post("/register", email="Ann@Example.ORG", password=PASSWORD, name="Ann")).status == 303
    again = Visitor(stage.run.asgi)
    assert (await again.post("/register", email="ann@example.org", password=PASSWORD, name="Ann")).status == 422
    assert (await again.post("/login", email="ANN@example.org", password=PASSWORD)).status == 303


async def test_nobody_is_sent_elsewhere_after_signing_in(stage: Stage) -> None:
    visitor = Visitor(stage.run.asgi)
    assert (await visitor.post("/trial", next="//evil.example/")).headers["location"] == "/"


async def test_a_key_is_shown_once(stage: Stage) -> None:
    visitor = await signed_up(stage)
    made = await visitor.post("/account/keys", name="my bot", trades="on")
    text = re.search(r"ask_[0-9A-Za-z]{44}", made.text)
    assert text is not None
    again = await visitor.get("/account")
    assert text[0] not in again.text
    key = re.search(r"/account/keys/([0-9a-f]{32})/end", again.text)
    assert key is not None
    await visitor.post(f"/account/keys/{key[1]}/end")
    assert "my bot" not in (await visitor.get("/account")).text


async def test_the_colours_are_remembered(stage: Stage) -> None:
    visitor = Visitor(stage.run.asgi)
    assert 'data-theme="auto"' in (await visitor.get("/")).text
    await visitor.post("/theme", theme="dark", next="/")
    assert 'data-theme="dark"' in (await visitor.get("/")).text


async def test_what_is_not_there_is_a_page_too(stage: Stage) -> None:
    visitor = Visitor(stage.run.asgi)
    for path in ("/trade/NOPE", "/nothing", "/assets/nothing.js"):
        answer = await visitor.get(path, accept="text/html")
        assert (path, answer.status) == (path, 404)
        assert "There is no such page" in answer.text


async def test_a_vendored_script_is_packed_and_may_be_kept(stage: Stage) -> None:
    visitor = Visitor(stage.run.asgi)
    found = re.search(r'src="(/assets/lightweight-charts[^"]+)"', (await visitor.get("/trade/ACME")).text)
    assert found is not None
    assert "content-encoding" not in (await visitor.get(found[1], **{"accept-encoding": "gzip;q=0"})).headers
    answer = await visitor.get(found[1], **{"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
