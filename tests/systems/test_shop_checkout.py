"""The checkout of the shop in process: every test token, every way back, and the invariants after each."""

from pathlib import Path

from archstone.systems.shop import invariants
from wiring import running_shop


async def test_an_order_is_confirmed_with_money_goods_parcel_and_one_mail(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("Ann@Example.com")
        order_id = await shop.place(ann, ("KIT-001", 2), ("DES-003", 1))
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
    assert view.status == "confirmed"
    assert view.reason is None
    assert view.total.amount == 2 * 3990 + 1450
    assert [entry.what for entry in view.timeline] == ["placed", "confirmed"]
    assert invariants.check(tmp_path) == []
