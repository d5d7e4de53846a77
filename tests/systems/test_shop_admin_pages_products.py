"""The administration's pages about products: new ones, editing them, taking them off the shelf."""

import pytest
from pages_browser import ROOT, Answer, Browser

from archstone.runtime import Embedded
from archstone.systems.shop.catalog.administration import CatalogAdmin, ProductEdition
from archstone.systems.shop.values import Money
from archstone.systems.shop.web.pages.admin.amounts import minor_units, typed

PAGE = "/admin/products/KIT-001"
NEW = {
    "sku": "NEW-001", "name": "A <new> kettle", "category": "kitchen", "price": "12,50", "currency": "EUR",
    "description": "Holds a litre.\r\nWhistles.", "pieces": "4",
}  # fmt: skip


async def edition(run: Embedded, sku: str = "KIT-001") -> ProductEdition:
    """Return a product as it is."""
    return await run.client(CatalogAdmin, as_=ROOT).edition(sku)


async def saved(root: Browser, page: Answer, **changes: str) -> Answer:
    """Send the form of a product with some fields changed."""
    return await root.post(PAGE, {**page.form(PAGE).fields, "description": "As it was.", **changes})


async def test_a_new_product_is_put_on_the_shelf_once(run: Embedded, root: Browser) -> None:
    form = (await root.get("/admin/products/new")).form("/admin/products")
    answer = await root.post("/admin/products", {**form.fields, **NEW})
    again = await root.post("/admin/products", {**form.fields, **NEW})
    assert again.to == answer.to == "/admin/products/NEW-001?told=created"
    product = (await edition(run, "NEW-001")).product
    assert (product.name, product.price) == ("A <new> kettle", Money(amount=1250))
    assert product.description == "Holds a litre.\nWhistles."
    shown = await root.follow(answer)
    assert "A &lt;new&gt; kettle" in shown.html
    assert "Created" in shown.text
    assert "<title>A &lt;new&gt; kettle, NEW-001 | Archstone Shop</title>" in shown.html
    assert "Shelf Kitchen Price" in shown.text
    assert "NEW-001" in (await root.get("/admin/products?q=whistles")).text


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"sku": "kit"}, 422, "capital letters"),
        ({"sku": "KIT-001"}, 409, "with this number already"),
        ({"name": ""}, 422, "Please enter a name"),
        ({"category": ""}, 422, "Please choose a shelf"),
        ({"category": "nowhere"}, 409, "no such shelf"),
        ({"price": "0"}, 422, "a price such as 12.50"),
        ({"price": "1.234"}, 422, "a price such as 12.50"),
        ({"currency": "euro"}, 422, "three capital letters"),
        ({"pieces": "-1"}, 422, "from 0 to"),
        ({"key": ""}, 422, "send the form once more"),
    ],
)
async def test_a_product_that_cannot_be_is_explained_and_shown_again(
    root: Browser, changes: dict[str, str], status: int, words: str
) -> None:
    form = (await root.get("/admin/products/new")).form("/admin/products")
    answer = await root.post("/admin/products", {**form.fields, **NEW, **changes})
    assert answer.status == status
    assert words in answer.text
    assert answer.form("/admin/products").fields["pieces"] == changes.get("pieces", "4")
    assert "Holds a litre." in answer.text
    assert (await root.get("/admin/products/NEW-001")).status == 404


async def test_a_product_is_edited_and_who_did_it_is_kept(run: Embedded, root: Browser) -> None:
    page = await root.get(PAGE)
    assert (await saved(root, page, name="A better pan", price="20")).to == f"{PAGE}?told=changed"
    product = (await edition(run)).product
    assert (product.name, product.price, product.description) == ("A better pan", Money(amount=2000), "As it was.")
    shown = await root.get(PAGE)
    assert "A better pan" in shown.text
    assert "Updated" in shown.text
    assert shown.inline == []


async def test_nobody_overwrites_what_somebody_else_has_changed(run: Embedded, root: Browser) -> None:
    mine, theirs = await root.get(PAGE), await root.get(PAGE)
    await saved(root, theirs, name="Theirs")
    refused = await saved(root, mine, name="Mine")
    assert refused.status == 409
    assert "Somebody has changed this product meanwhile" in refused.text
    assert "Theirs" in refused.text
    assert refused.form(PAGE).fields["name"] == "Mine"
    assert (await edition(run)).product.name == "Theirs"
    assert (await saved(root, refused)).to == f"{PAGE}?told=changed"
    assert (await edition(run)).product.name == "Mine"
    late = await root.post(f"{PAGE}/retire", {"version": theirs.form(PAGE).fields["version"], "sure": "yes"})
    assert late.status == 409
    assert not (await edition(run)).retired


async def test_a_product_is_taken_off_the_shelf_after_a_question_and_put_back(run: Embedded, root: Browser) -> None:
    page = await root.get(PAGE)
    asked = await root.submit(page, f"{PAGE}/retire")
    assert "Take KIT-001 off the shelf?" in asked.text
    assert not (await edition(run)).retired
    gone = await root.follow(await root.submit(asked, f"{PAGE}/retire"))
    assert (await root.get("/p/KIT-001")).status == 404
    assert "KIT-001" in (await root.get("/admin/products?shelf=retired")).text
    assert (await root.submit(gone, f"{PAGE}/restore")).to == f"{PAGE}?told=restored"
    assert (await root.get("/p/KIT-001")).status == 200
    assert "No product is retired" in (await root.get("/admin/products?shelf=retired")).text
    assert (await root.post(f"{PAGE}/restore", {"version": "x"})).to == f"{PAGE}?told=broken"


async def test_the_list_goes_on_and_finds(root: Browser) -> None:
    page = await root.get("/admin/products")
    assert 'rel="next"' in page.html
    assert (await root.get("/admin/products?cursor=x")).to == "/admin/products?"
    assert "Nothing is found" in (await root.get("/admin/products?q=xyzzyqq")).text
    assert (await root.get("/admin/products/NONE-1")).status == 404


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("12.50", "EUR", 1250), ("12,5", "EUR", 1250), ("12", "EUR", 1200), ("12.505", "EUR", None), ("12", "JPY", 12),
        ("12.5", "JPY", None), ("1.234", "KWD", 1234), ("0", "EUR", None), ("-1", "EUR", None), ("", "EUR", None),
        ("1e3", "EUR", None), ("9999999999.99", "EUR", 999_999_999_999), ("9999999999", "KWD", None),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_it_is_typed(text: str, currency: str, amount: int | None) -> None:
    assert minor_units(text, currency) == amount
    if amount is not None:
        assert minor_units(typed(Money(amount=amount, currency=currency)), currency) == amount
