"""The administration's pages, in memory: who may see them, figures."""

import asyncio
import json
from typing import Any

from pages_browser import ROOT, Browser, an_admin, filled, registered

from archstone.runtime import Embedded
from archstone.systems.shop.users.contract import UserAdmin
from archstone.systems.shop.web.pages.admin import PAGES

PLAIN = tuple(path for method, path, _ in PAGES if method == "GET" and "{" not in path)


async def figures_of(browser: Browser) -> Any:
    """Return what the script of the figures is told."""
    return json.loads((await browser.get("/admin/figures.json")).html)


async def test_guests_are_asked_to_sign_in_and_customers_see_and_do_nothing(run: Embedded) -> None:
    guest, customer = Browser(run.asgi), await registered(Browser(run.asgi), "ann@example.com")
    assert 'href="/admin"' not in (await customer.get("/")).html
    for method, path, _ in PAGES:
        known = (
            path.format(sku="KIT-001", order="0" * 32, user="0" * 32, refund="0" * 32, app="0" * 32)
            if "{" in path
            else path
        )
        if method == "GET":
            assert (await guest.get(known)).to == f"/login?next={known}"
            refused = await customer.get(known)
        else:
            assert (await guest.post(known, {})).to.startswith("/login?next=/admin")
            refused = await customer.post(known, {"sure": "yes"})
        assert refused.status == 403
        assert "may not see this" in refused.text


async def test_every_page_is_whole_and_holds_no_script_and_no_style_of_its_own(run: Embedded) -> None:
    root = await an_admin(run)
    assert 'href="/admin"' in (await root.get("/")).html
    for path in PLAIN:
        if path == "/admin/sagas/one":
            continue
        page = await root.get(path)
        assert page.status == 200, path
        assert page.headers["cache-control"] == "private, no-store"
        if path.endswith(".json"):
            continue
        assert page.inline == [], path
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "/assets/admin.css?v=" in page.html
        section = path.removesuffix("/new")
        assert f'<a href="{section}" aria-current="page">' in page.html, path


async def test_an_act_from_another_site_does_nothing(run: Embedded) -> None:
    root = await an_admin(run)
    await registered(Browser(run.asgi), "ann@example.com")
    users = run.client(UserAdmin, as_=ROOT)
    (ann,) = (await users.users("ann@")).items
    root.headers = {"sec-fetch-site": "cross-site"}
    assert (await root.post(f"/admin/users/{ann.id}/grant", {"sure": "yes"})).status == 403
    assert (await users.user(ann.id)).roles == ("customer",)


async def test_figures_show_what_was_bought_and_renew_themselves_from_the_same_numbers(run: Embedded) -> None:
    root = await an_admin(run)
    before = await figures_of(root)
    assert before["tiles"]["placed"]["text"] == "0"
    await filled(root, ("KIT-001", 2))
    page = await root.get("/checkout")
    order = await root.submit(
        page, "/checkout", street="Mill Lane 1", city="Tarn", postcode="12345", country="DE", card="tok_ok"
    )
    await root.follow(order)
    figures = before
    for _ in range(100):
        await asyncio.sleep(0.1)
        figures = await figures_of(root)
        if figures["tiles"]["conversion"]["text"] == "100%":
            break
    named: list[Any] = figures["plots"]
    plots: dict[str, Any] = {plot["name"]: plot for plot in named}
    assert [sum(values) for values in plots["orders"]["data"][1:]] == [1, 1, 0]
    assert len(plots["orders"]["data"][0]) == 60
    assert sum(plots["revenue"]["data"][1]) > 0
    assert [value for value in plots["conversion"]["data"][1] if value is not None] == [1.0]
    html = await root.get("/admin")
    for plot in plots.values():
        assert f'data-plot="{plot["name"]}"' in html.html
    for name in ("orders", "revenue", "conversion"):
        assert all(cell in html.text for cell in plots[name]["rows"][0])


async def test_alerts_stand_over_the_figures_with_what_to_do(run: Embedded) -> None:
    root = await an_admin(run)
    assert (await figures_of(root))["alerts"] == []
    run.alerts.watch("oven of bakery", lambda: "it is <cold>", for_s=0.0, todo="Light it.")
    run.alerts.look()
    [alert] = (await figures_of(root))["alerts"]
    assert (alert["name"], alert["why"], alert["todo"]) == ("oven of bakery", "it is <cold>", "Light it.")
    html = (await root.get("/admin")).html
    assert "it is &lt;cold&gt;" in html
    assert f"since {alert['since']}" in html
