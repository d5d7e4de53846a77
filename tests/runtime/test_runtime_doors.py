"""Connections that come at once are let in by the dozen in each turn of the loop."""

import asyncio
import socket

import pytest
import uvloop

from archstone.runtime.wire import doors


async def turns_until_all_are_in(count: int, sockets: list[socket.socket]) -> int:
    loop, inside, everybody, turns = asyncio.get_running_loop(), 0, asyncio.Event(), 0

    class Guest(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal inside
            inside += 1
            if inside == count:
                everybody.set()

    clients = [socket.create_connection(sockets[0].getsockname()) for _ in range(count)]
    servers = [await loop.create_server(Guest, sock=each) for each in sockets]
    while not everybody.is_set():
        await asyncio.sleep(0)
        turns += 1
    for each in (*servers, *clients):
        each.close()
    return turns


@pytest.mark.real_time
def test_many_connections_come_in_at_each_turn() -> None:
    turns = {}
    for many in (False, True):
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
            sockets = doors(listener) if many else [listener]
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                turns[many] = runner.run(turns_until_all_are_in(160, sockets))
            for each in sockets:
                each.close()
    assert turns[True] < 40, turns
    assert turns[False] > 4 * turns[True], turns
