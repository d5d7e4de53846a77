"""Serving a validated JSON POST, and calling from one process to another, beside what one would pick instead.

The rows over HTTP of `python -m benchmarks.services`, which runs them; not a script of its own.
"""

import asyncio
import contextlib
import importlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from archstone.services import ANYONE, Contract, Operation, command, operations
from archstone.services.client import client
from archstone.services.http import ContractApp, HttpTransport
from benchmarks.harness import Bench, Measured, Row

CONCURRENCY = 32
SERVER_CORE, CLIENT_CORE = 0, 1

bench = Bench(
    "services",
    shows=(
        "a call between two services in one process; a validated JSON POST on one core; a call between two processes, "
        "a core each, 32 at once"
    ),
    hides="a network, TLS, HTTP/2, a database; the load generator has the other core to itself",
)


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)
    sku: str = Field(min_length=1, max_length=40)
    quantity: int = Field(gt=0, le=1000)


class Order(BaseModel):
    model_config = ConfigDict(frozen=True)
    order_id: str
    lines: tuple[Line, ...]


class Reservation(BaseModel):
    model_config = ConfigDict(frozen=True)
    order_id: str
    pieces: int
    lines: tuple[Line, ...]


class Inventory(Contract, version="1.0"):
    @command("/reservations", public=True, requires=ANYONE, key_required=False)
    async def reserve(self, order_id: str, lines: tuple[Line, ...]) -> Reservation: ...


LINES = (Line(sku="kettle", quantity=2), Line(sku="teapot", quantity=1))
BODY = Order(order_id="order-1", lines=LINES).model_dump_json().encode()
POST = (
    b"POST /reservations HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nuser-agent: bench\r\n"
    b"content-type: application/json\r\ncontent-length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY
)


def reserved(order_id: str, lines: tuple[Line, ...]) -> Reservation:
    return Reservation(order_id=order_id, pieces=sum(line.quantity for line in lines), lines=lines)


class Here:
    """Carries calls to a function: what is measured is HTTP and validation, not dispatch."""

    async def call(self, operation: Operation, arguments: dict) -> object:
        return reserved(**arguments)


def archstone_app():
    return ContractApp([(operation, Here()) for operation in operations(Inventory)], strict=True)


def starlette_app():
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def reserve(request: Request) -> Response:
        order = Order.model_validate_json(await request.body())
        answer = reserved(order.order_id, order.lines)
        return Response(answer.model_dump_json(), media_type="application/json")

    return Starlette(routes=[Route("/reservations", reserve, methods=["POST"])])


def fastapi_app():
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/reservations")
    async def reserve(order: Order) -> Reservation:
        return reserved(order.order_id, order.lines)

    return app


def raw_app():
    async def app(scope, receive, send) -> None:
        await receive()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": BODY})

    return app


APPS = {"archstone": archstone_app, "starlette": starlette_app, "fastapi": fastapi_app, "raw": raw_app}


def serve(name: str, port: int) -> None:
    """Serve one of the applications on the server's core, until killed."""
    os.sched_setaffinity(0, {SERVER_CORE})
    if name == "grpc":
        asyncio.run(serve_grpc(port))
        return
    import uvicorn

    from archstone.gateway.heads import BoundedHttp

    # Each as it is served by those who make it: `archstone up` gives its connections to uvicorn.
    http = BoundedHttp if name == "archstone" else "httptools"
    uvicorn.run(
        APPS[name](), port=port, log_level="error", access_log=False, loop="uvloop", http=http,
        lifespan="off", ws="none", proxy_headers=False, server_header=False,
    )  # fmt: skip


