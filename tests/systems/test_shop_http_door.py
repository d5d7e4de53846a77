"""The front door of the shop over HTTP: what is said beside the answers, and what is refused before them."""

import asyncio
import json
import re
from collections.abc import Iterator

import httpx
import pytest
from shop_http import API, Person, new_person, problem, served_shop
from shop_process import ShopProcess

pytestmark = pytest.mark.sqlite_only("what is refused at the door reaches no database")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, shop_place: str) -> Iterator[ShopProcess]:
    with served_shop(tmp_path_factory.mktemp("door") / "shop", RATE_LIMIT_PER_S="20") as shop:
        yield shop


@pytest.fixture(scope="module")
def http(shop: ShopProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
def ann(http: httpx.Client) -> Person:
    return new_person(http, name="ann")


def test_live_and_ready_answer_without_a_token(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "live"}
    assert http.get("/health/ready").json() == {"status": "ready", "system": "shop"}


def test_the_metrics_are_prometheus_text_and_tell_of_every_part(http: httpx.Client, ann: Person) -> None:
    ann.get("/users/me")
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    line = re.compile(r'^[a-zA-Z_:][\w:]*(\{[\w]+="[^"]*"(,[\w]+="[^"]*")*\})? [-+0-9.eEinfNa]+$')
    lines = answer.text.splitlines()
    assert [each for each in lines if not each.startswith("# ") and not line.match(each)] == []
    names = {each.split(" ")[2] for each in lines if each.startswith("# TYPE ")}
    assert {
        "archstone_ready",
        "archstone_http_requests_total",
        "archstone_http_request_seconds",
        "archstone_database_commits",
        "archstone_sagas_running",
        "archstone_sagas_stuck",
        "archstone_loop_lag_seconds",
    } <= names, sorted(names)


def test_the_document_lists_every_endpoint_that_others_rely_on(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    told = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert told >= {
        f"POST {API}/users",
        f"POST {API}/sessions",
        f"POST {API}/sessions/refresh",
        f"POST {API}/sessions/logout",
        f"GET {API}/users/me",
        f"GET {API}/products",
        f"GET {API}/products/{{sku}}",
        f"GET {API}/products/{{sku}}/recommendations",
        f"GET {API}/stock/{{sku}}",
        f"POST {API}/orders",
        f"GET {API}/orders/{{order_id}}",
        f"POST {API}/orders/{{order_id}}/cancel",
        f"GET {API}/users/{{user_id}}/orders",
        f"GET {API}/analytics/summary",
    }
    inside = [path for path in document["paths"] if re.search("reservations|shipments|payments|contact", path)]
    assert inside == [], "an operation that is not public is told to the world"


def test_what_is_not_public_is_not_routed(ann: Person) -> None:
    problem(ann.send("POST", "/reservations", json={}), 404, "http.no-such-route")
    problem(ann.get(f"/users/{ann.user_id}/contact"), 404, "http.no-such-route")


def test_the_docs_page_is_whole_by_itself(http: httpx.Client) -> None:
    answer = http.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "Orders.place" in answer.text or "/orders" in answer.text
    assert not re.search(r'(src|href)="(https?:)?//', answer.text), "it loads something from elsewhere"


def test_an_answer_that_is_known_already_is_304(http: httpx.Client) -> None:
    first = http.get(f"{API}/products", params={"limit": 5})
    assert first.headers["cache-control"] == "private, no-cache"
    again = http.get(f"{API}/products", params={"limit": 5}, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = http.get(f"{API}/products", params={"limit": 6}, headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


@pytest.mark.parametrize(("accepted", "chosen"), [("gzip", "gzip"), ("br", "br"), ("gzip, br", "br")])
def test_long_answers_are_packed_as_the_client_likes(http: httpx.Client, accepted: str, chosen: str) -> None:
    plain = http.get(f"{API}/products", params={"limit": 50}, headers={"Accept-Encoding": "identity"})
    packed = http.get(f"{API}/products", params={"limit": 50}, headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == chosen
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert "accept-encoding" in packed.headers["vary"].lower()


def test_every_answer_carries_security_headers_and_a_request_id(http: httpx.Client, ann: Person) -> None:
    answers = [
        http.get("/health/live"),
        http.get("/docs"),
        http.get(f"{API}/products"),
        http.get(f"{API}/nothing"),
        ann.get("/users/me"),
        ann.send("POST", "/orders", json={}),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.url
        assert answer.headers["x-frame-options"] == "DENY", answer.url
        assert answer.headers["referrer-policy"] == "no-referrer", answer.url
        assert "content-security-policy" in answer.headers, answer.url
        assert "server" not in answer.headers, answer.url
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_a_request_id_that_is_offered_is_kept_if_it_is_harmless(http: httpx.Client) -> None:
    kept = http.get(f"{API}/products", headers={"X-Request-Id": "from-the-proxy-1"})
    assert kept.headers["x-request-id"] == "from-the-proxy-1"
    refused = http.get(f"{API}/products", headers={"X-Request-Id": "<script>"})
    assert refused.headers["x-request-id"] != "<script>"


def test_who_asks_too_often_is_told_when_to_come_back(http: httpx.Client) -> None:
    hasty, calm = new_person(http, name="hasty"), new_person(http, name="calm")
    answers = [hasty.get("/users/me") for _ in range(80)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused, "eighty requests at once passed a limit of twenty a second"
    document = problem(refused[0], 429, "resilience.rate-limited")
    assert int(refused[0].headers["retry-after"]) >= 1
    assert document["retry_after_s"] > 0
    assert calm.get("/users/me").status_code == 200, "one customer's haste is held against another"


def test_a_signing_in_browser_of_another_origin_is_given_nothing(http: httpx.Client) -> None:
    answer = http.options(f"{API}/products", headers={"Origin": "https://evil.example"})
    problem(answer, 405, "http.method-not-allowed")
    assert "access-control-allow-origin" not in answer.headers


def test_an_orderly_end_says_so_and_logs_no_error(shop: ShopProcess, http: httpx.Client) -> None:
    assert http.get("/health/ready").status_code == 200
    assert shop.stop() == 0, shop.log_tail()
    lines = [json.loads(line) for line in shop.log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["ready", "draining"]
    asyncio.run(shop.start())
