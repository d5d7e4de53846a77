"""The exchange over two nodes and a witness, all of them processes: the leader is killed, and trade goes on."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from shop_process import ShopProcess, free_port
from test_desk_process import asked
from watched_nodes import WatchedNodes

from archstone.security.authority import Authority

websockets = pytest.importorskip("websockets.asyncio.client", reason="needs the package websockets")

pytestmark = [pytest.mark.real_time, pytest.mark.slow]

DOMAIN = "exchange.internal"
ORDER = {"symbol": "ACME", "side": "sell", "quantity": 10, "price": 10_050}


def free_ports(count: int) -> int:
    """Return the first of some ports in a row that nobody uses."""
    while True:
        port = free_port()
        try:
            for each in [socket.create_server(("127.0.0.1", port + place)) for place in range(count)]:
                each.close()
        except OSError:
            continue
        return port


@dataclass
class Trio(WatchedNodes):
    """A witness and two nodes, as one command starts them."""

    process: Process
    set: str = ""
    """What `archstone up` is told."""
    pids: dict[str, int] = field(default_factory=dict[str, int])
    addresses: dict[str, str] = field(default_factory=dict[str, str])
    reading: asyncio.Task[None] | None = None

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode():
            if found := re.fullmatch(r"archstone up exchange --set sequencer=(\S+)\n", line):
                self.set = found[1]
            if found := re.fullmatch(r"(\w+) listens on (\S+), process (\d+)\n", line):
                self.addresses[found[1]], self.pids[found[1]] = found[2], int(found[3])

    async def stop(self) -> None:
        self.process.terminate()
        assert await self.process.wait() == 0
        if self.reading is not None:
            await self.reading


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Trio]:
    options = ["--data", str(tmp_path / "nodes"), "--port", str(free_ports(3))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (tmp_path / "nodes.log").open("ab") as told:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "archstone.systems.exchange.trio", *options, stdout=PIPE, stderr=told, env=environment
        )
    trio = Trio(process)
    trio.reading = asyncio.create_task(trio.read())
    yield trio
    await trio.stop()
    for pid in trio.pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def insisted(http: httpx.AsyncClient, order: dict[str, object], headers: dict[str, str]) -> dict[str, Any]:
    """Place an order, again under its number as long as nobody knows whether it was kept."""
    async with asyncio.timeout(30):
        while True:
            answer = await http.post("/orders", json={"order": order}, headers=headers)
            if answer.status_code != 503:
                assert answer.status_code == 200, answer.text
                return answer.json()["order"]
            await asyncio.sleep(0.05)


async def test_the_leader_dies_and_nothing_that_was_answered_is_lost(tmp_path: Path, trio: Trio) -> None:
    leader = await trio.leader()
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"bots": "off", "sequencer": trio.set})
    try:
        await exchange.start()
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1", timeout=30) as http:
            ann, bob = [
                {"Authorization": f"Bearer {(await http.post('/trial')).json()['access_token']}"} for _ in range(2)
            ]
            first = await insisted(http, {**ORDER, "number": 1}, ann)
            async with websockets.connect(exchange.url.replace("http", "ws") + "/ws", additional_headers=bob) as person:
                taken = await asked(person, "place", order={**ORDER, "side": "buy", "quantity": 3, "number": 1})
                assert taken["order"]["status"] == "filled"
                (waited,) = (await http.get("/engine/latency")).json()["items"]
                assert (waited["engine"], waited["count"] >= 9) == ("Nodes", True)  # books, accounts, orders
                page = (await http.get(f"{exchange.url}/engine")).text
                assert "Here the engine works at the nodes" in page
                os.kill(trio.pids[leader], signal.SIGKILL)
                begun_s = time.monotonic()
                second = await insisted(http, {**ORDER, "price": 10_060, "number": 2}, ann)
                took_s = time.monotonic() - begun_s
                taken = await asked(person, "place", order={**ORDER, "side": "buy", "quantity": 4, "number": 2})
                assert taken["order"]["status"] == "filled"
            assert (first["status"], second["status"]) == ("working", "working")
            assert took_s < 10, "it takes one or two on a machine that has nothing else to do"
            mine = (await http.get("/orders", headers=ann)).json()["items"]
            assert {each["number"]: each["left"] for each in mine if each["status"] == "working"} == {1: 3, 2: 10}
            await trio.equal()
            assert await trio.leader() != leader
            exchange.kill()
            await exchange.start()
            again = (await http.get("/orders", headers=ann)).json()["items"]
            assert {each["number"]: each["left"] for each in again if each["status"] == "working"} == {1: 3, 2: 10}
            assert (await http.get("/portfolio", headers=bob)).json()["positions"][0]["lots"] == 7
        assert exchange.stop() == 0, exchange.log_tail()
    finally:
        exchange.kill()


async def test_bots_make_a_market_over_nodes_and_go_on_when_the_leader_dies(tmp_path: Path, trio: Trio) -> None:
    leader = await trio.leader()
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"sequencer": trio.set})
    try:
        await exchange.start()
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1", timeout=30) as http:
            before = await traded(http, after=0)
            os.kill(trio.pids[leader], signal.SIGKILL)
            await traded(http, after=before)
        assert exchange.stop() == 0, exchange.log_tail()
        await trio.equal()
    finally:
        exchange.kill()


async def traded(http: httpx.AsyncClient, *, after: int) -> int:
    """Wait until more lots than that were traded in a book with two sides; return how many."""
    async with asyncio.timeout(60):
        while True:
            found = (await http.get("/instruments")).json()["items"][0]
            if found["bid"] and found["ask"] and found["lots"] > after:
                return found["lots"]
            await asyncio.sleep(0.1)


@asynccontextmanager
async def secured(folder: Path, *, port: int) -> AsyncIterator[str]:
    """Run a witness and two nodes that prove who they are; give what the exchange is told of them."""
    authority = Authority.create(DOMAIN)
    for name in ("w", "a", "b", "desk"):
        authority.give(name, folder / "tls" / name)
    at = {name: f"127.0.0.1:{port + place}" for place, name in enumerate("wab")}
    witness = ["--witness", f"w@{at['w']}", "--caller", "desk"]
    roles = {
        "w": ["--role", "witness", "--caller", "a", "--caller", "b"],
        "a": ["--role", "leader", "--name", "a", "--peer", f"b@{at['b']}", *witness],
        "b": ["--role", "standby", "--name", "b", "--peer", f"a@{at['a']}", *witness],
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running: list[Process] = []
    with (folder / "nodes.log").open("ab") as told:
        for name, role in roles.items():
            tls = ["--tls", str(folder / "tls" / name), "--domain", DOMAIN]
            options = [*role, *tls, "--data", str(folder / name), "--listen", at[name]]
            command = [sys.executable, "-m", "archstone.systems.exchange.node", *options]
            running.append(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=told, env=environment))
    try:
        yield f"a@{at['a']},b@{at['b']}"
    finally:
        for process in running:
            process.terminate()
        for process in running:
            await process.communicate()


async def test_nodes_that_prove_who_they_are_take_the_orders_of_an_exchange_that_does(tmp_path: Path) -> None:
    async with secured(tmp_path, port=free_ports(3)) as nodes:
        desk = {"sequencer_tls": str(tmp_path / "tls" / "desk"), "sequencer_domain": DOMAIN}
        exchange = ShopProcess(
            tmp_path / "exchange", system="exchange", options={"bots": "off", "sequencer": nodes, **desk}
        )
        try:
            await exchange.start()
            async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1", timeout=30) as http:
                ann = {"Authorization": f"Bearer {(await http.post('/trial')).json()['access_token']}"}
                assert (await insisted(http, {**ORDER, "number": 1}, ann))["status"] == "working"
            assert exchange.stop() == 0, exchange.log_tail()
        finally:
            exchange.kill()


async def test_an_exchange_whose_nodes_are_not_there_says_so_and_ends(tmp_path: Path) -> None:
    port = free_ports(2)
    options = {"bots": "off", "sequencer": f"127.0.0.1:{port},127.0.0.1:{port + 1}"}
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options=options)
    exchange.spawn()
    assert await exchange.exited() != 0
    told = exchange.log_tail()
    assert "waits for a node that leads" in told
    assert f"127.0.0.1:{port} is away, 127.0.0.1:{port + 1} is away" in told
    assert "Traceback" not in told
