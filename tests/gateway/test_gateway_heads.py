"""Heads without end, and heads that never come, over a real connection."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from gateway_subject import Door

from archstone.gateway import Gateway, heads

pytestmark = pytest.mark.real_time

GET = b"GET /health/live HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /api/v1/visits HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
MB = 1024 * 1024


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Door(Gateway(rate_limit=None)).app
        config = uvicorn.Config(app, log_level="critical", loop="none", http=heads.BoundedHttp, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.001)
        yield server
        server.should_exit = True
        await serving


async def told(server: uvicorn.Server, *sent: bytes) -> bytes:
    """Send it, a part at a time, and return all that is answered until the connection ends; nothing if it is cut."""
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(60):  # a net: nothing here waits longer than a second, on a machine that is not busy
            for part in sent:
                writer.write(part)
                await asyncio.sleep(0.01)
            await writer.drain()
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


ENDLESS = {
    "a value": GET + b"x-a: " + b"a" * MB,
    "a name": GET + b"a" * MB,
    "a target": b"GET /" + b"a" * MB,
    "many headers": GET + b"x-a: aaaaaaaa\r\n" * 70_000,
    "empty lines": b"\r\n" * (MB // 2),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_a_head_without_end_is_refused_before_it_ends(
    server: uvicorn.Server, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_LINGER_S", 0.5)
    head, _, body = (await told(server, ENDLESS[what])).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"urn:archstone:error:http.headers-too-large" in body
    assert head.lower().count(b"connection: close") == 1
    assert not server.server_state.connections


@pytest.mark.parametrize("what", [b"0\r\nx-a: " + b"a" * MB, b"1;" + b"a" * MB])
async def test_trailers_and_extensions_without_end_close_the_connection(server: uvicorn.Server, what: bytes) -> None:
    assert await told(server, CHUNKED, what) == b""
    assert not server.server_state.connections


async def test_a_whole_head_that_is_too_long_is_431_too(server: uvicorn.Server) -> None:
    assert (await told(server, GET + b"x-a: " + b"a" * 50_000 + b"\r\n\r\n")).startswith(b"HTTP/1.1 431 ")


async def test_a_head_in_many_parts_and_a_long_body_are_fine(server: uvicorn.Server) -> None:
    body = b'{"page": "' + b"x" * 900_000 + b'"}'
    head = POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    parts = [head[at : at + 30] for at in range(0, len(head), 30)]
    assert (await told(server, *parts, body)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", GET])
async def test_a_head_that_does_not_come_ends_the_connection(
    server: uvicorn.Server, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "HEAD_LIMIT_S", 0.1)
    assert await told(server, sent) == b""


async def test_a_slow_answer_is_not_a_late_head(server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # Half of what the answer takes: a busy machine may need most of that to bring the head.
    monkeypatch.setattr(heads, "HEAD_LIMIT_S", 0.5)
    asked = b"GET /api/v1/products/slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert (await told(server, asked)).startswith(b"HTTP/1.1 200 ")
