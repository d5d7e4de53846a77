"""Traders by the hundred: who a surge sends, and whether the exchange has kept what it told them.

All of it by what is public, so that it works on any exchange that can be reached.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from archstone import world
from archstone.lab import Http, good, some_at_once
from archstone.systems.exchange.ways import Fill

__all__ = [
    "API",
    "Books",
    "Kept",
    "Listed",
    "Trader",
    "books_of",
    "cancel_all",
    "crossed",
    "listed",
    "open_all",
    "standing_of",
    "told_wrongly",
]

API: Final = "/api/v1"
_KEPT_ENDED: Final = 200
_KEPT_FILLS: Final = 500
_PATIENCE_S: Final = 10.0
_PAUSE_S: Final = 0.2


class Trader(NamedTuple):
    """An account that was opened for a surge."""

    account: int
    token: str

    @property
    def headers(self) -> bytes:
        """The line that says who it is."""
        return f"Authorization: Bearer {self.token}\r\n".encode()


class Listed(NamedTuple):
    """An instrument."""

    symbol: str
    last: int
    """Ticks."""
    value: int
    """Cents that a lot is worth per tick."""
    is_crossed: bool
    """Whether it trades and more is bid than asked, which must never be."""


class Books(NamedTuple):
    """What trading has made of a trader."""

    fills: Counter[Fill]
    is_balanced: bool
    """Whether money and positions are what the fills have made them."""


class Kept(NamedTuple):
    """What the exchange has of a trader."""

    orders: frozenset[int]
    """Numbers of those that work, and of those that ended last."""
    knows_all: bool
    """Whether none that ended is forgotten."""


async def open_all(http: Http, count: int) -> list[Trader]:
    """Open so many trial accounts. Far from the exchange that takes a while: one in five seconds after twenty."""
    return await some_at_once([partial(_open, http)] * count)


async def listed(http: Http) -> list[Listed]:
    """Return what is traded."""
    page = good(*await http.ask("GET", f"{API}/instruments"), "listing instruments")
    return [
        Listed(
            str(each["symbol"]), int(each["last"]), int(each["value"]),
            each["phase"] == "continuous" and bool(each["ask"]) and each["bid"] >= each["ask"],
        )
        for each in page["items"]
    ]  # fmt: skip


async def crossed(http: Http) -> int:
    """Return how many books are crossed."""
    return sum(each.is_crossed for each in await listed(http))


async def standing_of(http: Http, traders: Sequence[Trader]) -> list[Kept]:
    """Return what the exchange has of each."""
    return await some_at_once([partial(_standing, http, each) for each in traders])


async def cancel_all(http: Http, traders: Sequence[Trader]) -> None:
    """Cancel all orders of all."""
    await some_at_once([partial(_cancel, http, each) for each in traders])


async def books_of(http: Http, traders: Sequence[Trader], values: Mapping[str, int]) -> dict[Trader, Books]:
    """Return the books of those who have no orders any more; not of those of whose fills some are forgotten.

    Args:
        http: Asks.
        traders: Who.
        values: Of each instrument, cents that a lot is worth per tick.
    """
    found = await some_at_once([partial(_books_of, http, each, values) for each in traders])
    return {each: books for each, books in zip(traders, found, strict=True) if books is not None}


async def told_wrongly(heard: Mapping[Trader, Counter[Fill]], books: Mapping[Trader, Books]) -> int:
    """Return how many fills are listed and were not told, or told and not listed, or told more than once."""
    until_s = world.monotonic() + _PATIENCE_S
    while wrong := sum(_difference(fills, books[each].fills) for each, fills in heard.items() if each in books):
        if world.monotonic() > until_s:
            break
        await asyncio.sleep(_PAUSE_S)  # the last ones may be under way
    return wrong


async def _open(http: Http) -> Trader:
    told = good(*await http.ask("POST", f"{API}/trial", body={}), "opening an account")
    return Trader(int(told["visitor"]["account"]), str(told["access_token"]))


async def _standing(http: Http, trader: Trader) -> Kept:
    # Those that work first: one that ends in between is among those that have ended, then.
    pages = [await _asked(http, trader, f"/orders{more}") for more in ("", "?ended=true")]
    works, ended = ({int(each["number"]) for each in page["items"]} for page in pages)
    return Kept(frozenset(works | ended), len(ended) < _KEPT_ENDED)


async def _cancel(http: Http, trader: Trader) -> None:
    status, told = await http.ask("POST", f"{API}/orders/cancel", body={}, headers=trader.headers)
    good(status, told, "cancelling all orders")


async def _books_of(http: Http, trader: Trader, values: Mapping[str, int]) -> Books | None:
    """Return fills and whether all else agrees with them. None: not all fills are kept."""
    items: list[dict[str, Any]] = (await _asked(http, trader, f"/fills?limit={_KEPT_FILLS}"))["items"]
    if len(items) >= _KEPT_FILLS:
        return None
    cash, lots = 0, Counter[str]()
    for each in items:
        signed = each["lots"] if each["side"] == "buy" else -each["lots"]
        cash -= signed * each["price"] * values[each["symbol"]]
        lots[each["symbol"]] += signed
    portfolio = await _asked(http, trader, "/portfolio")
    held = {each["symbol"]: each["lots"] for each in portfolio["positions"] if each["lots"]}
    agrees = portfolio["cash"] == portfolio["paid_in"] + cash and held == {at: n for at, n in lots.items() if n}
    fills = Counter(Fill(each["sequence"], each["number"], each["side"], each["price"], each["lots"]) for each in items)
    return Books(fills, agrees)


async def _asked(http: Http, trader: Trader, path: str) -> dict[str, Any]:
    return good(*await http.ask("GET", f"{API}{path}", headers=trader.headers), f"asking for {path}")


def _difference(one: Counter[Fill], other: Counter[Fill]) -> int:
    return ((one - other) + (other - one)).total()
