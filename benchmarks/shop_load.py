"""An open-loop buyer for the shop: places orders at a fixed rate whatever comes back, and times each to its end.

It speaks plain HTTP/1.1 on kept-alive connections, since the load generator shares two cores with the shop.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httptools

from benchmarks.running import running

BUYERS, IN_FLIGHT, PASSWORD = 100, 100, "correct horse battery staple"
ADDRESS = {"name": "Ann", "street": "1 Long Street", "city": "Ghent", "postcode": "9000", "country": "BE"}


@dataclass(slots=True)
class Load:
    """What an open loop saw."""

    latencies_s: list[float] = field(default_factory=list)
    confirmed: int = 0
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0

    def fail(self, kind: str) -> None:
        self.failed += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def quantile_ms(self, ratio: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * ratio))] * 1e3 if ordered else float("inf")


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def eof_received(self) -> None:
        self.alive = False

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionResetError("closed"))

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        answer, self.answer = self.answer, None
        if answer is not None and not answer.done():
            answer.set_result((self.parser.get_status_code(), self.body))

    async def request(self, method: str, path: str, headers: str, body: bytes = b"") -> tuple[int, bytes]:
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        head = f"{method} {path} HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        return await self.answer


class Pool:
    """Connections to one port, as many as are in flight."""

    def __init__(self, port: int) -> None:
        self._port, self._idle = port, []

    async def request(self, method: str, path: str, headers: str = "", body: bytes = b"") -> tuple[int, bytes]:
        connection = None
        while self._idle and (connection is None or not connection.alive):
            connection = self._idle.pop()
        if connection is None or not connection.alive:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        answer = await connection.request(method, path, headers, body)
        self._idle.append(connection)
        return answer


@contextmanager
def running_shop(**environment: str) -> Iterator[int]:
    """Run the shop as `archstone up shop` does, with more goods than anybody will buy; give its port."""
    with running("shop", **environment) as (port, data):
        asyncio.run(_stock_up(port, str(data)))
        yield port


async def _stock_up(port: int, data: str) -> None:
    """Have more goods arrive than anybody will buy: selling out is another question than how fast one can sell."""
    pool = Pool(port)
    await sign_in(pool, "keeper")
    subprocess.run(
        [sys.executable, "-m", "archstone.cli", "admin", "shop", "keeper@example.org", "--data", data],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    keeper = await sign_in(pool, "keeper")
    for sku in await skus_of(pool):
        key = f"Idempotency-Key: arrived-{sku}\r\n"
        status, answer = await pool.request(
            "POST", f"/api/v1/stock/{sku}/arrivals", keeper + key, b'{"quantity": 100000}'
        )
        if status >= 400:
            raise RuntimeError(f"restock {sku}: {status} {answer[:300]!r}")


async def sign_in(pool: Pool, name: str) -> str:
    """Register somebody, unless known, and return the header that identifies them."""
    who = {"email": f"{name}@example.org", "password": PASSWORD}
    for path, body in (("/api/v1/users", {**who, "name": "Buyer"}), ("/api/v1/sessions", who)):
        while True:
            status, answer = await pool.request("POST", path, body=json.dumps(body).encode())
            if status not in {429, 503}:
                break
            await asyncio.sleep(0.1)
        if status >= 400 and status != 409:  # 409: registered by the run before
            raise RuntimeError(f"{path}: {status} {answer[:300]!r}")
    return f"Authorization: Bearer {json.loads(answer)['access_token']}\r\n"


async def skus_of(pool: Pool) -> list[str]:
    _, answer = await pool.request("GET", "/api/v1/products?limit=100")
    return [item["sku"] for item in json.loads(answer)["items"]]


async def open_loop(port: int, *, per_s: float, for_s: float) -> Load:
    """Place orders at `per_s` for `for_s` seconds; an arrival that finds 100 in flight counts as failed."""
    pool, load, chance = Pool(port), Load(), random.Random(1)
    buyers = await asyncio.gather(*(sign_in(pool, f"buyer{number}") for number in range(BUYERS)))
    skus = await skus_of(pool)
    flying: set[asyncio.Task[None]] = set()
    begin = time.perf_counter()
    for number in range(int(per_s * for_s)):
        delay = begin + number / per_s - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        if len(flying) >= IN_FLIGHT:
            load.fail("100 in flight")
            continue
        task = asyncio.create_task(_buy(pool, load, chance.choice(buyers), chance.choice(skus), number))
        flying.add(task)
        task.add_done_callback(flying.discard)
    await asyncio.gather(*flying)
    load.took_s = time.perf_counter() - begin
    return load


async def _buy(pool: Pool, load: Load, buyer: str, sku: str, number: int) -> None:
    order = {"lines": [{"sku": sku, "quantity": 1}], "address": ADDRESS, "payment_token": "tok_ok"}
    begin = time.perf_counter()
    key = f"Idempotency-Key: bench-{time.time_ns()}-{number}\r\n"
    status, answer = await pool.request("POST", "/api/v1/orders", buyer + key, json.dumps(order).encode())
    if status != 202:
        load.fail(f"POST {status}")
        return
    placed = json.loads(answer)
    while placed["status"] == "pending" and status < 400:
        status, answer = await pool.request("GET", f"/api/v1/orders/{placed['id']}?wait_s=5", buyer)
        placed = json.loads(answer)
    if status >= 400 or placed["status"] != "confirmed":
        load.fail(f"GET {status} {placed.get('reason') or placed.get('type')}")
        return
    load.confirmed += 1
    load.latencies_s.append(time.perf_counter() - begin)
