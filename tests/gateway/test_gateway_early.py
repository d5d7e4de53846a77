"""Answers while bytes are read: the same as later ones; of refusals only those for queries without priority."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from gateway_subject import Door

from archstone.gateway import Gateway
from archstone.gateway.early import Early, early_of
from archstone.gateway.heads import BoundedHttp
from archstone.resilience import Shed

CROWD = 50


@pytest.fixture
def door() -> Door:
    return Door(Gateway(rate_limit=None, shed=Shed(100, turn_s=0.015), urgent=("Shop.me", "Shop.place")))


def overload(door: Door) -> None:
    """Have the gate believe that turns have been long, and that the next one is full."""
    turns = door.app.early._gate._turns
    turns._long = 20
    turns._queued, turns._refused = CROWD, True


def early(door: Door, path: str, *headers: tuple[bytes, bytes]) -> bytes | None:
    return door.app.early.answer(path.encode(), headers, https=False, extra=b"date: now\r\n")


async def test_an_early_refusal_is_the_answer_that_a_late_one_is(door: Door) -> None:
    assert early(door, "/api/v1/products/a") is None, "nothing is refused while turns are short"
    overload(door)
    answer = early(door, "/api/v1/products/a", (b"x-request-id", b"mine-12345"))
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert {b"retry-after: 1", b"x-request-id: mine-12345", b"date: now", b"x-content-type-options: nosniff"} < set(
        lines
    )
    assert b"content-length: %d" % len(body) in lines
    told = json.loads(body)
    assert told["type"] == "urn:archstone:error:resilience.overloaded"
    assert told["instance"] == "mine-12345"
    assert told["status"] == 503


async def test_what_has_priority_or_is_no_query_is_never_refused_early(door: Door) -> None:
    overload(door)
    for path in ("/api/v1/me", "/metrics", "/api/v1/orders", "/nothing", "/", "/%ff"):
        assert early(door, path) is None, path
    for name in (b"content-length", b"transfer-encoding", b"expect", b"upgrade"):
        assert early(door, "/api/v1/products/a", (name, b"1")) is None
    assert early(door, "/api/v1/products/a") is not None


def test_what_refuses_is_found_behind_what_the_server_wraps_around_an_application(door: Door) -> None:
    class Wrapped:
        def __init__(self, app: object) -> None:
            self.app = app

    assert isinstance(early_of(Wrapped(Wrapped(door.app))), Early)
    assert early_of(Wrapped(object())) is None
    assert early_of(Door(Gateway(shed=None)).app) is None


@pytest.fixture
async def port(door: Door) -> AsyncIterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(door.app, log_level="critical", loop="none", http=BoundedHttp, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.001)
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


async def status(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split()[1]))
    return int(head.split()[1])


@pytest.mark.real_time
async def test_a_connection_goes_on_after_an_early_refusal(door: Door, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    query = b"GET /api/v1/products/a HTTP/1.1\r\nhost: x\r\n\r\n"
    for _ in range(3):
        overload(door)
        writer.write(query)
        assert await status(reader) == 503
        writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await status(reader) == 200
    door.app.early._gate._turns._long = 0
    writer.write(query)
    assert await status(reader) == 200
    overload(door)
    writer.write(query * 3)
    assert [await status(reader) for _ in range(3)] == [503, 503, 503]
    # Where an answer is under way, the next request waits for it and goes the long way.
    writer.write(b"GET /api/v1/products/slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" + query)
    assert [await status(reader) for _ in range(2)] == [200, 200]
    writer.transport.abort()


@pytest.mark.real_time
@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_health_is_answered_while_it_is_read_as_it_is_later(door: Door, port: int, path: str) -> None:
    answers = []
    for header in ("", "content-length: 0\r\n"):  # what has a length goes the long way
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: mine-12345\r\n{header}\r\n".encode())
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = {line for line in head.split(b"\r\n") if not line.startswith(b"date:")}
            length = next(line for line in lines if line.startswith(b"content-length"))
            answers.append((lines, await reader.readexactly(int(length.split()[1]))))
        writer.transport.abort()
    assert answers[0] == answers[1]
    assert early(door, path, (b"content-length", b"0")) is None


async def test_health_waits_for_no_one_who_was_read_before(door: Door) -> None:
    """It is answered in the call that reads it, so that a flood of others is behind it."""
    overload(door)
    answer = early(door, "/health/ready", (b"x-request-id", b"mine-12345"))
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nx-request-id: mine-12345\r\n" in head
    assert json.loads(body)["status"] == "ready"


@pytest.mark.real_time
async def test_whoever_wants_the_connection_closed_goes_the_long_way(door: Door, port: int) -> None:
    overload(door)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/v1/products/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert await status(reader) == 200
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.transport.abort()
