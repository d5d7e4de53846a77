"""What happens in a shop before it is killed: it happens once, and each test goes on from a copy of the data."""

import asyncio
import copy
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from postgres import Databases
from shop_http import at_rest
from shop_process import Buyer, ShopProcess

PEOPLE: Final = 3
FRESH_S: Final = 600.0
"""Seconds for which a past is gone on from: access tokens are good for a quarter of an hour."""
UNLIMITED: Final = {"RATE_LIMIT_PER_S": "100000"}


@dataclass(frozen=True, slots=True)
class Past:
    """What a shop has left in which people have registered, and which has stopped."""

    data: Path
    database: str
    """The name of its database; empty: its data is in the folder."""
    people: Sequence[Buyer]
    skus: Sequence[str]
    rare: str
    """A product of which there are less than 99."""
    made_s: float

    def present(self, http: httpx.AsyncClient) -> list[Buyer]:
        """Return the people, signed in, in front of a shop that goes on from here."""
        people = [copy.copy(buyer) for buyer in self.people]
        for buyer in people:
            buyer.http = http
        return people


class Pasts:
    """Shops that have all had the same past."""

    def __init__(self, folder: Path, server: Databases | None = None) -> None:
        """Make none yet.

        Args:
            folder: Where pasts are kept.
            server: Of the databases of these shops. None: they keep their data in their folders.
        """
        self._folder = folder
        self._server = server
        self._past: Past | None = None
        self._made = 0

    async def shop(self, data: Path, **options: str) -> tuple[Past, ShopProcess]:
        """Return a shop in `data` that goes on from the past, not started, and the past."""
        past = self._past
        if past is None or time.monotonic() - past.made_s > FRESH_S:
            past = self._past = await self._lived()
        shutil.copytree(past.data, data)
        return past, ShopProcess(data, options=options, settings=self._settings(past.database))

    def _settings(self, template: str) -> dict[str, str]:
        """Return those of a shop whose database begins as a copy of another; empty: as one with nothing in it."""
        if self._server is None:
            return UNLIMITED
        return UNLIMITED | {"DATABASE_URL": self._server.new_database(template=template or "template1")}

    async def _lived(self) -> Past:
        self._made += 1
        settings = self._settings("")
        shop = ShopProcess(self._folder / f"shop{self._made}", settings=settings)
        try:
            await shop.start()
            async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
                names = (f"buyer{number}@example.org" for number in range(PEOPLE))
                people = await asyncio.gather(*(Buyer(http, name).register() for name in names))
                skus = [item["sku"] for item in (await http.get("/api/v1/products?limit=20")).json()["items"]]
                free = {sku: (await http.get(f"/api/v1/stock/{sku}")).json()["free"] for sku in skus}
            await asyncio.to_thread(at_rest, shop)
            assert shop.stop() == 0, shop.log_tail()
        finally:
            shop.kill()
        database = urlsplit(settings.get("DATABASE_URL", "")).path.strip("/")
        rare = next(sku for sku in reversed(skus) if free[sku] < 99)
        return Past(shop.data, database, people, skus, rare, time.monotonic())
