"""The administration's pages that steer the run: sagas that are stuck, dead letters, and what an order's page tells."""

import asyncio
from typing import Any

import pytest
from pages_browser import ROOT, Answer, Browser, filled

from archstone.runtime import Embedded
from archstone.systems.shop.analytics import service as analytics
from archstone.systems.shop.orders import service as orders
from archstone.systems.shop.orders.contract import Orders


async def placed(root: Browser) -> str:
    """Place an order and return its id."""
    await filled(root, ("KIT-001", 1))
    page = await root.get("/checkout")
    answer = await root.submit(
        page, "/checkout", street="Mill Lane 1", city="Tarn", postcode="12345", country="DE", card="tok_ok"
    )
    return answer.to.removeprefix("/orders/")


async def until(root: Browser, path: str, words: str, *, gone: bool = False) -> Answer:
    """Return the page once it says so, or once it does not any more."""
    page = await root.get(path)
    for _ in range(600):
        if (words in page.text) != gone:
            return page
        await asyncio.sleep(0.5)
        page = await root.get(path)
    raise AssertionError(f"{path} never changes about {words!r}: {page.text}")


def broken(*_: Any, **__: Any) -> Any:
    """Fail as code with a bug does."""
    raise RuntimeError("a <bug>")


async def test_a_stuck_saga_is_found_and_run_again_once_the_bug_is_gone(
    run: Embedded, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No saga is stuck" in (await root.get("/admin/sagas?status=stuck")).text
    with monkeypatch.context() as bug:
        bug.delattr(orders, "PAYMENT_TIMEOUT_S")
        order_id = await placed(root)
        listed = await until(root, "/admin/sagas?status=stuck", "orders.checkout")
    assert f"/admin/sagas/one?id={order_id}" in listed.html
    page = await root.get(f"/admin/sagas/one?id={order_id}")
    for words in ("Stuck", "hold_goods", "Done", "KIT-001"):
        assert words in page.text, words
    assert page.inline == []
    assert (await root.submit(page, "/admin/sagas/resume")).to == "/admin/sagas?told=resumed"
    assert (await run.client(Orders, as_=ROOT).order(order_id, 20)).status == "confirmed"
    late = await root.post("/admin/sagas/resume", {"id": order_id})
    assert late.status == 409
    assert "Done" in late.text


async def test_a_stuck_saga_is_undone_after_a_question(
    run: Embedded, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as bug:
        bug.delattr(orders, "PAYMENT_TIMEOUT_S")
        order_id = await placed(root)
        await until(root, "/admin/sagas?status=stuck", "orders.checkout")
    page = await root.get(f"/admin/sagas/one?id={order_id}")
    asked = await root.submit(page, "/admin/sagas/cancel")
    assert "Undo orders.checkout?" in asked.text
    assert "Stuck" in (await root.get(f"/admin/sagas/one?id={order_id}")).text
    assert (await root.submit(asked, "/admin/sagas/cancel")).to == "/admin/sagas?told=undone"
    await until(root, f"/admin/sagas/one?id={order_id}", "Failed")
    assert (await root.post("/admin/sagas/cancel", {"id": order_id, "sure": "yes"})).status == 409


@pytest.mark.parametrize("saga_id", ["", "unknown", "%00", "x" * 400])
async def test_a_saga_that_is_unknown_is_no_page(root: Browser, saga_id: str) -> None:
    assert (await root.get(f"/admin/sagas/one?id={saga_id}")).status == 404
    assert (await root.post("/admin/sagas/resume", {"id": saga_id, "sure": "yes"})).status == 404


async def test_dead_letters_are_read_delivered_again_and_dropped(
    run: Embedded, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "There are none" in (await root.get("/admin/letters")).text
    with monkeypatch.context() as bug:
        bug.setattr(analytics, "_minute", broken)
        order_id = await placed(root)
        page = await until(root, "/admin/letters", "orders.order-placed")
        assert order_id in page.text
        assert "a &lt;bug&gt;" in page.html or "RuntimeError" in page.html
        assert page.inline == []
        order = await until(root, f"/admin/orders/{order_id}", "dead at analytics")
        assert "hold_goods done" in order.text
    assert "analytics" in (await root.get("/admin/letters?group=analytics")).text
    assert "There are none" in (await root.get("/admin/letters?group=nobody")).text
    assert (await root.submit(page, "/admin/letters/replay")).to == "/admin/letters?told=replayed"
    await until(root, f"/admin/orders/{order_id}", "dead at analytics", gone=True)
    again = await root.submit(page, "/admin/letters/replay")
    assert again.to == "/admin/letters?told=no-letter"


async def test_a_letter_is_dropped_and_a_group_replayed_after_a_question(
    root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as bug:
        bug.setattr(analytics, "_minute", broken)
        await placed(root)
        page = await until(root, "/admin/letters", "orders.order-placed")
        await until(root, "/admin/letters", "orders.order-confirmed", gone=True)
        asked = await root.submit(page, "/admin/letters/drop")
        assert "for good?" in asked.text
        assert (await root.submit(asked, "/admin/letters/drop")).to == "/admin/letters?told=dropped"
        page = await until(root, "/admin/letters", "orders.order-confirmed")
    asked = await root.submit(page, "/admin/letters/replay-group")
    assert "Deliver all dead letters of analytics again?" in asked.text
    assert (await root.submit(asked, "/admin/letters/replay-group")).to == "/admin/letters?told=replayed"
    await until(root, "/admin/letters", "There are none")
    for act in ("replay", "replay-group", "drop"):
        assert (await root.post(f"/admin/letters/{act}", {"sure": "yes"})).to == "/admin/letters?told=broken"


async def test_figures_tell_what_waits_for_a_person(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as bug:
        bug.setattr(analytics, "_minute", broken)
        await placed(root)
        await until(root, "/admin/letters", "orders.order-placed")
    await asyncio.sleep(10)
    page = await root.get("/admin")
    assert 'class="tile bad" data-tile="dead"' in page.html
    for name in ("requests", "times", "errors", "queue", "lag"):
        assert f'data-plot="{name}"' in page.html
