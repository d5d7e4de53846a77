"""Analytics counts from events alone, and takes back what a later cancellation undid."""

import asyncio
from datetime import timedelta
from pathlib import Path

from wiring import running_shop

from archstone import world
from archstone.context import Principal
from archstone.systems.shop.analytics.contract import Analytics
from archstone.systems.shop.orders.contract import Orders

ADMIN = Principal("a" * 32, frozenset({"admin"}))


async def test_the_summary_counts_orders_revenue_conversion_and_products(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        analytics = shop.client(Analytics, as_=ADMIN)
        empty = await analytics.summary()
        assert (empty.placed, empty.revenue, empty.conversion_ratio, empty.minutes) == (0, 0, 0.0, ())
        ann = await shop.register("ann@example.com")
        kept = await shop.place(ann, ("KIT-001", 2), ("DES-003", 1))
        off = await shop.place(ann, ("AUD-002", 1))
        declined = await shop.place(ann, ("AUD-002", 1), token="tok_declined")
        for order_id in (kept, off, declined):
            await shop.ended(ann, order_id)
        await shop.client(Orders, as_=ann).cancel(off)
        await shop.until(ann, off, lambda view: view.status == "cancelled")
        await shop.at_rest()
        summary = await analytics.summary()
    assert (summary.placed, summary.confirmed, summary.cancelled) == (3, 2, 2)
    assert summary.revenue == 2 * 3990 + 1450
    assert summary.conversion_ratio == 2 / 3
    assert summary.orders_per_minute == 3 / 60
    assert sum(minute.placed for minute in summary.minutes) == 3
    assert [(each.sku, each.pieces, each.revenue) for each in summary.top_products] == [
        ("KIT-001", 2, 7980), ("DES-003", 1, 1450),
    ]  # fmt: skip


async def test_minutes_tell_orders_revenue_and_conversion_over_time(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        analytics = shop.client(Analytics, as_=ADMIN)
        assert (await analytics.minutes()).items == ()
        ann = await shop.register("ann@example.com")
        begun = world.now()
        for _ in range(3):
            await shop.ended(ann, await shop.place(ann, ("KIT-001", 1)))
            await shop.ended(ann, await shop.place(ann, ("KIT-001", 1), token="tok_declined"))
            await asyncio.sleep(60)
        await shop.at_rest()
        whole = await analytics.minutes()
        assert [(each.placed, each.confirmed, each.cancelled, each.revenue) for each in whole.items] == [
            (2, 1, 1, 3990)
        ] * 3
        assert {each.conversion_ratio for each in whole.items} == {0.5}
        assert (whole.currency, whole.next_since) == ("EUR", None)
        first = await analytics.minutes(since=begun - timedelta(minutes=1), limit=2)
        assert first.items == whole.items[:2]
        assert (await analytics.minutes(since=first.next_since)).items == whole.items[2:]
        assert (await analytics.minutes(since=begun + timedelta(days=1))).items == ()
        naive = (begun - timedelta(minutes=1)).replace(tzinfo=None)
        assert (await analytics.minutes(since=naive)).items == whole.items
        await asyncio.sleep(60)
        assert len((await analytics.minutes(limit=2)).items) <= 1
