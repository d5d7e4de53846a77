"""What a call of a contract costs: in one process here, over HTTP in `services_http`, all rows in one run."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from statistics import median

from pydantic import BaseModel

from benchmarks.harness import Row
from benchmarks.services_http import bench


class Line(BaseModel, frozen=True):
    sku: str
    quantity: int
    amount: int


class Quote(BaseModel, frozen=True):
    order_id: str
    lines: tuple[Line, ...]
    total: int


QUOTE = Quote(
    order_id="018f3a52c1d07a0b9e5d2f4c6b8a0e13",
    lines=(Line(sku="kettle", quantity=2, amount=4900), Line(sku="teapot", quantity=1, amount=2900)),
    total=12700,
)


def microseconds(call: Callable[[], Awaitable[object]], *, quick: bool) -> Callable[[], Awaitable[float]]:
    """Return what measures one call among many in a row, on one event loop."""

    async def measure() -> float:
        calls, repeats = (300, 2) if quick else (2000, 5)

        async def run() -> float:
            begin = time.perf_counter()
            for _ in range(calls):
                await call()
            return (time.perf_counter() - begin) / calls * 1e6

        await run()
        return median([await run() for _ in range(repeats)])

    return measure


def archstone(*, encode: bool, quick: bool) -> float:
    from archstone import context, world
    from archstone.context import Call, Principal
    from archstone.data import Database
    from archstone.observability import add_recorder
    from archstone.services import Contract, Dispatcher, InProcess, Service, client, query

    class Pricing(Contract, version="1.0"):
        @query("/quotes/{sku}")
        async def quote(self, sku: str, quantity: int) -> Quote: ...

    class PricingService(Service, Pricing):
        async def quote(self, sku: str, quantity: int) -> Quote:
            return QUOTE

    add_recorder(deque(maxlen=1000).append)  # every call is a span that somebody hears
    dispatcher = Dispatcher(PricingService(db=Database("sqlite:///never-opened.db")))
    pricing = client(Pricing, InProcess(dispatcher, encode=encode), timeout_s=2.0)

    async def main() -> float:
        caller = Call(Principal("ann", frozenset({"customer"})), world.monotonic() + 1000)
        with context.enter(caller):
            return await microseconds(lambda: pricing.quote("kettle", 2), quick=quick)()

    return asyncio.run(main())


@bench.contender("archstone")
def archstone_in_process(quick: bool) -> float:
    return archstone(encode=False, quick=quick)


@bench.contender("archstone")
def archstone_in_process_encoded(quick: bool) -> float:
    return archstone(encode=True, quick=quick)


@bench.contender("fastapi", "httpx")
def fastapi_through_httpx(quick: bool) -> float:
    import httpx
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/quotes/{sku}")
    async def quote(sku: str, quantity: int) -> Quote:
        return QUOTE

    async def main() -> float:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pricing") as http:

            async def call() -> Quote:
                answer = await http.get("/quotes/kettle", params={"quantity": 2}, timeout=2.0)
                return Quote.model_validate_json(answer.content)

            return await microseconds(call, quick=quick)()

    return asyncio.run(main())


@bench.contender()
def direct_call(quick: bool) -> float:
    async def quote(sku: str, quantity: int) -> Quote:
        return QUOTE

    async def main() -> float:
        return await microseconds(lambda: quote("kettle", 2), quick=quick)()

    return asyncio.run(main())


bench.row(
    Row("call in one process, immutables passed through", "us/call", goal=25.0),
    ours="archstone_in_process", peers=["fastapi_through_httpx"], beside=["direct_call"],
)  # fmt: skip
bench.row(
    Row("call in one process, everything encoded and decoded", "us/call", goal=10.0),
    ours="archstone_in_process_encoded", peers=["fastapi_through_httpx"],
)  # fmt: skip

if __name__ == "__main__":
    bench.main()
