"""What people see of an order that goes by events: its page, the panel, the administration, a trace."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pages_browser import ADDRESS, Answer, Browser, Stream, filled
from wiring import running

from archstone.gateway import EventTold, Handling, SagaStory, Story
from archstone.runtime import Embedded, Operator
from archstone.systems.shop.system import shop
from archstone.systems.shop.web.inside import inside

CHAIN = (
    "Please hold the goods",
    "Goods are held: please take the money",
    "Money is taken: please make out the parcel",
    "Parcel is made out: please sell the goods",
    "Goods are sold: please confirm",
)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with running(shop, data=tmp_path, options={"checkout": "choreography"}) as run:
        yield run


async def ordered(browser: Browser, card: str = "tok_ok") -> str:
    await filled(browser, ("KIT-001", 1))
    return (await browser.submit(await browser.get("/checkout"), "/checkout", **ADDRESS, card=card)).to


async def says(browser: Browser, path: str, *words: str) -> Answer:
    """Return the page once it says all this."""
    for _ in range(200):
        page = await browser.get(path)
        missing = [each for each in words if each not in page.text]
        if not missing:
            return page
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} never says {missing}: {page.text}")


async def test_the_panel_tells_the_chain_link_by_link_and_that_no_journal_has_the_whole(ann: Browser) -> None:
    path = await ordered(ann)
    await says(ann, path, "Your order is confirmed")
    page = await says(
        ann, f"{path}/counter", "Checkout by events: from order to confirmation done", "No saga carries this order",
        "inventory \u2192 payments, done", "Charge the card at the bank", "Mail: confirmed",
        "POST /checkout", *CHAIN,
    )  # fmt: skip
    steps = page.text[page.text.index("The steps") : page.text.index("A link of the chain")]
    assert [steps.index(words) for words in CHAIN] == sorted(steps.index(words) for words in CHAIN)
    assert 'data-now="done"' in page.html
    assert page.inline == []


async def test_the_panel_tells_how_it_went_back(ann: Browser) -> None:
    path = await ordered(ann, "tok_declined")
    await says(ann, path, "Your card was declined")
    page = await says(ann, f"{path}/counter", "No money: please put the goods back", "Goods are back: please cancel")
    assert 'data-now="back"' in page.html
    assert CHAIN[2] not in page.text


async def test_the_order_and_the_panel_move_live(ann: Browser) -> None:
    path = await ordered(ann, "tok_timeout")
    order, panel = Stream(ann, f"{path}/events"), Stream(ann, f"{path}/counter/events")
    await panel.until('data-now="live"')
    await order.until("Your order is confirmed")
    await panel.until('data-now="done"')
    assert "setting the goods aside" in order.text
    assert CHAIN[1] in panel.text
    for stream in (order, panel):
        await stream.hang_up()


async def test_the_administration_tells_the_form_the_deadline_and_every_link(ann: Browser, root: Browser) -> None:
    path = f"/admin{await ordered(ann, 'tok_timeout')}"
    waiting = await says(root, path, "By events, without a saga", "Turned back if not ended by")
    assert "Turned back 1" not in waiting.text
    done = await says(root, path, "inventory.goods-sold: handled by orders", "till.charge done", "Mail to")
    assert "By events, without a saga" in done.text
    assert "Turned back if not ended by" not in done.text
    await ann.submit(await ann.get(cancelled := await ordered(ann, "tok_timeout")), f"{cancelled}/cancel")
    await says(root, f"/admin{cancelled}", "Turned back 1 time", "orders.checkout-turned-back: handled by shipping")


async def test_a_trace_of_the_order_shows_every_link(run: Embedded, ann: Browser) -> None:
    path = await ordered(ann)
    await says(ann, path, "Your order is confirmed")
    await says(ann, f"{path}/counter", "from order to confirmation done")
    answer = await Operator(run).answer("trace", {"reference": path.removeprefix("/orders/")})
    links = ("checkout-begun", "goods-held", "money-taken", "parcel-made-out", "goods-sold")
    told = [next(n for n, line in enumerate(answer["waterfall"].splitlines()) if link in line) for link in links]
    assert told == sorted(told)
    saga = await Operator(run).answer("saga", {"id": path.removeprefix("/orders/")})
    assert [step["operation"] for step in saga["steps"]] == ["till.charge", "tell_taken"]


def told(*events: EventTold, live: bool = False) -> Story:
    return Story(
        ref="o", mark="m", found=True, live=live, now_us=3_000_000, began_us=1_000_000, traces=(), sagas=(),
        events=events, starts_us=(),
    )  # fmt: skip


def event(name: str, group: str, **other: object) -> EventTold:
    handling = Handling(
        group=group, state="handled", attempts=1, began_us=1, ended_us=1_003_000, error=None, letter=None
    )
    return EventTold(
        id=name, name=name, service=name.partition(".")[0], published_us=1_000_000, sent_us=1_001_000,
        handlings=(replace(handling, **other),),
    )  # fmt: skip


def test_a_link_that_was_given_up_is_stuck_until_the_order_has_an_end() -> None:
    begun = event("orders.checkout-begun", "inventory")
    dead = event("inventory.goods-held", "payments", state="dead", error="no bank")
    shown = inside(told(begun, dead))
    (way,) = shown.ways
    assert (shown.now, way.told) == ("stuck", "stands still until its deadline turns it back")
    assert [(step.state, step.told, step.error) for step in way.steps] == [
        ("done", "orders \u2192 inventory, done, 3.0 ms", None),
        ("failed", "inventory \u2192 payments, failed", "no bank"),
    ]
    turned = event("orders.checkout-turned-back", "shipping")
    ended = inside(told(begun, dead, turned, event("orders.order-cancelled", "analytics")))
    assert (ended.now, ended.ways[0].told, ended.ways[0].going_back) == ("back", "turned back", True)


def test_a_link_that_waits_is_at_work() -> None:
    shown = inside(told(event("orders.checkout-begun", "inventory", state="waiting", ended_us=None), live=True))
    assert (shown.now, shown.ways[0].told) == ("live", "goes on")
    assert shown.ways[0].steps[0].told == "orders \u2192 inventory, at work"


def test_of_a_chain_whose_news_is_not_known_any_more_its_sagas_are_told() -> None:
    charge = SagaStory(
        id="o", service="payments", method="take_money", parent=None, status="done", going_back=False,
        began_us=1_000_000, ended_us=2_000_000, attempts=0, why=None, error=None, steps=(), left_out=0,
    )  # fmt: skip
    shown = inside(replace(told(), sagas=(charge,)))
    assert (shown.by_events, shown.now) == (True, "done")
    assert [way.title for way in shown.ways] == ["A link of the chain: payments takes the money"]


def test_an_order_of_a_saga_has_no_chain() -> None:
    shown = inside(told(event("orders.order-placed", "carts"), event("inventory.stock-reserved", "nobody")))
    assert (shown.by_events, shown.ways) == (False, ())
