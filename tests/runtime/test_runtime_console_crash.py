"""A checkout is killed in its middle and goes on in the next process: the story tells of both lives."""

import asyncio
from pathlib import Path

import httpx
import pytest
from shop_process import Buyer, ShopProcess

from archstone.gateway import SagaStory, Story
from archstone.runtime import running
from archstone.systems.shop.system import shop

pytestmark = pytest.mark.real_time


async def killed(data: Path) -> str:
    """Return the order whose checkout was killed while its payment waited for the bank."""
    process = ShopProcess(data)
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=process.url) as http:
            buyer = await Buyer(http, "ann@example.org").register()
            order = (await buyer.place("KIT-001", token="tok_timeout", key="k")).json()["id"]
            await asyncio.sleep(0.8)  # longer than spans stay in memory, shorter than the bank takes
        return order
    finally:
        process.kill()


def saga(story: Story, method: str) -> SagaStory:
    (found,) = [each for each in story.sagas if each.method == method]
    return found


async def test_a_story_tells_of_the_life_before_the_crash_and_of_the_one_after(tmp_path: Path) -> None:
    order = await killed(tmp_path / "shop")
    async with running(shop, data=tmp_path / "shop") as run:
        async for story in run.console.watch(order):
            if not story.live and saga(story, "checkout").status == "done":
                break
    (restart_us,) = story.starts_us
    hold, money, *later = saga(story, "checkout").steps
    assert hold.begun_us is not None
    assert hold.ended_us is not None
    assert money.begun_us is not None
    assert money.ended_us is not None
    assert hold.begun_us < hold.ended_us < money.begun_us < restart_us < money.ended_us
    assert [step.state for step in later] == ["done"] * 3
    assert all((step.begun_us or 0) > restart_us for step in later)
    (trace,) = [trace for trace in story.traces if trace.rows[0].name == "POST /api/v1/orders"]
    rows = [(row.name, row.status, trace.began_us + row.offset_us > restart_us) for row in trace.rows]
    assert ("step partners.hold_goods", "ok", False) in rows
    assert ("step partners.take_money", "lost", False) in rows, "begun on disk, its span died with the process"
    assert ("step partners.take_money", "ok", True) in rows
    assert ("saga checkout", "lost", False) in rows
    assert ("saga checkout", "ok", True) in rows
    held = next(row for row in trace.rows if row.name == "step partners.hold_goods")
    above = next(row for row in trace.rows if row.id == held.parent)
    assert (above.name, above.status, above.journal) == ("saga checkout", "lost", True)
    place = next(row for row in trace.rows if row.name == "Orders.place")
    assert [row.parent for row in trace.rows if row.name == "saga checkout"] == [place.id, place.id]
    assert saga(story, "charge").status == "done"
    assert saga(story, "charge").parent == order
    assert "orders.order-placed" in {event.name for event in story.events}
