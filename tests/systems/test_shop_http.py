"""The shop as a stranger meets it: started by the command line, every public endpoint over HTTP."""

from collections.abc import Iterator
from email import message_from_bytes, policy

import httpx
import pytest
from shop_database import faults_in
from shop_http import (
    API,
    Person,
    at_rest,
    eventually,
    make_admin,
    new_key,
    new_person,
    order_body,
    problem,
    served_shop,
    skus,
)
from shop_process import PASSWORD, ShopProcess

UNKNOWN_ORDER = "0" * 32


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, shop_place: str) -> Iterator[ShopProcess]:
    with served_shop(tmp_path_factory.mktemp("http") / "shop") as shop:
        yield shop
        at_rest(shop)
    assert faults_in(shop.data) == []


@pytest.fixture(scope="module")
def http(shop: ShopProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
def ann(http: httpx.Client) -> Person:
    return new_person(http, name="ann")


@pytest.fixture(scope="module")
def admin(shop: ShopProcess, http: httpx.Client) -> Person:
    return make_admin(shop, new_person(http, name="admin"))


@pytest.fixture(scope="module")
def products(http: httpx.Client) -> list[str]:
    return skus(http)


class TestUsers:
    def test_who_registers_is_a_customer(self, http: httpx.Client) -> None:
        body = {"email": "Carl@Example.org", "password": PASSWORD, "name": "Carl"}
        answer = http.post(f"{API}/users", json=body)
        assert answer.status_code == 201
        user = answer.json()
        assert (user["email"], user["name"], user["roles"]) == ("carl@example.org", "Carl", ["customer"])
        assert set(user) == {"id", "email", "name", "roles", "created_at", "active", "deleted"}, "a secret leaks"

    def test_an_address_registers_once_in_whatever_case(self, http: httpx.Client, ann: Person) -> None:
        body = {"email": ann.email.upper(), "password": PASSWORD, "name": "Ann again"}
        problem(http.post(f"{API}/users", json=body), 409, "users.email-taken")

    def test_a_password_that_everybody_has_is_refused(self, http: httpx.Client) -> None:
        body = {"email": "weak@example.org", "password": "password123", "name": "Weak"}
        problem(http.post(f"{API}/users", json=body), 409, "users.weak-password")

    def test_signing_in_gives_a_session_of_fifteen_minutes(self, http: httpx.Client, ann: Person) -> None:
        answer = http.post(f"{API}/sessions", json={"email": ann.email, "password": PASSWORD})
        assert answer.status_code == 200
        session = answer.json()
        assert session["expires_in"] == 900
        assert session["token_type"] == "Bearer"
        assert answer.headers["cache-control"] == "no-store"

    def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(self, http: httpx.Client, ann: Person) -> None:
        wrong = http.post(f"{API}/sessions", json={"email": ann.email, "password": "something else"})
        unknown = http.post(f"{API}/sessions", json={"email": "nobody@example.org", "password": PASSWORD})
        mine, theirs = problem(wrong, 401, "users.sign-in"), problem(unknown, 401, "users.sign-in")
        assert {**mine, "instance": ""} == {**theirs, "instance": ""}

    def test_a_refresh_token_is_good_for_one_use_and_its_reuse_ends_the_session(self, http: httpx.Client) -> None:
        person = new_person(http, name="rotating")
        first = person.refresh_token
        second = http.post(f"{API}/sessions/refresh", json={"refresh_token": first})
        assert second.status_code == 200
        assert second.json()["refresh_token"] != first
        third = http.post(f"{API}/sessions/refresh", json={"refresh_token": second.json()["refresh_token"]})
        assert third.status_code == 200
        # Whoever uses the first one now has stolen it, or the other one has: nobody keeps the session.
        problem(http.post(f"{API}/sessions/refresh", json={"refresh_token": first}), 401, "users.session-ended")
        problem(
            http.post(f"{API}/sessions/refresh", json={"refresh_token": third.json()["refresh_token"]}),
            401,
            "users.session-ended",
        )

    def test_signing_out_ends_the_session_and_may_be_repeated(self, http: httpx.Client) -> None:
        person = new_person(http, name="leaving")
        for _ in range(2):
            answer = http.post(f"{API}/sessions/logout", json={"refresh_token": person.refresh_token})
            assert (answer.status_code, answer.content) == (204, b"")
        again = http.post(f"{API}/sessions/refresh", json={"refresh_token": person.refresh_token})
        problem(again, 401, "users.session-ended")

    def test_a_profile_is_read_and_renamed(self, http: httpx.Client) -> None:
        person = new_person(http, name="renamed")
        assert person.get("/users/me").json()["name"] == "Ann Buyer"
        renamed = person.send("PATCH", "/users/me", json={"name": "Ann Better"})
        assert (renamed.status_code, renamed.json()["name"]) == (200, "Ann Better")
        assert person.get("/users/me").json() == renamed.json()

    def test_preferences_are_read_and_set(self, http: httpx.Client) -> None:
        person = new_person(http, name="preferring")
        assert person.get("/users/me/preferences").json() == {"language": "en", "theme": "auto"}
        chosen = person.send("PUT", "/users/me/preferences", json={"language": "de", "theme": "dark"})
        assert chosen.json() == {"language": "de", "theme": "dark"}
        assert person.get("/users/me/preferences").json() == {"language": "de", "theme": "dark"}

    @pytest.mark.parametrize("path", ["/users/me", "/users/me/preferences", "/users", "/analytics/summary"])
    def test_who_is_not_signed_in_is_told_so(self, http: httpx.Client, path: str) -> None:
        answer = http.get(f"{API}{path}")
        problem(answer, 401, "archstone.not-signed-in")
        assert answer.headers["www-authenticate"] == "Bearer"


class TestAdministrators:
    def test_an_administrator_sees_the_summary_and_a_customer_does_not(self, ann: Person, admin: Person) -> None:
        problem(ann.get("/analytics/summary"), 403, "archstone.forbidden")
        answer = admin.get("/analytics/summary")
        assert answer.status_code == 200
        assert answer.json()["currency"] == "EUR"

    def test_the_summary_counts_what_happened(self, ann: Person, admin: Person, products: list[str]) -> None:
        before = admin.get("/analytics/summary").json()
        order = ann.settled(ann.buy((products[11], 2)))
        ann.settled(ann.buy((products[11], 1), token="tok_declined"))
        after = eventually(
            lambda: admin.get("/analytics/summary").json(),
            lambda found: found["confirmed"] > before["confirmed"] and found["cancelled"] > before["cancelled"],
        )
        assert after["placed"] == before["placed"] + 2
        assert after["revenue"] == before["revenue"] + order["total"]["amount"]
        assert products[11] in {product["sku"] for product in after["top_products"]}
        assert after["minutes"]

    def test_users_are_listed_page_by_page(self, admin: Person) -> None:
        first = admin.get("/users", params={"limit": 1}).json()
        second = admin.get("/users", params={"limit": 1, "cursor": first["next_cursor"]}).json()
        assert len(first["items"]) == len(second["items"]) == 1
        assert first["items"][0]["id"] != second["items"][0]["id"]

    def test_a_role_is_given_and_withdrawn_and_withdrawing_ends_all_sessions(
        self, http: httpx.Client, admin: Person
    ) -> None:
        person = new_person(http, name="promoted")
        given = admin.send("POST", "/roles", json={"email": person.email, "role": "admin"})
        assert given.json()["roles"] == ["admin", "customer"]
        problem(person.get("/analytics/summary"), 403)  # the token is older than the role
        person.sign_in()
        assert person.get("/analytics/summary").status_code == 200
        taken = admin.send("POST", "/roles/withdrawals", json={"email": person.email, "role": "admin"})
        assert taken.json()["roles"] == ["customer"]
        ended = http.post(f"{API}/sessions/refresh", json={"refresh_token": person.refresh_token})
        problem(ended, 401, "users.session-ended")
        assert person.sign_in().get("/analytics/summary").status_code == 403

    def test_roles_of_nobody_cannot_be_changed(self, admin: Person) -> None:
        body = {"email": "nobody@example.org", "role": "admin"}
        problem(admin.send("POST", "/roles", json=body), 404, "users.unknown")
        problem(admin.send("POST", "/roles/withdrawals", json=body), 404, "users.unknown")

    def test_no_role_is_withdrawn_by_an_address_in_a_path(self, admin: Person) -> None:
        problem(admin.send("DELETE", "/roles/admin/nobody@example.org"), 404, "http.no-such-route")

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/users", None),
            ("POST", "/roles", {"email": "a@example.org", "role": "admin"}),
            ("POST", "/roles/withdrawals", {"email": "a@example.org", "role": "admin"}),
            ("GET", "/analytics/summary", None),
            ("POST", "/stock/KIT-0001/arrivals", {"quantity": 1}),
        ],
    )
    def test_a_customer_may_do_nothing_of_an_administrator(
        self, ann: Person, method: str, path: str, body: dict[str, object] | None
    ) -> None:
        problem(ann.send(method, path, json=body, key=new_key()), 403, "archstone.forbidden")

    def test_goods_that_arrive_are_booked_once_per_key(self, admin: Person, products: list[str]) -> None:
        before = admin.get(f"/stock/{products[12]}").json()
        key = new_key()
        for _ in range(2):
            answer = admin.send("POST", f"/stock/{products[12]}/arrivals", key=key, json={"quantity": 5})
            assert answer.status_code == 200
            assert answer.json()["free"] == before["free"] + 5
        assert admin.get(f"/stock/{products[12]}").json()["free"] == before["free"] + 5


