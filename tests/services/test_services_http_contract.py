"""The one body of tests for every transport, over HTTP: in memory on virtual time, and over a real connection."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from contract_cases import ROOT, SKU, ContractCases, Inventory, asked_by, dispatcher
from services_http_subject import OpenCodec

from archstone import context
from archstone.services import Dispatcher, InProcess, client, operations
from archstone.services.http import AsgiTransport, ContractApp, HttpTransport, read_with

__all__ = ["dispatcher"]


def served(dispatcher: Dispatcher) -> ContractApp:
    behind = InProcess(dispatcher)
    return ContractApp([(each, behind) for each in operations(Inventory)], principal=read_with(OpenCodec()))


class TestOverHttpInMemory(ContractCases):
    async def make_client(self, dispatcher: Dispatcher) -> Inventory:
        return client(Inventory, AsgiTransport(served(dispatcher), principals=OpenCodec()))


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


@pytest.mark.real_time
class TestOverHttp(ContractCases):
    @pytest.fixture
    async def inventory(self, dispatcher: Dispatcher, listening: socket.socket) -> AsyncIterator[Inventory]:
        config = uvicorn.Config(served(dispatcher), log_level="error", lifespan="off", loop="none", access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.001)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with HttpTransport(url, principals=OpenCodec()) as transport:
            made = client(Inventory, transport)
            with context.enter(asked_by(ROOT)):
                await made.fill(SKU("tea"), 5)
            yield made
        server.should_exit = True
        await serving
