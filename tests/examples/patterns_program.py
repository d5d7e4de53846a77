"""What the examples of docs/resilience and docs/cache take for granted: the program of the reader, in stand-ins.

Only what a reader has is here. Every name of Archstone comes from the package, so an example that names what is not
there fails.
"""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pydantic

import archstone
from archstone import blocking, cache, data, observability, resilience
from archstone.data import Event
from archstone.messaging import Bus


class Thing(pydantic.BaseModel, frozen=True):
    id: str = "7"


class PriceChanged(Event, name="tests.price-changed", version=1, key="sku"):
    sku: str


async def answer(*_args: object) -> Thing:
    return Thing()


async def number(*_args: object) -> int:
    return 41


def program() -> dict[str, Any]:
    """Return the names that an example finds."""
    kinds = ("Answer", "Hit", "Order", "Payment", "Prices", "Product", "Profile", "Query", "Refund", "User")
    products = cache.Cache(name="products")
    return {
        **{name: getattr(package, name) for package in (resilience, cache) for name in package.__all__},
        # Of the two packages' stores the examples name none.
        "archstone": archstone, "asyncio": asyncio, "blocking": blocking, "Database": data.Database,
        "loop_lag": SimpleNamespace(lag_s=0.0), "log": observability.get_logger("docs"),
        **dict.fromkeys(kinds, Thing), "PriceChanged": PriceChanged,
        **{name: Thing() for name in ("order", "principal", "profile", "user")},
        "orders": "[]", "sku": "lamp", "bestsellers": ["lamp", "desk"], "request": None, "health_check": None,
        "bank": SimpleNamespace(charge=answer, refund=answer), "api": SimpleNamespace(charge=answer),
        "handle": lambda _request: "handled",
        "ask_supplier": number, "read_price": number, "read_product": answer, "read_views": number,
        "render": markup, "save_profile": answer, "save_views": number,
        "cached_prices": lambda _sku: Thing(), "queue_for_later": lambda _order: Thing(),
        "limiter": resilience.RateLimit(10, burst=20).bind("api"),
        "products": products, "catalog": SimpleNamespace(product=products.aside("product:{sku}")(of_sku)),
        "bus": Bus("memory:"),
        "app": Application(),
    }  # fmt: skip


async def of_sku(sku: str) -> Thing:
    return Thing(id=sku)


async def markup(_path: str) -> str:
    return "<html>"


class Application:
    """An ASGI application of a framework."""

    def add_middleware(self, kind: Callable[..., object], **settings: object) -> None:
        kind(self, **settings)
