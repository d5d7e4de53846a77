"""The short way through the server gives what the long way gives, byte for byte but for the order of headers."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from archstone.gateway.direct import DirectHttp
from archstone.services.http import Response
from archstone.services.http.asgi import direct
from archstone.services.http.body import in_time, read_body

pytestmark = pytest.mark.real_time

JSON = (b"content-type", b"application/json")


async def echo(scope, receive, send) -> None:
    """Answer with what came; by the path, in other ways than whole."""
    path = scope["path"]
    body = await read_body(receive, dict(scope["headers"]), limit_bytes=100_000, watch=in_time(5))
    if path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        for part in (b"one", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    if path == "/fails":
        raise RuntimeError("as it happens")
    if path == "/silent":
        return
    status = int(path[1:]) if path[1:].isdigit() else 200
    headers = [JSON, (b"x-more", b"a\r\nx-injected: b")] if path == "/injects" else [JSON]
    text = repr((scope["method"], path, scope["raw_path"], scope["query_string"], scope["headers"], body)).encode()
    await Response(status, headers, b"" if status in {204, 304} else text).send(send)


def through(app):
    """The same, with something between server and application that looks at messages."""

    async def between(scope, receive, send) -> None:
        async def received():
            return await receive()

        async def sent(message) -> None:
            await send(message)

        await app(scope, received, sent)

    return between


@asynccontextmanager
async def serving(app, http) -> AsyncIterator[uvicorn.Server]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, log_level="critical", loop="none", http=http, access_log=False, lifespan="off", server_header=False,
            date_header=False, timeout_keep_alive=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.001)
        yield server
        server.should_exit = True
        await task


async def told(server: uvicorn.Server, *sent: bytes) -> bytes:
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(60):
            for part in sent:
                writer.write(part)
                await asyncio.sleep(0.005)
            answer = await reader.read()
    finally:
        writer.transport.abort()
    # The server itself tells no date; what refuses an upgrade does, and a second may pass between two answers.
    return re.sub(rb"\r\ndate: [^\r]*", b"", answer, flags=re.IGNORECASE)


def request(line: bytes, *headers: bytes, body: bytes = b"", last: bool = True) -> bytes:
    ends = [b"connection: close"] if last else []
    length = [b"content-length: %d" % len(body)] if body else []
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: x", *length, *headers, *ends, b"", b""]) + body


REQUESTS = {
    "a query": [request(b"GET /a?b=c&d=%20")],
    "an encoded path": [request(b"GET /a%2Fb/%C3%A9?x=%2F")],
    "two slashes": [request(b"GET //a//b")],
    "a whole address": [request(b"GET http://x/a?b=c")],
    "a fragment": [request(b"GET /a?b#c")],
    "no path": [request(b"OPTIONS *")],
    "a body": [request(b"POST /a", body=b'{"a": 1}')],
    "a body in parts": [request(b"POST /a", body=b"0123456789")[:-5], b"56789"],
    "a chunked body": [request(b"POST /a", b"transfer-encoding: chunked") + b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"],
    "a head in parts": [request(b"GET /a")[:20], request(b"GET /a")[20:]],
    "expecting to be asked on": [request(b"POST /a", b"Expect: 100-continue", b"content-length: 2"), b"ab"],
    "only the head": [request(b"HEAD /a")],
    "nothing to say": [request(b"GET /204")],
    "nothing new": [request(b"GET /304")],
    "an old client": [b"GET /a HTTP/1.0\r\nHost: x\r\n\r\n"],
    "an old client that stays": [b"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"],
    "three at once": [request(b"GET /a", last=False) * 2 + request(b"GET /b")],
    "bodies at once": [request(b"POST /a", body=b"one", last=False) + request(b"POST /b", body=b"two")],
    "a stream": [request(b"GET /stream")],
    "a stream, then more": [request(b"GET /stream", last=False) + request(b"GET /a")],
    "a failure": [request(b"GET /fails")],
    "no answer": [request(b"GET /silent")],
    "a header that breaks out": [request(b"GET /injects")],
    "an upgrade that is not offered": [request(b"GET /a", b"Upgrade: websocket", b"Connection: upgrade", last=False)],
}


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.filterwarnings("ignore")  # uvicorn warns of an upgrade that it cannot make
async def test_the_short_way_answers_what_the_long_way_does(what: str) -> None:
    answers = []
    for app, http in ((echo, DirectHttp), (through(echo), "httptools")):
        async with serving(app, http) as server:
            answers.append(await told(server, *REQUESTS[what]))
    assert answers[0] == answers[1]


async def test_what_stands_between_is_passed_by_nobody() -> None:
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append((direct(receive), direct(send)))
        await Response(200, [JSON], b"{}").send(send)

    async with serving(through(app), DirectHttp) as server:
        await told(server, request(b"GET /"))
    async with serving(app, DirectHttp) as server:
        await told(server, request(b"GET /"))
    assert seen[0] == (None, None)
    assert None not in seen[1]


async def test_a_body_is_taken_once() -> None:
    taken = []

    async def app(scope, receive, send) -> None:
        server = direct(receive)
        taken.extend([server.whole_body(), server.whole_body()])
        await Response(200, [JSON], b"{}").send(send)

    async with serving(app, DirectHttp) as server:
        await told(server, request(b"POST /", body=b"abc"))
    assert taken == [b"abc", b""]


async def test_a_body_above_the_limit_is_refused_the_short_way_too() -> None:
    async def app(scope, receive, send) -> None:
        try:
            await read_body(receive, dict(scope["headers"]), limit_bytes=3, watch=in_time(5))
        except Exception as error:
            await Response(413, [], type(error).__name__.encode()).send(send)

    async with serving(app, DirectHttp) as server:
        assert b"413" in await told(server, request(b"POST /", body=b"abcd"))


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    release = asyncio.Event()

    async def app(scope, receive, send) -> None:
        if scope["path"] == "/wait":
            await release.wait()
        await Response(200, [JSON], b"{}").send(send)

    async with serving(app, DirectHttp) as server:
        loop = asyncio.get_running_loop()
        busy = asyncio.create_task(told(server, request(b"GET /a", last=False), request(b"GET /wait", last=False)))
        begun = loop.time()
        assert (await told(server, request(b"GET /a", last=False))).startswith(b"HTTP/1.1 200")  # until it is closed
        assert loop.time() - begun >= 1
        assert not busy.done()
        release.set()
        assert (await busy).count(b"HTTP/1.1 200") == 2
        assert not server.server_state.connections
        assert not server.server_state.tasks


async def test_a_client_that_does_not_read_holds_up_nobody_but_itself() -> None:
    """Answers wait where a client takes none: the server stops writing, and goes on when it reads."""
    large = b"x" * 300_000

    async def app(scope, receive, send) -> None:
        await Response(200, [JSON], large).send(send)

    async with serving(app, DirectHttp) as server:
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(request(b"GET /", last=False) * 19 + request(b"GET /"))
        await asyncio.sleep(0.2)
        assert (await told(server, request(b"GET /"))).endswith(large)
        got = await reader.read(-1)
        assert got.count(b"HTTP/1.1 200") == 20
        assert len(got) > 20 * len(large)
        writer.transport.abort()
