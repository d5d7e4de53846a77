"""A port that nobody listens on, and that the system gives to clients: TCP can connect a socket to itself."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import pytest

from archstone.systems.exchange.entry.binary import over_tcp
from archstone.systems.exchange.sequencer import TcpNetwork


async def by_binary_protocol(port: int) -> None:
    await over_tcp("127.0.0.1", port)(asyncio.Protocol)


async def by_network(port: int) -> None:
    (await TcpNetwork().connect(f"127.0.0.1:{port}")).close()


@pytest.mark.real_time
@pytest.mark.parametrize("connect", [by_binary_protocol, by_network])
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
