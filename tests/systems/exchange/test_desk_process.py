"""The exchange as it is started, over real sockets: two accounts trade with each other."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from shop_process import ShopProcess

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


async def test_a_stranger_with_a_false_token_is_not_let_in(tmp_path: Path) -> None:
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"bots": "off"})
    await exchange.start()
    try:
        with pytest.raises(Exception, match="403"):
            await websockets.connect(
                exchange.url.replace("http", "ws") + "/ws", additional_headers={"Authorization": "Bearer false"}
            )
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{exchange.url}/ws")).status_code == 426
    finally:
        exchange.kill()