class TestCatalog:
    def test_about_a_hundred_products_are_listed_page_by_page(self, http: httpx.Client) -> None:
        seen: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": 40, **({} if cursor is None else {"cursor": cursor})}
            page = http.get(f"{API}/products", params=params).json()
            seen += [item["sku"] for item in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert len(seen) == len(set(seen))
        assert 90 <= len(seen) <= 120

    def test_a_product_says_what_it_costs_and_has_a_picture(self, http: httpx.Client, products: list[str]) -> None:
        found = http.get(f"{API}/products/{products[0]}").json()
        assert set(found) >= {"sku", "name", "price", "category", "description", "picture"}
        assert found["price"]["currency"] == "EUR"
        assert found["price"]["amount"] > 0
        picture = http.get(found["picture"])
        assert picture.status_code == 200
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert "<svg" in picture.text
        assert picture.headers["x-content-type-options"] == "nosniff"

    def test_a_picture_that_is_not_there_is_no_failure(self, http: httpx.Client) -> None:
        assert http.get("/pictures/nothing").status_code == 404

    def test_search_finds_by_prefix_and_ranks(self, http: httpx.Client, products: list[str]) -> None:
        wanted = http.get(f"{API}/products/{products[0]}").json()
        prefix = wanted["name"].split()[0][:4]
        found = http.get(f"{API}/products", params={"search": prefix, "limit": 100}).json()["items"]
        assert wanted["sku"] in {item["sku"] for item in found}

    @pytest.mark.parametrize("text", ['"', "*", "a AND", "NEAR(", "sku:x", "'; DROP TABLE products", "%", "ä", "-"])
    def test_search_text_is_never_syntax(self, http: httpx.Client, text: str) -> None:
        assert http.get(f"{API}/products", params={"search": text}).status_code == 200

    def test_categories_filter(self, http: httpx.Client) -> None:
        shelves = http.get(f"{API}/categories").json()["items"]
        shelf = shelves[0]
        found = http.get(f"{API}/products", params={"category": shelf["id"], "limit": 100}).json()["items"]
        assert len(found) == shelf["products"]
        assert {item["category"] for item in found} == {shelf["id"]}

    def test_what_is_bought_together_is_recommended(self, http: httpx.Client, ann: Person, products: list[str]) -> None:
        ann.settled(ann.buy((products[13], 1), (products[14], 1)))
        eventually(
            lambda: http.get(f"{API}/products/{products[13]}/recommendations").json()["items"],
            lambda items: bool(items) and items[0]["sku"] == products[14],
        )

    def test_what_is_not_there_is_404(self, http: httpx.Client) -> None:
        problem(http.get(f"{API}/products/NOT-THERE"), 404, "catalog.unknown-product")
        problem(http.get(f"{API}/products/NOT-THERE/recommendations"), 404, "catalog.unknown-product")
        problem(http.get(f"{API}/stock/NOT-THERE"), 404, "inventory.unknown-product")


CONFIRMED = ("tok_ok", "tok_timeout", "tok_flaky")
CANCELLED = {"tok_declined": "insufficient funds", "tok_unheard_of": "unknown card"}


class TestOrders:
    @pytest.mark.parametrize("token", CONFIRMED)
    def test_a_good_token_ends_confirmed_with_one_parcel_one_mail_one_invoice(
        self, shop: ShopProcess, ann: Person, products: list[str], token: str
    ) -> None:
        order_id = ann.buy((products[0], 2), (products[1], 1), token=token)
        order = ann.settled(order_id, within_s=60)
        assert (order["status"], order["reason"]) == ("confirmed", None)
        assert [line["quantity"] for line in order["lines"]] == [2, 1]
        total = sum(line["quantity"] * line["price"]["amount"] for line in order["lines"])
        assert order["total"] == {"amount": total, "currency": "EUR"}
        assert len(order["timeline"]) >= 2
        assert order["timeline"] == sorted(order["timeline"], key=lambda entry: entry["at"])
        invoice = ann.get(f"/orders/{order_id}/invoice").json()
        assert (invoice["amount"]["amount"], invoice["state"]) == (total, "captured")
        assert eventually(lambda: mails_of(shop, order_id), bool) == ["confirmed"]

    @pytest.mark.parametrize(("token", "reason"), CANCELLED.items())
    def test_a_bad_token_ends_cancelled_with_the_reason_and_nothing_kept(
        self, shop: ShopProcess, ann: Person, products: list[str], token: str, reason: str
    ) -> None:
        before = ann.get(f"/stock/{products[2]}").json()
        order_id = ann.buy((products[2], 3), token=token)
        order = ann.settled(order_id)
        assert order["status"] == "cancelled"
        assert reason in order["reason"]
        assert ann.get(f"/stock/{products[2]}").json() == before
        problem(ann.get(f"/orders/{order_id}/invoice"), 404, "payments.no-invoice")
        assert eventually(lambda: mails_of(shop, order_id), bool) == ["cancelled"]

    def test_more_than_there_is_ends_cancelled(self, admin: Person, ann: Person, products: list[str]) -> None:
        sku = products[3]
        while (free := ann.get(f"/stock/{sku}").json()["free"]) >= 99:
            ann.settled(ann.buy((sku, 99)))
        order = ann.settled(ann.buy((sku, free + 1)))
        assert (order["status"], order["reason"]) == ("cancelled", f"out of stock: {sku}")
        assert ann.get(f"/stock/{sku}").json()["free"] == free

    def test_history_and_list_tell_of_an_order(self, http: httpx.Client, products: list[str]) -> None:
        person = new_person(http, name="listing")
        ids = [person.buy((products[4], 1)) for _ in range(3)]
        for order_id in ids:
            person.settled(order_id)
        history = person.get(f"/orders/{ids[0]}/history").json()
        assert [entry["version"] for entry in history["items"]] == list(range(1, len(history["items"]) + 1))
        assert history["items"][0]["type"] == "orders.order-placed"
        page = person.get(f"/users/{person.user_id}/orders", params={"limit": 2}).json()
        rest = person.get(f"/users/{person.user_id}/orders", params={"cursor": page["next_cursor"]}).json()
        assert [item["id"] for item in page["items"] + rest["items"]] == ids[::-1]

    def test_another_customers_order_is_not_there_and_an_administrator_sees_it(
        self, http: httpx.Client, ann: Person, admin: Person, products: list[str]
    ) -> None:
        bob = new_person(http, name="bob")
        order_id = ann.buy((products[5], 1))
        ann.settled(order_id)
        problem(bob.get(f"/orders/{order_id}"), 404, "orders.unknown")
        problem(bob.get(f"/orders/{order_id}/history"), 404, "orders.unknown")
        problem(bob.get(f"/orders/{order_id}/invoice"), 404, "payments.no-invoice")
        problem(bob.send("POST", f"/orders/{order_id}/cancel"), 404, "orders.unknown")
        problem(bob.get(f"/users/{ann.user_id}/orders"), 404, "orders.no-customer")
        unknown = problem(bob.get(f"/orders/{UNKNOWN_ORDER}"), 404)
        assert unknown["type"] == problem(bob.get(f"/orders/{order_id}"), 404)["type"]
        for path in ("", "/history", "/invoice"):
            assert admin.get(f"/orders/{order_id}{path}").status_code == 200
        assert admin.get(f"/users/{ann.user_id}/orders").status_code == 200

    def test_a_pending_order_is_cancelled(self, ann: Person, products: list[str]) -> None:
        before = ann.get(f"/stock/{products[6]}").json()
        order_id = ann.buy((products[6], 1), token="tok_timeout")  # its bank is slow, so there is time
        asked = ann.send("POST", f"/orders/{order_id}/cancel")
        assert (asked.status_code, asked.json()) == (202, {"id": order_id, "status": "pending"})
        assert ann.send("POST", f"/orders/{order_id}/cancel").status_code == 202
        order = ann.settled(order_id, within_s=60)
        assert order["status"] == "cancelled"
        assert "customer" in order["reason"]
        assert ann.get(f"/stock/{products[6]}").json() == before

    def test_a_confirmed_order_is_cancelled_and_paid_back(self, ann: Person, products: list[str]) -> None:
        before = ann.get(f"/stock/{products[7]}").json()
        order_id = ann.buy((products[7], 1))
        assert ann.settled(order_id)["status"] == "confirmed"
        assert ann.send("POST", f"/orders/{order_id}/cancel").status_code == 202
        order = ann.until(order_id, lambda found: found["status"] == "cancelled")
        assert "customer" in order["reason"]
        assert ann.get(f"/orders/{order_id}/invoice").json()["state"] == "refunded"
        assert ann.get(f"/stock/{products[7]}").json() == before
        again = ann.send("POST", f"/orders/{order_id}/cancel")
        assert (again.status_code, again.json()["status"]) == (202, "cancelled")


class TestKeys:
    def test_the_same_key_gives_the_same_answer_and_one_order(self, http: httpx.Client, products: list[str]) -> None:
        person, key = new_person(http, name="repeating"), new_key()
        answers = [person.place((products[8], 1), key=key) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.content for answer in answers}) == 1
        person.settled(answers[0].json()["id"])
        assert person.place((products[8], 1), key=key).content == answers[0].content
        assert len(person.get(f"/users/{person.user_id}/orders").json()["items"]) == 1

    def test_the_same_key_with_other_arguments_is_422(self, ann: Person, products: list[str]) -> None:
        key = new_key()
        assert ann.place((products[8], 1), key=key).status_code == 202
        problem(ann.place((products[8], 2), key=key), 422, "services.key-reused")

    def test_a_key_belongs_to_one_customer(self, http: httpx.Client, ann: Person, products: list[str]) -> None:
        key, other = new_key(), new_person(http, name="other")
        mine, theirs = ann.place((products[8], 1), key=key), other.place((products[8], 1), key=key)
        assert mine.json()["id"] != theirs.json()["id"]

    def test_a_declared_error_is_an_answer_too(self, ann: Person) -> None:
        key = new_key()
        refusals = [problem(ann.place(("NOT-THERE", 1), key=key), 404, "catalog.unknown-product") for _ in range(2)]
        assert refusals[0]["args"] == refusals[1]["args"] == {"sku": "NOT-THERE"}

    def test_an_order_without_a_key_is_400(self, ann: Person, products: list[str]) -> None:
        answer = ann.send("POST", "/orders", json=order_body((products[8], 1)))
        problem(answer, 400, "services.key-missing")

    @pytest.mark.parametrize("key", ["", "two words", "x" * 256, "ümlaut".encode()])
    def test_a_key_that_is_none_is_400(self, ann: Person, products: list[str], key: str | bytes) -> None:
        headers = {"Idempotency-Key": key}
        answer = ann.send("POST", "/orders", json=order_body((products[8], 1)), headers=headers)
        problem(answer, 400)


def mails_of(shop: ShopProcess, order_id: str) -> list[str]:
    """Return what the mails about an order say, in no order."""
    mails = [message_from_bytes(file.read_bytes(), policy=policy.SMTP) for file in (shop.data / "mails").glob("*.eml")]
    return [str(mail["X-Archstone-About"]) for mail in mails if mail["X-Archstone-Order"] == order_id]
