"""Orders that cannot be: their prices have no sum."""

from pathlib import Path

import pytest
from wiring import running_shop

from archstone.systems.shop.orders.contract import CannotOrderError


async def test_products_of_two_currencies_are_no_single_order_and_each_alone_is_one(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.org")
        catalog = shop.database("catalog")
        await catalog.execute(
            "UPDATE products SET currency = 'USD', name = :name WHERE sku = 'KIT-002'", name="x" * 200
        )
        with pytest.raises(CannotOrderError, match="the prices are in EUR and USD: place several orders"):
            await shop.place(ann, ("KIT-001", 1), ("KIT-002", 1))
        order = await shop.ended(ann, await shop.place(ann, ("KIT-002", 2)))
        assert (order.status, order.total.currency) == ("confirmed", "USD")


async def test_an_order_beyond_the_largest_amount_is_refused(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.org")
        await shop.database("catalog").execute("UPDATE products SET amount = :most WHERE sku = 'KIT-001'", most=10**12)
        with pytest.raises(CannotOrderError, match="the limit of an order is 1000000000000"):
            await shop.place(ann, ("KIT-001", 2))