@contextlib.contextmanager
def serving(name: str) -> Iterator[int]:
    """Run `serve` in a process of its own; yield the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"from benchmarks.services_http import serve; serve({name!r}, {port})"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    try:
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
                break
            time.sleep(0.05)
        os.sched_setaffinity(0, {CLIENT_CORE})
        yield port
    finally:
        server.kill()
        server.wait()


class Load(asyncio.Protocol):
    """Sends the same request again as soon as the answer is whole: the lightest client there can be."""

    def __init__(self) -> None:
        self.done = 0
        self.wrong = 0
        self._begun_s = 0.0
        self._buffer = b""
        self.took_s: list[float] = []

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._begun_s = time.perf_counter()
        self._transport.write(POST)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self.wrong += not head.startswith(b"HTTP/1.1 200")
        self.done += 1
        self.took_s.append(time.perf_counter() - self._begun_s)
        self._buffer = b""
        self._send()


async def loaded(port: int, *, seconds: float) -> Measured:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Load, "127.0.0.1", port) for _ in range(CONCURRENCY)]
    await asyncio.sleep(seconds / 3)
    clients = [each for _, each in made]
    for each in clients:
        each.done, each.took_s = 0, []
    begun_s = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = sum(each.done for each in clients) / (time.perf_counter() - begun_s)
    took_s = sorted(one for each in clients for one in each.took_s)
    for transport, _ in made:
        transport.abort()
    assert not sum(each.wrong for each in clients), "an answer was not 200"
    return Measured(rate, percentiles(took_s))


def percentiles(took_s: list[float]) -> dict[str, object]:
    took_s.sort()
    middle, late = took_s[len(took_s) // 2], took_s[len(took_s) * 99 // 100]
    return {"p50_ms": round(middle * 1e3, 3), "p99_ms": round(late * 1e3, 3)}


def on_uvloop(main) -> Measured:
    import uvloop

    return uvloop.run(main)


def served(name: str, *, quick: bool) -> Measured:
    with serving(name) as port:
        return on_uvloop(loaded(port, seconds=0.7 if quick else 3.0))


@bench.contender("archstone", "uvicorn", "pydantic")
def archstone_serves(quick: bool) -> Measured:
    return served("archstone", quick=quick)


@bench.contender("starlette", "pydantic")
def starlette_serves(quick: bool) -> Measured:
    return served("starlette", quick=quick)


@bench.contender("fastapi", "pydantic")
def fastapi_serves(quick: bool) -> Measured:
    return served("fastapi", quick=quick)


@bench.contender("uvicorn")
def raw_asgi(quick: bool) -> Measured:
    return served("raw", quick=quick)


async def called(call: Callable[[], Awaitable[object]], *, quick: bool) -> Measured:
    """Return the calls a second of 32 callers in a loop each."""
    took_s: list[float] = []
    ends_s = time.perf_counter() + 0.3

    async def caller() -> None:
        while (begun_s := time.perf_counter()) < ends_s:
            await call()
            took_s.append(time.perf_counter() - begun_s)

    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    took_s.clear()
    begun_s = time.perf_counter()
    ends_s = begun_s + (0.7 if quick else 3.0)
    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    return Measured(len(took_s) / (time.perf_counter() - begun_s), percentiles(took_s))


@bench.contender("archstone", "uvicorn", "httptools")
def archstone_calls(quick: bool) -> Measured:
    async def main(port: int) -> Measured:
        async with HttpTransport(f"http://127.0.0.1:{port}") as transport:
            inventory = client(Inventory, transport)
            assert await inventory.reserve("order-1", LINES) == reserved("order-1", LINES)
            return await called(lambda: inventory.reserve("order-1", LINES), quick=quick)

    with serving("archstone") as port:
        return on_uvloop(main(port))


@bench.contender("aiohttp", "starlette", "pydantic")
def aiohttp_calls_starlette(quick: bool) -> Measured:
    import aiohttp

    async def main(port: int) -> Measured:
        url = f"http://127.0.0.1:{port}/reservations"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:

            async def call() -> object:
                body = Order(order_id="order-1", lines=LINES).model_dump_json().encode()
                async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
                    return Reservation.model_validate_json(await answer.read())

            return await called(call, quick=quick)

    with serving("starlette") as port:
        return on_uvloop(main(port))


PROTO = """syntax = "proto3"; package bench;
message Line { string sku = 1; int32 quantity = 2; }
message Order { string order_id = 1; repeated Line lines = 2; }
message Reservation { string order_id = 1; int32 pieces = 2; repeated Line lines = 3; }
service Inventory { rpc Reserve (Order) returns (Reservation); }
"""


def grpc_modules():
    """Compile the messages and return both generated modules."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench.proto").write_text(PROTO)
        if protoc.main(["", f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}", "bench.proto"]):
            raise RuntimeError("protoc failed")
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("bench_pb2"), importlib.import_module("bench_pb2_grpc")
        finally:
            sys.path.remove(folder)


async def serve_grpc(port: int) -> None:
    import grpc

    messages, stubs = grpc_modules()

    class Servicer(stubs.InventoryServicer):
        async def Reserve(self, request, context):
            return messages.Reservation(
                order_id=request.order_id, pieces=sum(line.quantity for line in request.lines), lines=request.lines
            )

    server = grpc.aio.server()
    stubs.add_InventoryServicer_to_server(Servicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


@bench.contender("grpcio")
def grpc_calls(quick: bool) -> Measured:
    import grpc

    messages, stubs = grpc_modules()

    async def main(port: int) -> Measured:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = stubs.InventoryStub(channel)

            async def call() -> object:
                lines = [messages.Line(sku=line.sku, quantity=line.quantity) for line in LINES]
                return await stub.Reserve(messages.Order(order_id="order-1", lines=lines))

            return await called(call, quick=quick)

    with serving("grpc") as port:
        return asyncio.run(main(port))


bench.row(
    Row("serve a validated JSON POST, one core: beside Starlette", "requests/s", goal=1.2, bigger_is_better=True),
    ours="archstone_serves", peers=["starlette_serves"], beside=["raw_asgi"],
)  # fmt: skip
bench.row(
    Row("serve a validated JSON POST, one core: beside FastAPI", "requests/s", goal=2.5, bigger_is_better=True),
    ours="archstone_serves", peers=["fastapi_serves"],
)  # fmt: skip
bench.row(
    Row("call between two processes, 32 concurrent", "calls/s", goal=2.0, bigger_is_better=True),
    ours="archstone_calls", peers=["grpc_calls", "aiohttp_calls_starlette"],
)  # fmt: skip
