"""Deadline, retry and rate limit in a FastAPI application, with no System: `uvicorn examples.retry_alone:app`.

A price is fetched from a supplier who fails now and then. A client may ask ten times a second, an answer takes two
seconds at most, and the supplier is asked up to four times within them.
"""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from archstone.errors import ArchstoneError
from archstone.resilience import Exponential, RateLimit, Retry, within

app = FastAPI()
limiter = RateLimit(10, burst=20).bind("prices")
supplier_calls = 0


@Retry(4, backoff=Exponential(0.05, cap_s=0.5))
async def ask_supplier(sku: str) -> int:
    """Return the price in cents. Two calls of three fail."""
    global supplier_calls  # noqa: PLW0603 - the supplier's mood, for the sake of the example
    supplier_calls += 1
    if supplier_calls % 3:
        raise ConnectionError("the supplier hung up")
    return 100 + len(sku)


@app.get("/prices/{sku}")
async def price(sku: str, request: Request) -> dict[str, str | int]:
    limiter.take(request.client.host if request.client else "unknown")
    async with within(2.0, name="price"):
        return {"sku": sku, "cents": await ask_supplier(sku)}


@app.exception_handler(ArchstoneError)
async def say_why(request: Request, error: ArchstoneError) -> JSONResponse:
    wait_s = getattr(error, "retry_after_s", None)
    headers = {} if wait_s is None else {"Retry-After": str(max(1, round(wait_s)))}
    return JSONResponse({"type": error.code, "detail": str(error)}, error.status, headers)
