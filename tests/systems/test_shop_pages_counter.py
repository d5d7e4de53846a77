"""Behind the counter: who may see what happens inside for an order, what is shown of it, live, and the red button."""

from dataclasses import replace
from typing import Any

import pytest
from pages_browser import ADDRESS, Browser, Stream, filled, registered
from wiring import eventually

from archstone.context import Principal
from archstone.gateway import EventTold, Handling, Row, SagaStory, StepStory, Story, TraceStory
from archstone.runtime import Embedded
from archstone.runtime.console import RunConsole
from archstone.systems.shop.web.inside import inside


async def ordered(browser: Browser, card: str = "tok_ok") -> str:
    await filled(browser, ("KIT-001", 1))
    page = await browser.get("/checkout")
    return (await browser.submit(page, "/checkout", **{**ADDRESS, "card": card})).to


async def says(browser: Browser, path: str, *words: str) -> None:
    async def all_said() -> bool:
        text = (await browser.get(path)).text
        return all(each in text for each in words)

    await eventually(all_said)


async def test_an_order_is_shown_from_inside_with_its_steps_its_time_and_its_news(run: Embedded, ann: Browser) -> None:
    path = await ordered(ann)
    await says(ann, path, "Your order is confirmed")
    await says(
        ann, f"{path}/counter", "Set the goods aside", "Ask the bank for the money", "Confirm the order",
        "An order was confirmed", "analytics", "Checkout: from order to confirmation done", "POST /checkout",
    )  # fmt: skip
    page = await ann.get(f"{path}/counter")
    assert page.inline == [], "bars have no style of their own"
    assert '<rect x="' in page.html
    assert (await ann.get("/counter")).html.count("partners.hold_goods") == page.html.count("partners.hold_goods")


async def test_what_was_undone_is_shown_as_undone(run: Embedded, ann: Browser) -> None:
    path = await ordered(ann, "tok_declined")
    await says(ann, path, "Your card was declined")
    await says(ann, f"{path}/counter", "turned back", "undone", "Goods were put back")


async def test_it_is_shown_to_the_buyer_and_to_nobody_else(run: Embedded, ann: Browser) -> None:
    path = await ordered(ann)
    bob = await registered(Browser(run.asgi), "bob@example.com")
    assert (await bob.get(f"{path}/counter")).status == 404
    stream = Stream(bob, f"{path}/counter/events")
    await stream.task
    assert stream.status == 404
    guest = Browser(run.asgi)
    assert (await guest.get(f"{path}/counter")).to == f"/login?next={path}/counter"
    guests = Stream(guest, "/counter/events")
    await guests.task
    assert guests.status == 404
    assert "You have not ordered anything yet" in (await guest.get("/counter")).text


async def test_the_panel_is_told_while_it_goes_on_and_hangs_up_when_it_is_closed(run: Embedded, ann: Browser) -> None:
    path = await ordered(ann, "tok_timeout")
    stream = Stream(ann, f"{path}/counter/events")
    last = Stream(ann, "/counter/events")
    for each in (stream, last):
        await each.until('data-now="live"')
        await each.until('data-now="done"')
        assert set(each.events) == {"counter"}
        assert len(each.ids) == len(set(each.ids)), "nothing is told twice"
        await each.hang_up()


async def test_who_has_not_ordered_yet_is_told_once_and_need_not_come_back(run: Embedded, ann: Browser) -> None:
    stream = Stream(ann, "/counter/events")
    await stream.task
    assert (stream.status, stream.events) == (200, ["counter", "over"])
    assert "You have not ordered anything yet" in stream.text


async def test_without_chaos_there_is_no_button_and_nobody_is_killed(run: Embedded, ann: Browser) -> None:
    assert "/counter/kill" not in (await ann.get("/")).html
    assert (await ann.post("/counter/kill", {})).status == 404


