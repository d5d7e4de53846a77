"""Analytics counts from events alone, and takes back what a later cancellation undid."""

from pathlib import Path

from wiring import running_shop

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
