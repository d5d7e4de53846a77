"""The HTTP client against servers that behave, misbehave and disappear: over real connections."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from services_http_subject import BY_NAME, Closed, Depot, Line, OutOfStock, Stock

from archstone import context, world
from archstone.context import Call, Principal, Trace
from archstone.errors import ConfigError, DeadlineError, InvalidError, RejectedError, RemoteError
from archstone.resilience import SettingsError
from archstone.services import KeyReusedError, StillRunningError, client
from archstone.services.http import AnswerError, HttpTransport, PoolFullError, UnreachableError

pytestmark = pytest.mark.real_time

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n{"sku":"tea","free":3} '
TEA = Stock(sku="tea", free=3)


class Server:
    """Answers each request with what `script` gives: bytes, None to hang up, or a coroutine to wait for first."""

    def __init__(self, script: Callable[[int], object]) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.current_task())
        self.writers.append(writer)
        try:
            while request := await self._request(reader):
                self.requests.append(request)
                answer = self.script(len(self.requests))
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer is None:
                    return
                writer.write(answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        _, found, length = head.partition(b"content-length: ")
        return head + (await reader.readexactly(int(length.partition(b"\r\n")[0])) if found else b"")


@asynccontextmanager
async def serving(script: Callable[[int], object], **settings) -> AsyncIterator[tuple[Server, HttpTransport]]:
    behind = Server(script)
    listener = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with HttpTransport(f"http://127.0.0.1:{port}/inside", **settings) as transport:
            yield behind, transport
    finally:
        listener.close()
        for writer in behind.writers:
            writer.transport.abort()
        await asyncio.gather(*behind.tasks)


async def stock(transport: HttpTransport, sku: str = "tea") -> object:
    return await transport.call(BY_NAME["stock"], {"sku": sku, "least": None, "tags": ()})


async def reserve(transport: HttpTransport) -> object:
    arguments = {"order_id": "o1", "lines": (Line(sku="tea", quantity=1),), "weight": 1.0}
    return await transport.call(BY_NAME["reserve"], arguments)


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


def problem(code: str, status: int, more: str = "") -> bytes:
    return answer(status, f'{{"type":"urn:archstone:error:{code}","title":"t","status":{status}{more}}}'.encode())


async def test_the_request_carries_the_call() -> None:
    async with serving(lambda _: OK, token="secret") as (server, transport):
        call = Call(Principal("ann"), world.monotonic() + 5, Trace(1, 2), key="k/1", correlation_id="c-1")
        with context.enter(call):
            await transport.call(BY_NAME["stock"], {"sku": "a/b", "least": 2, "tags": ("x", "y z")})
            with pytest.raises(AnswerError, match="200"):  # a reservation answers 201
                await reserve(transport)
    query, command = (request.decode() for request in server.requests)
    assert query.startswith("GET /inside/stock/a%2Fb?least=2&tags=x&tags=y+z HTTP/1.1\r\nhost: 127.0.0.1:")
    assert "authorization: Bearer secret\r\n" in query
    assert f"traceparent: 00-{1:032x}-{2:016x}-01\r\n" in query
    assert "archstone-correlation-id: c-1\r\n" in query
    assert 4000 < int(query.partition("archstone-deadline-ms: ")[2].split("\r\n")[0]) <= 5000
    assert "idempotency-key" not in query
    assert "idempotency-key: k/1\r\n" in command
    assert command.endswith('{"order_id":"o1","lines":[{"sku":"tea","quantity":1}],"weight":1.0}')


async def test_connections_are_opened_when_needed_and_kept() -> None:
    async with serving(lambda _: OK) as (server, transport):
        assert server.connections == 0
        for _ in range(5):
            assert await stock(transport) == TEA
        assert (server.connections, len(server.requests)) == (1, 5)


async def test_no_more_connections_than_allowed_and_callers_wait_in_line() -> None:
    async with serving(lambda _: slow(0.01), connections=2) as (server, transport):
        assert await asyncio.gather(*(stock(transport) for _ in range(10))) == [TEA] * 10
        assert server.connections == 2


async def test_when_the_line_is_full_the_next_caller_is_refused() -> None:
    async with serving(lambda _: slow(0.02), connections=1, waiting=1) as (_, transport):
        answers = await asyncio.gather(*(stock(transport) for _ in range(4)), return_exceptions=True)
        assert [type(each) for each in answers] == [Stock, Stock, PoolFullError, PoolFullError]


async def test_a_caller_that_leaves_the_line_takes_no_place() -> None:
    async with serving(lambda _: slow(0.02), connections=1) as (_, transport):
        first, second, third = (asyncio.create_task(stock(transport)) for _ in range(3))
        await asyncio.sleep(0.005)
        second.cancel()
        assert await asyncio.gather(first, third) == [TEA, TEA]
        assert await stock(transport) == TEA


async def slow(seconds: float) -> bytes:
    await asyncio.sleep(seconds)
    return OK


async def test_a_connection_that_died_in_the_pool_is_replaced_for_a_query() -> None:
    # The second request is read and not answered: not a byte has come back, so a query is sent again.
    async with serving(lambda number: None if number == 2 else OK) as (server, transport):
        assert [await stock(transport), await stock(transport)] == [TEA, TEA]
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_a_command_is_sent_again_only_with_a_key() -> None:
    created = OK.replace(b"200 OK", b"201 OK")
    for key, wanted in ((None, UnreachableError), ("k", Stock)):
        async with serving(lambda number: None if number == 2 else created) as (_, transport):
            with context.enter(Call(key=key)):
                answers = await asyncio.gather(reserve(transport), return_exceptions=True)
                answers += await asyncio.gather(reserve(transport), return_exceptions=True)
            assert [type(each) for each in answers] == [Stock, wanted]


async def test_a_new_connection_that_is_lost_is_not_tried_again() -> None:
    async with serving(lambda _: None) as (server, transport):
        with pytest.raises(UnreachableError, match="may have taken effect"):
            await stock(transport)
        assert len(server.requests) == 1


async def test_an_answer_that_breaks_off_is_not_asked_for_again() -> None:
    async with serving(lambda number: OK if number == 1 else OK[:30]) as (server, transport):
        await stock(transport)
        asking = asyncio.create_task(stock(transport))
        while len(server.requests) < 2:
            await asyncio.sleep(0.001)
        with context.enter(Call(deadline_s=world.monotonic() + 0.05)), pytest.raises(DeadlineError):
            await stock(transport, "other")
        asking.cancel()
        assert len(server.requests) == 3


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with HttpTransport(f"http://127.0.0.1:{taken.getsockname()[1]}") as transport:
            with pytest.raises(UnreachableError, match="nothing was sent"):
                await stock(transport)


async def test_the_deadline_ends_the_wait_and_the_connection() -> None:
    async with serving(lambda _: slow(0.05)) as (server, transport):
        with context.enter(Call(deadline_s=world.monotonic() + 0.01)), pytest.raises(DeadlineError):
            await stock(transport)
        assert await stock(transport) == TEA
        assert server.connections == 2


async def test_a_call_past_its_deadline_is_not_sent() -> None:
    async with serving(lambda _: OK) as (server, transport):
        with context.enter(Call(deadline_s=world.monotonic() - 1)), pytest.raises(DeadlineError):
            await stock(transport)
        assert server.requests == []


async def test_cancelling_closes_the_connection_so_that_no_answer_goes_astray() -> None:
    async with serving(lambda _: slow(0.05)) as (server, transport):
        asking = asyncio.create_task(stock(transport))
        await asyncio.sleep(0.01)
        asking.cancel()
        assert await stock(transport) == TEA
        assert server.connections == 2


ERRORS = {
    "out of stock": (
        problem("http-test.out-of-stock", 409, ',"args":{"sku":"tea","free":1}'), OutOfStock, "only 1 of 'tea'",
    ),
    "closed": (problem("http-test.closed", 423, ',"detail":"until monday"'), Closed, "until monday"),
    "broken declared": (problem("http-test.out-of-stock", 409, ',"args":{"sku":"tea"}'), AnswerError, "broken"),
    "undeclared": (problem("somebody.else", 418), AnswerError, "418"),
    "a bug": (problem("archstone.remote", 500, ',"detail":"it failed"'), RemoteError, "it failed"),
    "invalid": (problem("http.bad-request", 400, ',"detail":"header x"'), InvalidError, "header x"),
    "reused": (problem("services.key-reused", 422), KeyReusedError, "k"),
    "running": (problem("services.still-running", 409, ',"retry_after_s":2.5'), StillRunningError, "2.5"),
    "shed": (problem("resilience.overloaded", 503, ',"retry_after_s":0.5'), RejectedError, "t"),
    "no route": (problem("http.no-such-route", 404), AnswerError, "no such route"),
    "a page": (answer(502, b"<h1>Bad gateway</h1>"), AnswerError, "not a problem document"),
    "other json": (answer(400, b"[1]"), AnswerError, "not a problem document of ours"),
    "wrong result": (answer(200, b'{"sku": 5}'), AnswerError, "not what the contract says"),
    "no json": (answer(200, b"nothing"), AnswerError, "not what the contract says"),
    "no http": (b"SSH-2.0-x\r\n\r\n", UnreachableError, "not HTTP"),
    "too long": (answer(200, b" " * 2000), UnreachableError, "longer than 1000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
async def test_every_answer_comes_back_as_the_error_it_tells(name: str) -> None:
    sent, error, text = ERRORS[name]
    async with serving(lambda _: sent, answer_limit_bytes=1000) as (_, transport):
        with context.enter(Call(key="k")), pytest.raises(error, match=text):
            await stock(transport)


async def test_what_nobody_asked_for_closes_the_connection() -> None:
    async with serving(lambda _: OK + OK) as (server, transport):
        assert await stock(transport) == TEA
        await asyncio.sleep(0.01)
        assert await stock(transport) == TEA
        assert server.connections == 2


async def test_answers_in_chunks_and_informational_ones_are_read() -> None:
    chunked = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n16\r\n{"sku":"tea","free":3}\r\n0\r\n\r\n'
    async with serving(lambda _: b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + chunked) as (_, transport):
        assert await stock(transport) == TEA


async def test_a_server_that_closes_after_its_answer_is_believed() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with serving(lambda _: closing) as (server, transport):
        assert [await stock(transport), await stock(transport)] == [TEA, TEA]
        assert server.connections == 2


@pytest.mark.parametrize("key", ["a\r\nx-admin: yes", "ü", "a\x00b"])
async def test_nothing_can_be_smuggled_through_a_key(key: str) -> None:
    async with serving(lambda _: OK) as (server, transport):
        with context.enter(Call(key=key)), pytest.raises(InvalidError, match="cannot stand in a header"):
            await reserve(transport)
        assert server.requests == []


async def test_a_closed_transport_refuses() -> None:
    async with serving(lambda _: OK) as (_, transport):
        pass
    with pytest.raises(UnreachableError, match="closed"):
        await stock(transport)


async def test_a_client_repeats_what_failed_on_the_way() -> None:
    async with serving(lambda number: None if number < 3 else OK) as (_, transport):
        assert await client(Depot, transport).stock("tea") == TEA


@pytest.mark.parametrize("url", ["localhost:80", "ftp://x", "http://", "unix:///x"])
def test_an_address_that_is_none_is_refused_when_built(url: str) -> None:
    with pytest.raises(ConfigError, match="write it as http://host:port"):
        HttpTransport(url)


def test_settings_are_checked_at_their_bounds() -> None:
    HttpTransport("http://x", connections=1, waiting=0)
    with pytest.raises(SettingsError, match=r"connections=0 .*waiting=-1 .*timeout_s=0 .*answer_limit_bytes=0"):
        HttpTransport("http://x", connections=0, waiting=-1, timeout_s=0, answer_limit_bytes=0)
