"""The administration's pages about stock: what is low, goods that arrived, corrections."""

import pytest
from pages_browser import ROOT, Browser

from archstone.runtime import Embedded
from archstone.systems.shop.inventory.administration import StockAdmin
from archstone.systems.shop.inventory.contract import Inventory

PAGE = "/admin/stock/KIT-001"


async def free(run: Embedded) -> int:
    """Return how many pieces are free."""
    return (await run.client(Inventory).stock("KIT-001")).free


async def test_the_list_shows_what_is_low_and_finds_a_product_by_its_number(run: Embedded, root: Browser) -> None:
    await run.client(StockAdmin, as_=ROOT).correct("KIT-001", "a fire", counted=0)
    everything = await root.get("/admin/stock")
    assert everything.html.count('data-label="Free"') == 50
    assert "AUD-001 Norden shelf speaker 200" in everything.text
    low = await root.get("/admin/stock?low=0")
    assert "KIT-001" in low.text
    assert low.html.count('data-label="Free"') == 1
    assert (await root.get("/admin/stock?sku=kit-001")).to == PAGE
    assert "No product is called so" in (await root.get("/admin/stock?sku=no+such")).text
    called = await root.get("/admin/stock?sku=kettle")
    assert "KIT-002 Harrow copper kettle" in called.text
    assert "Norden shelf speaker" not in called.text
    assert "so few pieces free" in (await root.get("/admin/stock?sku=mortar&low=3")).text
    assert (await root.get("/admin/stock?cursor=nonsense")).to == "/admin/stock"
    assert (await root.get("/admin/stock/NONE-1")).status == 404


async def test_goods_arrive_once_however_often_the_form_is_sent(run: Embedded, root: Browser) -> None:
    before = await free(run)
    page = await root.get(PAGE)
    for _ in range(2):
        answer = await root.submit(page, f"{PAGE}/arrivals", quantity="7")
        assert answer.to == f"{PAGE}?told=arrived"
    assert await free(run) == before + 7
    other = await root.submit(page, f"{PAGE}/arrivals", quantity="8")
    assert other.status == 409
    assert "has been used already" in other.text


async def test_a_correction_downwards_is_asked_about_and_kept_with_who_and_why(run: Embedded, root: Browser) -> None:
    before = await free(run)
    page = await root.get(PAGE)
    typed = {"how": "difference", "number": "-2", "reason": "two are <broken>"}
    asked = await root.submit(page, f"{PAGE}/corrections", **typed)
    assert "Take 2 pieces of KIT-001 out of the books?" in asked.text
    assert await free(run) == before
    done = await root.submit(asked, f"{PAGE}/corrections")
    assert (await root.submit(asked, f"{PAGE}/corrections")).to == done.to
    shown = await root.follow(done)
    assert await free(run) == before - 2
    (kept,) = (await run.client(StockAdmin, as_=ROOT).corrections("KIT-001")).items
    assert (kept.delta, kept.reason) == (-2, "two are <broken>")
    assert "-2" in shown.text
    assert "two are &lt;broken&gt;" in shown.html
    assert kept.by in shown.html


async def test_a_correction_upwards_is_made_at_once(run: Embedded, root: Browser) -> None:
    before = await free(run)
    page = await root.get(PAGE)
    typed = {"how": "counted", "number": str(before + 3), "reason": "found three"}
    assert (await root.submit(page, f"{PAGE}/corrections", **typed)).to == f"{PAGE}?told=corrected"
    assert await free(run) == before + 3


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        ({"number": "many"}, 422, "whole number"),
        ({"reason": ""}, 422, "Please say why"),
        ({"how": "guess"}, 422, "Please choose"),
        ({"key": "x"}, 422, "send the form once more"),
        ({"how": "difference", "number": "0"}, 422, "a difference that is not 0"),
        ({"how": "difference", "number": "-1000000", "sure": "yes"}, 409, "at most the"),
        ({"how": "counted", "number": "-1", "sure": "yes"}, 422, "at least 0"),
    ],
)
async def test_a_correction_that_cannot_be_is_explained_and_shown_again(
    run: Embedded, root: Browser, typed: dict[str, str], status: int, words: str
) -> None:
    before = await free(run)
    page = await root.get(PAGE)
    fields = {**page.form(f"{PAGE}/corrections").fields, "number": "5", "reason": "a <count>", **typed}
    answer = await root.post(f"{PAGE}/corrections", fields)
    assert answer.status == status
    assert words in answer.text
    assert answer.form(f"{PAGE}/corrections").fields["reason"] == fields["reason"]
    assert await free(run) == before
