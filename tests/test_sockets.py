"""A port that nobody listens on, and that the system gives to clients: TCP can connect a socket to itself."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import pytest

from archstone.lab.connection import Target, dialer
from archstone.services.http.errors import UnreachableError
from archstone.services.http.pool import Pool
from archstone.systems.exchange import feed
from archstone.systems.exchange.entry import binary
from archstone.systems.exchange.feed.packets import Ask
from archstone.systems.exchange.sequencer import TcpNetwork


async def by_binary_protocol(port: int) -> None:
    await binary.over_tcp("127.0.0.1", port)(asyncio.Protocol)


async def by_market_data_recovery(port: int) -> None:
    await feed.over_tcp("127.0.0.1", port)(Ask.SNAPSHOT, 0, 0, 0)


async def by_http(port: int) -> None:
    pool = Pool("127.0.0.1", port, tls=None, connections=1, waiting=0, limit_bytes=1_000)
    with pytest.raises(UnreachableError) as refused:
        await pool.acquire()
    assert pool._busy == 0
    raise refused.value.__cause__ or refused.value


async def by_load_generator(port: int) -> None:
    await dialer(Target("127.0.0.1", port, tls=False))()


async def by_network(port: int) -> None:
    (await TcpNetwork().connect(f"127.0.0.1:{port}")).close()


WAYS = (by_binary_protocol, by_market_data_recovery, by_http, by_load_generator, by_network)


@pytest.mark.real_time
@pytest.mark.parametrize("connect", WAYS)
async def test_nobody_is_connected_with_themselves(
    connect: Callable[[int], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    loop = asyncio.get_running_loop()
    create = loop.create_connection

    async def from_that_port(*args: object, **options: object) -> object:
        return await create(*args, **{**options, "local_addr": ("127.0.0.1", port)})  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "create_connection", from_that_port)
    with pytest.raises(ConnectionRefusedError, match=f"nobody listens on 127.0.0.1:{port}"):
        await connect(port)
    for _ in range(3):  # what was connected is closed by the loop
        await asyncio.sleep(0)
    with contextlib.closing(socket.create_server(("127.0.0.1", port))):
        pass
