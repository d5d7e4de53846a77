"""What administrators do, over HTTP: statuses, problem documents, keys, bounds, and nobody else."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from shop_database import faults_in
from shop_http import API, Person, at_rest, eventually, make_admin, new_key, new_person, problem, served_shop, skus
from shop_process import ShopProcess

pytestmark = pytest.mark.real_time

NOWHERE = "f" * 32
PRICE = {"amount": 4900, "currency": "EUR"}
LAMP = {"name": "Tern lamp", "category": "desk", "price": PRICE, "description": "Bends."}
ROUTES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/orders", None),
    ("GET", f"/orders/{NOWHERE}/dossier", None),
    ("POST", f"/orders/{NOWHERE}/refunds", {"amount": 1, "reason": "Late"}),
    ("GET", "/stock", None),
    ("GET", "/stock/KIT-001/books", None),
    ("POST", "/stock/KIT-001/corrections", {"delta": 1, "reason": "Found one"}),
    ("GET", "/stock/KIT-001/corrections", None),
    ("GET", "/analytics/minutes", None),
    ("GET", f"/users/{NOWHERE}", None),
    ("GET", f"/users/{NOWHERE}/changes", None),
    ("POST", f"/users/{NOWHERE}/deactivation", {"reason": "Left"}),
    ("DELETE", f"/users/{NOWHERE}/deactivation", None),
    ("GET", "/products/KIT-001/edition", None),
    ("GET", "/products/KIT-001/changes", None),
    ("GET", "/retired-products", None),
    ("POST", "/products", {"sku": "LAM-009", **LAMP}),
    ("PUT", "/products/KIT-001", {"version": 1, **LAMP}),
    ("PUT", "/products/KIT-001/retirement", {"version": 1}),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, shop_place: str) -> Iterator[ShopProcess]:
    with served_shop(tmp_path_factory.mktemp("admin") / "shop") as running:
        yield running
    assert faults_in(running.data) == []


@pytest.fixture(scope="module")
def http(shop: ShopProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def admin(shop: ShopProcess, http: httpx.Client) -> Person:
    return make_admin(shop, new_person(http, name="root"))


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{method} {path}" for method, path, _ in ROUTES])
def test_a_customer_is_refused_and_a_stranger_too(
    http: httpx.Client, method: str, path: str, body: dict[str, Any] | None
) -> None:
    ann = new_person(http)
    problem(ann.send(method, path, key=new_key(), json=body), 403, "archstone.forbidden")
    problem(http.request(method, f"{API}{path}", json=body), 401)


@pytest.mark.parametrize(
    ("method", "path", "body"), [row for row in ROUTES if row[2] is not None], ids=lambda value: str(value)[:40]
)
def test_unknown_fields_are_refused(admin: Person, method: str, path: str, body: dict[str, Any]) -> None:
    told = problem(
        admin.send(method, path, key=new_key(), json={**body, "nonsense": 1}), 400, "services.invalid-request"
    )
    assert any("nonsense" in error["where"] + error["what"] for error in told["errors"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/orders?status=odd", None),
        ("GET", "/orders?sku=x", None),
        ("GET", "/orders?since=yesterday", None),
        ("GET", "/orders?until=0.5", None),
        ("GET", "/orders?since=2026-03-01", None),
        ("GET", "/orders?since=2026-02-30T12:00:00Z", None),
        ("GET", "/orders?at_least=-1", None),
        ("GET", "/orders?at_most=1.5", None),
        ("GET", "/orders?limit=101", None),
        ("GET", "/orders?limit=0", None),
        ("GET", f"/orders?search={'a' * 101}", None),
        ("GET", "/orders?nonsense=1", None),
        ("GET", "/orders?cursor=nonsense", None),
        ("GET", "/stock?low=-1", None),
        ("GET", "/stock?cursor=nonsense", None),
        ("GET", "/analytics/minutes?limit=1441", None),
        ("GET", "/analytics/minutes?since=x", None),
        ("GET", "/users?role=king", None),
        ("GET", "/users/me/orders?limit=101", None),
        ("GET", "/users/me/orders?cursor=nonsense", None),
        ("POST", f"/orders/{NOWHERE}/refunds", {"amount": 0, "reason": "x"}),
        ("POST", f"/orders/{NOWHERE}/refunds", {"amount": 1, "reason": ""}),
        ("POST", f"/orders/{NOWHERE}/refunds", {"amount": 1, "reason": "x" * 301}),
        ("POST", f"/orders/{NOWHERE}/refunds", {"amount": 1, "reason": "two\nlines"}),
        ("POST", f"/orders/{NOWHERE}/refunds", {"amount": 1}),
        ("POST", "/stock/KIT-001/corrections", {"delta": 1_000_001, "reason": "x"}),
        ("POST", "/stock/KIT-001/corrections", {"counted": -1, "reason": "x"}),
        ("POST", "/stock/kit/corrections", {"delta": 1, "reason": "x"}),
        ("POST", "/products", {"sku": "LAM-009", **LAMP, "price": {"amount": 0}}),
        ("POST", "/products", {"sku": "LAM-009", **LAMP, "name": "x" * 101}),
        ("POST", "/products", {"sku": "LAM-009", **LAMP, "description": "x" * 5001}),
        ("PUT", "/products/KIT-001", {"version": 0, **LAMP}),
    ],
)
def test_what_is_out_of_bounds_is_refused(admin: Person, method: str, path: str, body: dict[str, Any] | None) -> None:
    problem(admin.send(method, path, key=new_key(), json=body), 400)


def test_a_refund_needs_a_key_is_accepted_and_ends(shop: ShopProcess, http: httpx.Client, admin: Person) -> None:
    ann = new_person(http)
    order_id = ann.buy((skus(http, 1)[0], 1))
    total = ann.settled(order_id)["total"]["amount"]
    body = {"amount": 500, "reason": "It was scratched."}
    problem(admin.send("POST", f"/orders/{order_id}/refunds", json=body), 400)
    key = new_key()
    accepted = admin.send("POST", f"/orders/{order_id}/refunds", key=key, json=body)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "pending")
    assert admin.send("POST", f"/orders/{order_id}/refunds", key=key, json=body).json() == accepted.json()
    problem(admin.send("POST", f"/orders/{order_id}/refunds", key=key, json={**body, "amount": 501}), 422)
    view = ann.until(order_id, lambda order: order["refunds"][0]["status"] == "done")
    assert view["refunded"] == {"amount": 500, "currency": "EUR"}
    told = problem(
        admin.send("POST", f"/orders/{order_id}/refunds", key=new_key(), json={**body, "amount": total}), 409,
        "orders.refund-too-much",
    )  # fmt: skip
    assert (told["args"]["amount"], told["args"]["left"]) == (total, total - 500)
    problem(admin.send("POST", f"/orders/{NOWHERE}/refunds", key=new_key(), json=body), 404, "orders.unknown")
    at_rest(shop)
    dossier = admin.get(f"/orders/{order_id}/dossier").json()
    assert (dossier["missing"], dossier["refundable"]["amount"]) == ([], total - 500)
    assert dossier["payment"]["authorisation"]["state"] == "captured"
    assert [mail["about"] for mail in dossier["mails"]] == ["confirmed", "refunded"]
    listed = eventually(
        lambda: admin.get(f"/orders?search={order_id[-8:]}").json()["items"], lambda items: len(items) == 1
    )
    assert (listed[0]["id"], listed[0]["refunded"]["amount"]) == (order_id, 500)
    assert [each["id"] for each in admin.get(f"/orders?customer={ann.email}").json()["items"]] == [order_id]
    assert [each["id"] for each in ann.get("/users/me/orders").json()["items"]] == [order_id]


def test_an_edit_of_an_old_version_is_told_the_current_one(admin: Person) -> None:
    made = admin.send("POST", "/products", key=new_key(), json={"sku": "LAM-001", **LAMP, "pieces": 3})
    assert made.status_code == 201, made.text
    version = made.json()["version"]
    key = new_key()
    change = {**LAMP, "version": version, "name": "Tern desk lamp"}
    changed = admin.send("PUT", "/products/LAM-001", key=key, json=change)
    assert changed.status_code == 200
    assert admin.send("PUT", "/products/LAM-001", key=key, json=change).json() == changed.json()
    told = problem(admin.send("PUT", "/products/LAM-001", json=change), 409, "catalog.moved-on")
    assert told["args"]["current"] == changed.json()
    gone = admin.send("PUT", "/products/LAM-001/retirement", json={"version": changed.json()["version"]})
    assert gone.json()["retired"] is True
    problem(admin.get("/products/LAM-001"), 404, "catalog.unknown-product")
    assert [each["what"] for each in admin.get("/products/LAM-001/changes").json()["items"]] == [
        "retired", "updated", "created",
    ]  # fmt: skip
    stock = eventually(lambda: admin.get("/stock/LAM-001/books"), lambda answer: answer.status_code == 200)
    assert stock.json()["free"] == 3


def test_stock_is_corrected_and_the_books_tell(admin: Person) -> None:
    sent = admin.send("POST", "/stock/KIT-009/corrections", key=new_key(), json={"delta": -2, "reason": "Broken"})
    assert (sent.status_code, sent.json()["stock"]["corrected"]) == (201, -2)
    refused = admin.send("POST", "/stock/KIT-009/corrections", key=new_key(), json={"delta": -5000, "reason": "x"})
    assert problem(refused, 409, "inventory.below-held")["args"]["held"] == 0
    unclear = admin.send("POST", "/stock/KIT-009/corrections", key=new_key(), json={"reason": "x"})
    problem(unclear, 422, "inventory.correction-unclear")
    assert admin.get("/stock/KIT-009/books").json() == sent.json()["stock"]
    assert admin.get("/stock/KIT-009/corrections").json()["items"] == [sent.json()["correction"]]


def test_an_account_is_closed_and_the_last_administrator_stays(http: httpx.Client, admin: Person) -> None:
    ann = new_person(http)
    closed = admin.send("POST", f"/users/{ann.user_id}/deactivation", json={"reason": "Asked for it"})
    assert (closed.status_code, closed.json()["active"]) == (200, False)
    problem(http.post(f"{API}/sessions/refresh", json={"refresh_token": ann.refresh_token}), 401)
    credentials = {"email": ann.email, "password": "correct horse battery staple"}
    problem(http.post(f"{API}/sessions", json=credentials), 403, "users.deactivated")
    assert admin.send("DELETE", f"/users/{ann.user_id}/deactivation").json()["active"] is True
    ann.sign_in()
    problem(admin.send("POST", f"/users/{admin.user_id}/deactivation", json={"reason": "x"}), 409, "users.last-admin")
    withdrawn = admin.send("POST", "/roles/withdrawals", json={"email": admin.email, "role": "admin"})
    problem(withdrawn, 409, "users.last-admin")
    changes = admin.get(f"/users/{ann.user_id}/changes").json()["items"]
    assert [(each["what"], each["by"]) for each in changes] == [
        ("reactivated", admin.user_id), ("deactivated", admin.user_id),
    ]  # fmt: skip


def test_figures_by_minute_tell_what_was_sold(http: httpx.Client, admin: Person) -> None:
    ann = new_person(http)
    ann.settled(ann.buy((skus(http, 1)[0], 1)))
    told = eventually(
        lambda: admin.get("/analytics/minutes?limit=5").json()["items"],
        lambda items: sum(each["confirmed"] for each in items) >= 1,
    )
    assert sum(each["placed"] for each in told) >= 1