async def test_with_chaos_a_visitor_may_kill_the_shop_and_it_is_known_who(
    run: Embedded, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[Principal] = []

    def kill(_: Any, who: Principal) -> None:
        killed.append(who)

    monkeypatch.setattr(RunConsole, "chaos", property(lambda _: True))
    monkeypatch.setattr(RunConsole, "kill", kill)
    page = await ann.get("/")
    assert page.form("/counter/kill").method == "post"
    assert "Kill the shop" in page.text
    assert (await Browser(run.asgi).post("/counter/kill", {})).to == "/login?next=/counter&told=ended"
    ann.headers = {"origin": "http://elsewhere.test", "sec-fetch-site": "cross-site"}
    assert (await ann.post("/counter/kill", {})).status == 403
    assert killed == []
    ann.headers = {}
    await ann.submit(page, "/counter/kill")
    assert [("admin" in who.roles, len(who.id)) for who in killed] == [(True, 32)], "as the visitor, whose id is logged"


def row(**other: Any) -> Row:
    fields: dict[str, Any] = {
        "id": "1", "parent": None, "depth": 0, "name": "Orders.place", "kind": "server", "service": "orders",
        "offset_us": 0, "duration_us": 1_000, "status": "ok", "error": None, "attempts": 1, "journal": False,
        "attributes": {},
    }  # fmt: skip
    return Row(**{**fields, **other})


def told(**other: Any) -> Story:
    step = StepStory(
        id="main/take_money#1", operation="partners.take_money", state="begun", begun_us=2_000_000, ended_us=None,
        undone_us=None, attempts=3, can_undo=True, error="the bank does not answer",
    )  # fmt: skip
    saga = SagaStory(
        id="s", service="orders", method="checkout", parent=None, status="running", going_back=True,
        began_us=1_000_000, ended_us=None, attempts=0, why=None, error=None, steps=(step,), left_out=0,
    )  # fmt: skip
    handled = Handling(group="carts", state="handled", attempts=1, began_us=1, ended_us=2, error=None, letter=None)
    dead = Handling(group="mail", state="dead", attempts=8, began_us=1, ended_us=2, error="no post", letter=1)
    event = EventTold(
        id="e", name="orders.order-placed", service="orders", published_us=1_000_000, sent_us=1_002_000,
        handlings=(handled, dead),
    )  # fmt: skip
    rows = (row(duration_us=500), row(id="2", depth=9, offset_us=999_999, status="lost", duration_us=0))
    trace = TraceStory(id="t", began_us=1_000_000, duration_us=1_000_000, rows=rows, left_out=7)
    fields: dict[str, Any] = {
        "ref": "o", "mark": "m", "found": True, "live": True, "now_us": 3_000_000, "began_us": 1_000_000,
        "traces": (trace,), "sagas": (saga,), "events": (event,), "starts_us": (1_500_000,),
    }  # fmt: skip
    return Story(**{**fields, **other})


def test_bars_stay_within_their_waterfall_and_can_be_seen_however_short() -> None:
    (fall,) = inside(told()).falls
    assert all(bar.at >= 0 and bar.width >= 4 and bar.at + bar.width <= 1000 for bar in fall.bars)
    assert fall.bars[1].indent == 4
    assert (fall.cuts, fall.left_out) == ((500,), 7)


def test_steps_attempts_and_faults_have_their_words() -> None:
    shown = inside(told())
    (way,) = shown.ways
    assert way.told.startswith("is being undone")
    assert (way.steps[0].words, way.steps[0].told) == ("Ask the bank for the money", "at work, 3 attempts")
    assert way.steps[0].error == "the bank does not answer"
    (news,) = shown.news
    assert (news.state, news.left) == ("dead", "left after 2.0 ms")
    assert news.handlers[1].told == "dead, 8 attempts, no post"
    assert shown.now == "live"
    assert "started again once" in shown.restarts
    assert "500.0 ms after it began" in shown.restarts


@pytest.mark.parametrize(
    ("status", "live", "stand", "now"),
    [
        ("running", True, "At work", "live"), ("stuck", True, "Stuck", "stuck"), ("stuck", False, "Stuck", "stuck"),
        ("failed", True, "At work", "live"), ("failed", False, "Turned back", "back"),
        ("done", False, "All done", "done"),
    ],
)  # fmt: skip
def test_the_headline_and_the_dot_say_how_it_ended(status: Any, live: bool, stand: str, now: str) -> None:
    (saga,) = told().sagas
    shown = inside(told(sagas=(replace(saga, status=status),), live=live))
    assert shown.headline == f"{stand}: 0 of 1 steps, 1 events, handled 1 times"
    assert shown.now == now


def test_of_what_nothing_is_known_is_said_so() -> None:
    shown = inside(told(found=False, live=False, began_us=None, traces=(), sagas=(), events=(), starts_us=()))
    assert (shown.now, shown.falls, shown.restarts) == ("nothing", (), "")
