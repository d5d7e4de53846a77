"""A refund that is killed at any of its points, or between its steps, is done once when the shop is back."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from shop_database import faults_in
from shop_http import at_rest, make_admin, new_person, skus
from shop_process import ShopProcess

from archstone import world
from archstone.systems.shop.system import shop as _shop  # noqa: F401 - imports every block that declares points

pytestmark = [pytest.mark.slow, pytest.mark.real_time]

OWN = ("shop.bank_after_part_refund", "shop.refund_after_asked", "shop.refund_after_booked")
SHARED = (
    "messaging.after_send",
    "sagas.after_begin:2",
    "sagas.after_effect",
    "sagas.after_finish",
    "services.after_commit_before_answer",
    "shop.mail_after_link",
)
"""Points that others pass as well; the counts reach into the middle of a refund."""


def test_every_point_of_a_refund_is_killed_at() -> None:
    points = {name for name in world.crash_points() if "refund" in name} - {"shop.bank_after_refund"}
    assert points == set(OWN)
    assert {point.partition(":")[0] for point in SHARED} <= set(world.crash_points())


class Mortal:
    """A shop that dies once and is started again by whoever notices."""

    def __init__(self, shop: ShopProcess) -> None:
        self.shop = shop
        self.died = False

    def insist(self, ask: Callable[[], httpx.Response], wanted: Callable[[httpx.Response], bool]) -> Any:
        """Return the first answer that is wanted."""
        for _ in range(600):
            try:
                answer = ask()
            except httpx.TransportError:
                self.come_back()
                continue
            assert answer.status_code in {200, 202, 409, 503}, answer.text
            if answer.status_code < 300 and wanted(answer):
                return answer.json()
            asyncio.run(asyncio.sleep(0.05))
        raise AssertionError("it never came true")

    def come_back(self) -> None:
        assert not self.died, "it died twice"
        assert self.shop.process is not None
        assert self.shop.process.wait(30) == -9, self.shop.log_tail()
        self.died = True
        asyncio.run(self.shop.start())


@pytest.mark.parametrize("point", [*OWN, *SHARED])
def test_a_killed_refund_is_done_exactly_once(tmp_path: Path, point: str) -> None:
    shop = ShopProcess(tmp_path / "shop", settings={"RATE_LIMIT_PER_S": "100000"})
    try:
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            admin = make_admin(shop, new_person(http))
            order_id = admin.buy((skus(http, 1)[0], 1))
            admin.settled(order_id)
            at_rest(shop)
            assert shop.stop() == 0, shop.log_tail()
            asyncio.run(shop.start(ARCHSTONE_CRASH=point))
            mortal = Mortal(shop)
            asked = {"amount": 500, "reason": "It came late."}
            mortal.insist(
                lambda: admin.send("POST", f"/orders/{order_id}/refunds", key="once", json=asked), lambda _: True
            )
            view = mortal.insist(lambda: admin.get(f"/orders/{order_id}"), is_refunded)
            if not mortal.died:
                mortal.come_back()
            at_rest(shop)
        assert view["refunded"] == {"amount": 500, "currency": "EUR"}
        assert [each["status"] for each in view["refunds"]] == ["done"]
        mails = (shop.data / "mails").glob("*.eml")
        assert sum("money back" in mail.read_text() for mail in mails) == 1
        assert shop.stop() == 0, shop.log_tail()
        assert faults_in(shop.data) == []
    finally:
        shop.kill()


def is_refunded(answer: httpx.Response) -> bool:
    refunds = answer.json()["refunds"]
    return bool(refunds) and all(each["status"] != "pending" for each in refunds)
