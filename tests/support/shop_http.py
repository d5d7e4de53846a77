"""People in front of a running shop, over plain blocking HTTP, for tests that look at one answer at a time."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from shop_database import PLACE, settings_of
from shop_process import ADDRESS, PASSWORD, ShopProcess

from archstone.runtime import ask

API = "/api/v1"
_numbers = itertools.count(1)


@dataclass
class Person:
    """Somebody with an address of their own; signed in once `sign_in` has been called."""

    http: httpx.Client
    email: str
    user_id: str = ""
    access_token: str = ""
    refresh_token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}

    def register(self) -> Self:
        body = {"email": self.email, "password": PASSWORD, "name": "Ann Buyer"}
        answer = self.http.post(f"{API}/users", json=body)
        assert answer.status_code == 201, answer.text
        self.user_id = answer.json()["id"]
        return self

    def sign_in(self) -> Self:
        answer = self.http.post(f"{API}/sessions", json={"email": self.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.access_token, self.refresh_token = answer.json()["access_token"], answer.json()["refresh_token"]
        return self

    def send(self, method: str, path: str, *, key: str | None = None, **request: Any) -> httpx.Response:
        headers = {**self.headers, **request.pop("headers", {})}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.http.request(method, f"{API}{path}", headers=headers, **request)

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.send("GET", path, **request)

    def place(self, *lines: tuple[str, int], token: str = "tok_ok", key: str | None = None) -> httpx.Response:
        return self.send("POST", "/orders", key=key or new_key(), json=order_body(*lines, token=token))

    def buy(self, *lines: tuple[str, int], token: str = "tok_ok") -> str:
        """Place an order that must be accepted and return its id."""
        answer = self.place(*lines, token=token)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def settled(self, order_id: str, *, within_s: float = 30.0) -> dict[str, Any]:
        """Return the order once it is confirmed or cancelled."""
        return self.until(order_id, lambda order: order["status"] != "pending", within_s=within_s)

    def until(
        self, order_id: str, arrived: Callable[[dict[str, Any]], bool], *, within_s: float = 30.0
    ) -> dict[str, Any]:
        found = eventually(lambda: self._order(order_id), arrived, within_s=within_s)
        assert isinstance(found, dict)
        return found

    def _order(self, order_id: str) -> dict[str, Any]:
        answer = self.get(f"/orders/{order_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def new_key() -> str:
    return f"key-{next(_numbers)}"


def order_body(*lines: tuple[str, int], token: str = "tok_ok") -> dict[str, Any]:
    wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines]
    return {"lines": wanted, "address": ADDRESS, "payment_token": token}


def new_person(http: httpx.Client, *, name: str = "person") -> Person:
    """Return somebody who has registered and signed in."""
    return Person(http, f"{name}{next(_numbers)}@example.org").register().sign_in()


def make_admin(shop: ShopProcess, person: Person) -> Person:
    """Make a registered person an administrator, by the command line, and sign in again."""
    done = shop.command("admin", "shop", person.email)
    assert done.returncode == 0, done.stderr
    return person.sign_in()


def eventually(look: Callable[[], Any], true: Callable[[Any], bool], *, within_s: float = 30.0) -> Any:
    """Return what `look` finds once `true` is of it."""
    end = time.perf_counter() + within_s
    while True:
        found = look()
        if true(found):
            return found
        assert time.perf_counter() < end, f"it never came true within {within_s} s: {found}"
        time.sleep(0.05)


def at_rest(shop: ShopProcess, *, within_s: float = 30.0) -> None:
    """Wait until every event has been handled and no saga runs."""
    socket = shop.data / "control.sock"
    eventually(lambda: asyncio.run(ask(socket, "status")), _quiet, within_s=within_s)


def _quiet(status: dict[str, Any]) -> bool:
    return not (status["unsent"] or status["unhandled"] or status["sagas_running"])


def skus(http: httpx.Client, count: int = 20) -> list[str]:
    return [item["sku"] for item in http.get(f"{API}/products", params={"limit": count}).json()["items"]]


def problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Assert that the answer is a problem document of this status and kind, and return it."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json", answer.headers
    document = answer.json()
    assert document["status"] == status, document
    assert document["title"], document
    assert document["instance"] == answer.headers["x-request-id"], document
    assert document["type"].startswith("urn:archstone:error:"), document
    assert "Traceback" not in answer.text, document
    if code is not None:
        assert document["type"] == f"urn:archstone:error:{code}", document
    return dict(document)


@contextlib.contextmanager
def served_shop(data: Path, *, cold: bool = False, system: str = "shop", **settings: str) -> Iterator[ShopProcess]:
    """Run the shop of the command line on `data` for the block, or what `system` names."""
    if system == "shop":
        PLACE.furnish(data)
    given = {"RATE_LIMIT_PER_S": "100000", **settings_of(data), **settings}
    shop = ShopProcess(data, settings=given, cold=cold, system=system)
    try:
        asyncio.run(shop.start())
        yield shop
        assert shop.stop() == 0, shop.log_tail()
    finally:
        shop.kill()
