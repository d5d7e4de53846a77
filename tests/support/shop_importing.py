"""A process that imports into a shop of its own: `python shop_importing.py FOLDER FIRST COUNT`.

It ends when the stock has arrived. With `ARCHSTONE_CRASH` in its environment it is killed on the way.
"""

import asyncio
import os
import sys
from pathlib import Path

from archstone.runtime import OPERATOR, Settings, running
from archstone.systems.shop.catalog.importing import CatalogImport, LoadedProduct
from archstone.systems.shop.importing.loading import Report, load
from archstone.systems.shop.system import shop


def product(number: int) -> LoadedProduct:
    return LoadedProduct(
        sku=f"ROW-{number}", name=f"Widget number{number}", category="widgets", category_title="Widgets",
        amount=100 + number, currency="EUR", description="Plain.", images=(), pieces=5, line=number,
    )  # fmt: skip


async def bring(folder: Path, first: int, count: int) -> Report:
    settings = Settings(database_url=os.environ.get("ARCHSTONE_DATABASE_URL", ""))
    async with running(shop, data=folder, settings=settings) as run:
        imports = run.client(CatalogImport, as_=OPERATOR)
        rows = map(product, range(first, first + count))
        while True:
            report = await load(imports, rows, source="rows", progress=lambda *_: None, judge=lambda _: None)
            inventory = run.parts.services["inventory"].database
            while await inventory.one(int, "SELECT count(*) FROM stock WHERE import > 0") < count:
                await asyncio.sleep(0.01)
            return report


if __name__ == "__main__":
    done = asyncio.run(bring(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    print(done.added, done.changed, done.unchanged)
