"""Hostile bytes over a real connection: every answer is a 4xx, and the server lives."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from gateway_subject import Door

from archstone.gateway import Gateway

pytestmark = pytest.mark.real_time

POST = b"POST /api/v1/visits HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Door(Gateway(rate_limit=None)).app
        config = uvicorn.Config(app, log_level="critical", loop="none", http="httptools", access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.001)
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


async def status_of(port: int, sent: bytes) -> int:
    """Return the status of the first answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            return int((await reader.readline()).split()[1])
    finally:
        writer.transport.abort()


HOSTILE = {
    "a path that is no utf-8": b"GET /api/v1/products/%ff HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path of raw bytes": b"GET /api/v1/products/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "a broken escape": b"GET /api/v1/products/%zz HTTP/1.1\r\nhost: x\r\n\r\n",
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    "a length and chunks": POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"content-length: 13\r\ncontent-length: 14\r\n\r\n" + b'{"page": "x"}',
    "a negative length": POST + b"content-length: -1\r\n\r\n",
    "a length above all": POST + b"content-length: 99999999999999999999999\r\n\r\n",
    "a chunk of no size": POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
    "another transfer encoding": POST + b"transfer-encoding: chunked, identity\r\n\r\n{}",
    "a header with a line break": POST + b"x-a: b\nc\r\n\r\n",
    "a header with a null": POST + b"x-a: b\x00c\r\n\r\n",
    "a space before the colon": POST + b"content-length : 5\r\n\r\n{}",
    "a huge header": POST + b"x-a: " + b"a" * 60_000 + b"\r\n\r\n",
    "ten megabytes declared": POST + b"content-length: 10000000\r\n\r\n" + b"x" * 10_000_000,
    "ten megabytes in chunks": POST
    + b"transfer-encoding: chunked\r\n\r\n"
    + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 152
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_bytes_are_a_4xx(port: int, name: str) -> None:
    assert 400 <= await status_of(port, HOSTILE[name]) < 500
    assert await status_of(port, b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n") == 200


async def test_chunks_without_end_are_answered_and_cut(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(POST + b"transfer-encoding: chunked\r\n\r\n")

    async def flood() -> None:
        while not reader.at_eof():
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    flooding = asyncio.create_task(flood())
    async with asyncio.timeout(10):
        assert b" 413 " in await reader.readline()
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)
    writer.transport.abort()


async def test_half_a_body_holds_no_place_inside_and_one_address_has_few(port: int) -> None:
    half = POST + b"content-length: 13\r\n\r\n{"
    open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    try:
        for _, writer in open_ones:
            writer.write(half)
        await asyncio.gather(*(writer.drain() for _, writer in open_ones))
        async with asyncio.timeout(10):
            while await status_of_half(port, half) != 429:
                pass
        whole = POST + b'content-length: 13\r\n\r\n{"page": "x"}'
        assert await status_of(port, whole) == 200
        open_ones[0][1].write(b'"page": "x"}')
        async with asyncio.timeout(10):
            assert int((await open_ones[0][0].readline()).split()[1]) == 200
    finally:
        for _, writer in open_ones:
            writer.transport.abort()


async def status_of_half(port: int, sent: bytes) -> int:
    """Return the status of what is answered at once, 0 if the server waits for the rest."""
    try:
        async with asyncio.timeout(0.2):
            return await status_of(port, sent)
    except TimeoutError:
        return 0
