"""A cache in a FastAPI application, with no System: `uvicorn examples.cache_in_fastapi:app`.

Reads of a product come from memory for five minutes; a change invalidates by tag after it has been made. With
`Cache(["memory:", "redis://localhost"])` several processes share it, and nothing else changes.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from archstone.cache import Cache

products = Cache("memory:", ttl_s=300, stale_if_error_s=3600)
prices = {"lamp": 990}
database_reads = 0


@products.aside("product:{sku}", tags=["product:{sku}"])
async def price_of(sku: str) -> int | None:
    """Return the price in cents, from the database."""
    global database_reads  # noqa: PLW0603 - counted for the sake of the example
    database_reads += 1
    return prices.get(sku)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with products:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/products/{sku}")
async def read(sku: str) -> dict[str, int | None]:
    return {"cents": await price_of(sku)}


@app.put("/products/{sku}/price/{cents}")
async def change(sku: str, cents: int) -> None:
    prices[sku] = cents  # commit first
    await products.invalidate(tag=f"product:{sku}")
