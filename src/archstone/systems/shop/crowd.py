"""Buyers by the hundred, over HTTP: who a surge sends, and what became of their orders.

All of it by the public API, so that it works on any shop that can be reached.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from archstone import world
from archstone.lab import Http, good, some_at_once

__all__ = ["API", "Buyer", "endings_of", "shelf", "sign_in_all", "stock_of"]

API: Final = "/api/v1"
_PASSWORD: Final = "a crowd comes to the shop"  # noqa: S105 - of customers who exist for a surge only
_PAGE: Final = 100
_PATIENCE_S: Final = 120.0
_PAUSE_S: Final = 0.5


class Buyer(NamedTuple):
    """A customer who is signed in."""

    user_id: str
    headers: bytes
    """The line that says who it is."""


async def sign_in_all(http: Http, count: int) -> list[Buyer]:
    """Return so many buyers, registered now or by an earlier surge."""
    return await some_at_once([partial(_sign_in, http, f"surge-{number}@example.org") for number in range(count)])


async def shelf(http: Http) -> list[str]:
    """Return the products that a surge wants, at most a hundred, in the order of the shelf."""
    status, page = await http.ask("GET", f"{API}/products?limit={_PAGE}")
    return [str(item["sku"]) for item in good(status, page, "listing products")["items"]]


async def stock_of(http: Http, skus: Sequence[str], buyers: Sequence[Buyer]) -> dict[str, int]:
    """Return the pieces of each product that are free or held."""
    asked = [partial(_stock, http, sku, buyers[number % len(buyers)]) for number, sku in enumerate(skus)]
    return dict(zip(skus, await some_at_once(asked), strict=True))


async def endings_of(http: Http, orders: Mapping[str, Buyer]) -> dict[str, str]:
    """Return the status of each order that its buyer finds, once none is pending or two minutes are over."""
    by_buyer: dict[Buyer, set[str]] = {}
    for order_id, buyer in orders.items():
        by_buyer.setdefault(buyer, set()).add(order_id)
    found: dict[str, str] = {}
    until_s = world.monotonic() + _PATIENCE_S
    while by_buyer:
        pages = await some_at_once([partial(_statuses, http, buyer, wanted) for buyer, wanted in by_buyer.items()])
        for statuses in pages:
            found.update(statuses)
        # An order that is not listed will not be later: listing reads what placing has written.
        pending = {order_id for order_id, status in found.items() if status == "pending"}
        by_buyer = {buyer: wanted & pending for buyer, wanted in by_buyer.items() if wanted & pending}
        if world.monotonic() > until_s:
            break
        if by_buyer:
            await asyncio.sleep(_PAUSE_S)
    return found


async def _sign_in(http: Http, email: str) -> Buyer:
    who = {"email": email, "password": _PASSWORD}
    status, told = await http.ask("POST", f"{API}/users", body={**who, "name": "Surge Buyer"})
    if status != 409:  # 409: registered by an earlier surge
        good(status, told, f"registering {email}")
    status, told = await http.ask("POST", f"{API}/sessions", body=who)
    token = good(status, told, f"signing in {email}")["access_token"]
    headers = f"Authorization: Bearer {token}\r\n".encode()
    status, told = await http.ask("GET", f"{API}/users/me", headers=headers)
    return Buyer(str(good(status, told, f"finding {email}")["id"]), headers)


async def _stock(http: Http, sku: str, buyer: Buyer) -> int:
    status, told = await http.ask("GET", f"{API}/stock/{sku}", headers=buyer.headers)
    stock = good(status, told, f"stock of {sku}")
    return int(stock["free"]) + int(stock["held"])


async def _statuses(http: Http, buyer: Buyer, wanted: set[str]) -> dict[str, str]:
    """Return the status of those orders of a buyer that are wanted, from the newest back until all are found."""
    found: dict[str, str] = {}
    cursor = ""
    while True:
        path = f"{API}/users/{buyer.user_id}/orders?limit={_PAGE}{cursor}"
        status, told = await http.ask("GET", path, headers=buyer.headers)
        page = good(status, told, "listing orders")
        found.update({str(each["id"]): str(each["status"]) for each in page["items"] if each["id"] in wanted})
        if len(found) == len(wanted) or page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
