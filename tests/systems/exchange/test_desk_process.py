"""The exchange as it is started, over real sockets: two accounts trade with each other."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from shop_process import ShopProcess, free_port

from archstone.systems.exchange.entry.binary import EntryClient, EntryClosedError, over_tcp
from archstone.systems.exchange.matching import Side, Told

websockets = pytest.importorskip("websockets.asyncio.client", reason="needs the package websockets")

pytestmark = [pytest.mark.real_time, pytest.mark.slow]


async def asked(socket: Any, op: str, **more: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"op": op, **more}))
    return await until(socket, lambda message: message["type"] == "reply")


async def until(socket: Any, wanted: Any) -> dict[str, Any]:
    while True:
        message = json.loads(await socket.recv())
        if wanted(message):
            return message


async def test_two_accounts_trade_over_sockets_and_a_third_over_rest(tmp_path: Path) -> None:
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"bots": "off"})
    await exchange.start()
    try:
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1") as http:
            tokens = [(await http.post("/trial")).json()["access_token"] for _ in range(3)]
            url = exchange.url.replace("http", "ws") + "/ws"
            headers = [{"Authorization": f"Bearer {each}"} for each in tokens]
            async with (
                websockets.connect(url, additional_headers=headers[0]) as ann,
                websockets.connect(url, additional_headers=headers[1]) as bob,
            ):
                await asked(ann, "subscribe", channels=["reports"])
                order = {"symbol": "ACME", "side": "sell", "quantity": 10, "price": 10_050}
                assert (await asked(ann, "place", order=order))["order"]["status"] == "working"
                taken = await asked(bob, "place", order={**order, "side": "buy", "quantity": 4})
                assert taken["order"]["status"] == "filled"
                told = await until(
                    ann, lambda message: message["type"] == "reports" and message["reports"][0]["kind"] == "traded"
                )
                assert (told["reports"][0]["quantity"], told["reports"][0]["left"]) == (4, 6)
                bought = await http.post(
                    "/orders", json={"order": {**order, "side": "buy", "quantity": 6}}, headers=headers[2]
                )
                assert bought.json()["order"]["status"] == "filled"
                assert (await until(ann, lambda message: message["type"] == "reports"))["reports"][0]["left"] == 0
                mine = (await http.get("/portfolio", headers=headers[0])).json()
                assert mine["cash"] == mine["paid_in"] + 10 * 10_050
                await bob.send("x" * 70_000)
                with pytest.raises(Exception, match="1009"):
                    await until(bob, lambda _: False)
            assert (await http.get("/instruments")).status_code == 200
        assert exchange.stop() == 0, exchange.log_tail()
    finally:
        exchange.kill()


async def test_programs_trade_by_the_binary_protocol_with_whoever_is_in_a_browser(tmp_path: Path) -> None:
    gate = free_port()
    options = {"bots": "off", "sequencer": "memory", "binary": f"127.0.0.1:{gate}"}
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options=options)
    await exchange.start()
    try:
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1") as http:
            ann, bob, carol = [
                {"Authorization": f"Bearer {(await http.post('/trial')).json()['access_token']}"} for _ in range(3)
            ]
            key = (await http.post("/keys", json={"name": "bot"}, headers=carol)).json()["text"]
            url = exchange.url.replace("http", "ws") + "/ws"
            async with (
                websockets.connect(url, additional_headers=ann) as first,
                websockets.connect(url, additional_headers=bob) as second,
                EntryClient(key, over_tcp("127.0.0.1", gate)) as machine,
            ):
                order = {"symbol": "ACME", "side": "sell", "quantity": 10, "price": 10_050}
                assert (await asked(first, "place", order=order))["ok"]
                bought = await machine.new(book=1, side=Side.BUY, price=10_060, quantity=4)
                assert bought.kind == Told.ACCEPTED
                sold = await machine.new(book=1, side=Side.SELL, price=10_049, quantity=2)
                assert sold.kind == Told.ACCEPTED
                taken = await asked(second, "place", order={**order, "side": "buy", "quantity": 8})
                assert (taken["order"]["status"], taken["order"]["filled"]) == ("filled", 8)
            fills = (await http.get("/fills", headers=carol)).json()["items"]
            assert [(each["side"], each["lots"], each["price"]) for each in fills] == [
                ("sell", 2, 10_049), ("buy", 4, 10_050),
            ]  # fmt: skip
            looking = await http.post("/keys", json={"name": "looks", "scopes": ["orders:read"]}, headers=carol)
            with pytest.raises(EntryClosedError):
                async with EntryClient(looking.json()["text"], over_tcp("127.0.0.1", gate)):
                    pass
        assert exchange.stop() == 0, exchange.log_tail()
    finally:
        exchange.kill()


async def test_what_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"bots": "off"})
    await exchange.start()
    try:
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1") as http:
            http.headers["Authorization"] = f"Bearer {(await http.post('/trial')).json()['access_token']}"
            order = {"symbol": "ACME", "side": "sell", "quantity": 10, "price": 10_050, "number": 7}
            placed = (await http.post("/orders", json={"order": order})).json()
            before = (await http.get("/portfolio")).json()
            exchange.kill()
            await exchange.start()
            again = (await http.post("/orders", json={"order": order})).json()
            assert again["order"] == placed["order"]
            assert (await http.get("/portfolio")).json() == before
            assert (await http.get("/instruments/ACME/depth")).json()["asks"] == [
                {"price": 10_050, "lots": 10, "orders": 1}
            ]
        assert exchange.stop() == 0, exchange.log_tail()
        await exchange.start()
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1") as http:
            assert len((await http.get("/instruments/ACME/depth")).json()["asks"]) == 1
    finally:
        exchange.kill()


async def test_bots_make_a_market_at_once(tmp_path: Path) -> None:
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"sequencer": "memory"})
    await exchange.start()
    try:
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1") as http, asyncio.timeout(60):
            while not all(each["bid"] and each["ask"] and each["lots"] for each in await quotes(http)):
                await asyncio.sleep(0.2)
        assert exchange.stop() == 0, exchange.log_tail()
    finally:
        exchange.kill()


async def quotes(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await http.get("/instruments")).json()["items"]


async def test_strangers_are_let_in_without_a_token_and_sent_away_at_the_end(tmp_path: Path) -> None:
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"bots": "off"})
    await exchange.start()
    url = exchange.url.replace("http", "ws") + "/ws"
    try:
        with pytest.raises(Exception, match="403"):
            await websockets.connect(url, additional_headers={"Authorization": "Bearer false"})
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{exchange.url}/ws")).status_code == 426
        stays = await websockets.connect(url)
        begun_s = time.monotonic()
        assert await asyncio.to_thread(exchange.stop) == 0, exchange.log_tail()
        assert time.monotonic() - begun_s < 10
        with pytest.raises(Exception, match=r"1001|1012"):
            await until(stays, lambda _: False)
    finally:
        exchange.kill()
