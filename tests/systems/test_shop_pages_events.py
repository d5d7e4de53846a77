"""An order's page that changes by itself: what is sent, resumed, bounded and ended."""

import asyncio
from pathlib import Path

import pytest
from pages_browser import ADDRESS, Browser, Stream, filled, registered
from wiring import eventually, running

from archstone.runtime import Embedded
from archstone.systems.shop.system import shop
from archstone.systems.shop.web.streams import HEARTBEAT_S, LONGEST_S, MOST_EACH


async def ordered(browser: Browser, card: str = "tok_ok") -> str:
    await filled(browser, ("KIT-001", 1))
    return (await browser.submit(await browser.get("/checkout"), "/checkout", **ADDRESS, card=card)).to


async def confirmed(browser: Browser, path: str) -> str:
    async def is_confirmed() -> bool:
        return "Your order is confirmed" in (await browser.get(path)).text

    await eventually(is_confirmed)
    return path


async def test_the_page_hears_of_waiting_of_a_slow_bank_and_of_the_end(ann: Browser) -> None:
    path = await ordered(ann, "tok_timeout")
    stream = Stream(ann, f"{path}/events")
    await stream.until("Your order is confirmed")
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-store"
    assert stream.text.startswith("retry: 2000\n\n")
    assert stream.ids[0] == "1"
    assert stream.ids[-1] == "2"
    assert "setting the goods aside" in stream.text
    await stream.hang_up()


async def test_what_is_sent_is_the_part_of_the_page_line_by_line(ann: Browser) -> None:
    path = await confirmed(ann, await ordered(ann))
    stream = Stream(ann, f"{path}/events")
    await stream.until("Look again")
    await stream.hang_up()
    event = next(part for part in stream.text.split("\n\n") if part.startswith("event: order"))
    html = "\n".join(line.removeprefix("data: ") for line in event.split("\n")[2:])
    assert html.strip() in (await ann.get(path)).html


async def test_who_comes_back_hears_of_nothing_twice(ann: Browser) -> None:
    path = await confirmed(ann, await ordered(ann))
    stream = Stream(ann, f"{path}/events", **{"last-event-id": "2"})
    await stream.until(": still here")
    assert stream.events == []
    await stream.hang_up()


async def test_a_declined_order_is_over_and_the_browser_is_told_not_to_come_back(ann: Browser) -> None:
    path = await ordered(ann, "tok_declined")
    stream = Stream(ann, f"{path}/events")
    await stream.until("event: over")
    await stream.task
    assert "Your card was declined" in stream.text
    again = Stream(ann, f"{path}/events", **{"last-event-id": stream.ids[-1]})
    await again.task
    assert (again.status, again.text) == (204, "")


async def test_a_comment_keeps_the_line_open_and_after_five_minutes_it_ends(ann: Browser) -> None:
    path = await confirmed(ann, await ordered(ann))
    stream = Stream(ann, f"{path}/events")
    await asyncio.sleep(LONGEST_S + 1)
    assert stream.task.done()
    beats = stream.text.count(": still here\n\n")
    assert LONGEST_S / HEARTBEAT_S - 3 <= beats <= LONGEST_S / HEARTBEAT_S


async def test_one_person_has_four_and_a_place_is_free_again_when_one_goes(run: Embedded, ann: Browser) -> None:
    path = await confirmed(ann, await ordered(ann))
    streams = [Stream(ann, f"{path}/events") for _ in range(MOST_EACH)]
    for stream in streams:
        await stream.until("event: order")
    refused = Stream(ann, f"{path}/events")
    await refused.task
    assert refused.status == 503
    bob = await registered(Browser(run.asgi), "bob@example.com")
    his = Stream(bob, f"{await confirmed(bob, await ordered(bob))}/events")
    await his.until("event: order")
    await streams[0].hang_up()
    other = Stream(ann, f"{path}/events")
    await other.until("event: order")
    for stream in (*streams[1:], other, his):
        await stream.hang_up()


async def test_all_together_have_a_bound(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archstone.systems.shop.web.streams.MOST", 1)
    path = await confirmed(ann, await ordered(ann))
    one = Stream(ann, f"{path}/events")
    await one.until("event: order")
    two = Stream(ann, f"{path}/events")
    await two.task
    assert (one.status, two.status) == (200, 503)
    await one.hang_up()


async def test_streams_end_when_the_shop_is_about_to_stop(run: Embedded, ann: Browser) -> None:
    path = await confirmed(ann, await ordered(ann))
    stream = Stream(ann, f"{path}/events")
    await stream.until("event: order")
    run.ready = False
    async with asyncio.timeout(1):
        await stream.task
    assert stream.events == ["order"]


async def test_only_its_buyer_hears_of_an_order(run: Embedded, ann: Browser) -> None:
    path = await ordered(ann)
    bob = await registered(Browser(run.asgi), "bob@example.com")
    for browser, headers in ((bob, {}), (Browser(run.asgi), {}), (ann, {"sec-fetch-site": "cross-site"})):
        stream = Stream(browser, f"{path}/events", **headers)
        await stream.task
        assert stream.status in {403, 404}
        assert "Order placed" not in stream.text


async def test_a_parcel_that_moves_is_told(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path, options={"parcels": "fast"}) as run:
        ann = await registered(Browser(run.asgi))
        stream = Stream(ann, f"{await ordered(ann)}/events")
        await stream.until("event: over")
        await stream.task
        assert "Your parcel has been delivered." in stream.text
        assert stream.ids == sorted(stream.ids)
