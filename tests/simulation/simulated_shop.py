"""The whole shop on virtual time, as a program: what `test_simulation_shop.py` runs here and in processes of its own.

    python simulated_shop.py SEED FOLDER [planted]

Prints how it ended, as JSON: first the digest of the trace.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from archstone import simulation, world
from archstone.runtime import Embedded, Operator, running
from archstone.services.http import ask
from archstone.systems.shop.analytics.service import AnalyticsService
from archstone.systems.shop.invariants import check
from archstone.systems.shop.system import shop

CARDS = ("tok_ok", "tok_declined", "tok_flaky", "tok_timeout", "tok_ok", "tok_unknown")
"""One order each, all placed at once by each customer."""
CUSTOMERS = ("ann", "bob")
PASSWORD = "correct horse battery"
PARCELS_S = 45.0
"""Virtual seconds in which fast parcels arrive."""
ADDRESS = {"name": "Ann", "street": "Mill Lane 1", "city": "Tarn", "postcode": "12345", "country": "DE"}


class Outcome(NamedTuple):
    """What became of an order before anybody cancelled it."""

    order_id: str
    card: str
    status: str
    reason: str | None


class Ended(NamedTuple):
    """How a run ended."""

    digest: str
    outcomes: tuple[Outcome, ...]
    faults: tuple[str, ...]
    """What is false about the files that the run left."""
    mails: int
    revenue: int
    virtual_s: float


class Browser:
    """A customer in front of the gateway: everything crosses HTTP but the network."""

    def __init__(self, app: Any, name: str) -> None:
        self.app = app
        self.email = f"{name}@example.org"
        self._token = ""

    async def send(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Any:
        headers = [("content-type", "application/json")]
        headers += [("authorization", f"Bearer {self._token}")] if self._token else []
        headers += [("idempotency-key", key)] if key else []
        content = b"" if body is None else json.dumps(body).encode()
        response = await ask(self.app, method, f"/api/v1{path}", headers=headers, body=content)
        assert response.status < 300, (path, response.status, response.body)
        return json.loads(response.body) if response.body else None

    async def register(self) -> None:
        await self.send("POST", "/users", {"email": self.email, "password": PASSWORD, "name": "Ann"}, key=self.email)

    async def sign_in(self) -> None:
        session = await self.send("POST", "/sessions", {"email": self.email, "password": PASSWORD})
        self._token = session["access_token"]

    async def fill_cart(self) -> list[tuple[str, str]]:
        """Sign up and return a SKU for each card."""
        await self.register()
        await self.sign_in()
        products = (await self.send("GET", f"/products?limit={len(CARDS)}"))["items"]
        return [(product["sku"], card) for product, card in zip(products, CARDS, strict=True)]

    async def place(self, sku: str, card: str) -> str:
        wanted = {"lines": [{"sku": sku, "quantity": 1}], "address": ADDRESS, "payment_token": card}
        return (await self.send("POST", "/orders", wanted, key=f"{self.email}/{sku}"))["id"]

    async def ended(self, order_id: str, card: str) -> Outcome:
        while True:
            order = await self.send("GET", f"/orders/{order_id}")
            if order["status"] != "pending":
                return Outcome(order_id, card, order["status"], order["reason"])
            await asyncio.sleep(0.25)

    async def buy(self, sku: str, card: str) -> Outcome:
        return await self.ended(await self.place(sku, card), card)

    async def shop_around(self) -> list[Outcome]:
        return await asyncio.gather(*(self.buy(sku, card) for sku, card in await self.fill_cart()))

    async def call_off(self, order_id: str) -> None:
        await self.send("POST", f"/orders/{order_id}/cancel", key=f"call-off-{order_id}")


def plant(counted: Callable[..., Awaitable[None]] = AnalyticsService._count) -> None:
    """Plant the fault that the trace must show: a handler that goes through a set of strings."""

    async def count(self: AnalyticsService, *args: Any, **counts: Any) -> None:
        for words in {f"{word} of an order" for word in ("head", "body", "tail", "name", "date", "sign")}:
            await self.tx.first(str, "SELECT :words", words=words)
        await counted(self, *args, **counts)

    AnalyticsService._count = count


async def at_rest(run: Embedded) -> None:
    """Return once no event is under way and no saga runs."""
    operator, rested = Operator(run), 0
    while rested < 3:  # between two events there can be a moment of rest
        status = await operator.answer("status", {})
        assert status["dead"] == status["sagas_stuck"] == 0, status
        rested = 0 if status["unsent"] or status["unhandled"] or status["sagas_running"] else rested + 1
        await asyncio.sleep(0.5)


async def scene(folder: Path, form: str = "saga") -> tuple[list[Outcome], int, float]:
    """Open the shop, let everybody buy and one cancel, let the parcels arrive, close it."""
    async with running(shop, data=folder, encode=True, options={"parcels": "fast", "checkout": form}) as run:
        customers = [Browser(run.asgi, name) for name in CUSTOMERS]
        bought = await asyncio.gather(*(customer.shop_around() for customer in customers))
        await customers[0].call_off(bought[0][0].order_id)
        await at_rest(run)
        await asyncio.sleep(PARCELS_S)
        await at_rest(run)
        await Operator(run).answer("admin", {"email": customers[0].email})
        await customers[0].sign_in()
        summary = await customers[0].send("GET", "/analytics/summary")
        return [each for orders in bought for each in orders], summary["revenue"], world.monotonic()


async def stopped_scene(folder: Path, form: str = "saga", *, stops: int = 3) -> list[Outcome]:
    """Place every order at once, stop and start the shop in the middle, and see how they end.

    `form` is that of the checkout at the first start; afterwards it is the other, which new orders alone would take.
    """
    ann = Browser(None, "ann")
    async with running(shop, data=folder, encode=True, options={"checkout": form}) as run:
        ann.app = run.asgi
        orders = [(await ann.place(sku, card), card) for sku, card in await ann.fill_cart()]
        await asyncio.sleep(world.random().random() / 20)
    other = "choreography" if form == "saga" else "saga"
    for _ in range(stops):
        async with running(shop, data=folder, encode=True, options={"checkout": other}):
            # Before, in and after the moments at which the steps of a checkout and their retries fall.
            await asyncio.sleep(world.random().choice((0.0, 0.001, 0.01, 0.3, 3.0)) * world.random().random())
    async with running(shop, data=folder, encode=True, options={"checkout": other}) as run:
        ann.app = run.asgi
        outcomes = await asyncio.gather(*(ann.ended(order_id, card) for order_id, card in orders))
        await at_rest(run)
        return outcomes


def play(seed: int, folder: Path, form: str = "saga", *, trace: simulation.Trace | None = None) -> Ended:
    """Run the scene under `seed` in an empty folder."""
    trace = trace or simulation.Trace()
    outcomes, revenue, virtual_s = simulation.run(lambda: scene(folder, form), seed=seed, trace=trace)
    mails = len(list((folder / "mails").glob("*.eml")))
    return Ended(trace.digest(), tuple(outcomes), tuple(check(folder)), mails, revenue, virtual_s)


if __name__ == "__main__":
    if sys.argv[3:] == ["planted"]:
        plant()
    ended = play(int(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(ended))
