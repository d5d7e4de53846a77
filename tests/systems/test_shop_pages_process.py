"""The pages as a stranger opens them: over the running process, through a kill, to the end of its stream at a stop."""

import asyncio
import re
import threading
from pathlib import Path

import httpx
from shop_database import faults_in
from shop_http import at_rest, eventually, served_shop

PASSWORD = "a quiet evening"
ADDRESS = {"name": "Ann", "street": "Mill Lane 1", "city": "Tarn", "postcode": "12345", "country": "DE"}


def hidden(html: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))


def listened(http: httpx.Client, path: str, heard: list[str]) -> None:
    with http.stream("GET", f"{path}/events", headers={"Accept": "text/event-stream"}) as answer:
        heard.extend(answer.iter_text())


def test_somebody_buys_by_pages_alone_and_the_shop_is_killed_meanwhile(tmp_path: Path) -> None:
    with served_shop(tmp_path / "shop") as shop:
        with httpx.Client(base_url=shop.url, timeout=30, headers={"Origin": shop.url}) as http:
            assert http.post("/cart/lines", data={"sku": "KIT-001", "quantity": "2"}).status_code == 303
            account = {"email": "ann@example.org", "name": "Ann", "password": PASSWORD, "next": "/checkout"}
            assert http.post("/register", data=account).headers["location"] == "/checkout"
            page = http.get("/checkout").text
            order = {**hidden(page), **ADDRESS, "card": "tok_timeout"}
            path = http.post("/checkout", data=order).headers["location"]
            assert "We are working on your order" in http.get(path).text
            shop.kill()
            asyncio.run(shop.start())
            told = eventually(lambda: http.get(path).text, lambda text: "We are working" not in text)
            assert "Your order is confirmed" in told
            assert http.post("/checkout", data=order).headers["location"] == path
            assert http.get("/orders").text.count("Confirmed") == 1
            at_rest(shop)
            heard: list[str] = []
            listener = threading.Thread(target=listened, args=(http, path, heard))
            listener.start()
            eventually(lambda: "".join(heard), lambda text: "event: order" in text)
            assert shop.stop() == 0
            listener.join(timeout=10)
            assert not listener.is_alive(), "the stream must end for the shop to stop"
        assert faults_in(shop.data) == []
