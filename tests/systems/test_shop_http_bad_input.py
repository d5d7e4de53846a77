"""Bad input: whatever comes, the answer is a 4xx problem document, the log holds no error, and the shop goes on."""

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from shop_http import API, Person, new_key, new_person, order_body, problem, served_shop, skus
from shop_process import ADDRESS, PASSWORD, ShopProcess

from archstone import world
from archstone.context import Principal
from archstone.security import KeyFile, Tokens


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, shop_place: str) -> Iterator[ShopProcess]:
    with served_shop(tmp_path_factory.mktemp("bad") / "shop") as shop:
        yield shop
    events = [json.loads(line)["event"] for line in shop.log.read_text().splitlines()]
    assert events == ["ready", "draining"], "bad input made the shop log something"


@pytest.fixture(scope="module")
def http(shop: ShopProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
def ann(http: httpx.Client) -> Person:
    return new_person(http, name="ann")


@pytest.fixture(scope="module")
def sku(http: httpx.Client) -> str:
    return skus(http, 1)[0]


def changed(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**body, **changes}


GOOD = order_body(("KIT-001", 1))
LINE = {"sku": "KIT-001", "quantity": 1}
ORDERS = {
    "an unknown field": changed(GOOD, coupon="FREE"),
    "an unknown field in a line": changed(GOOD, lines=[{**LINE, "price": 0}]),
    "an unknown field in the address": changed(GOOD, address={**ADDRESS, "planet": "Mars"}),
    "no lines": changed(GOOD, lines=[]),
    "too many lines": changed(GOOD, lines=[LINE] * 51),
    "lines that are an object": changed(GOOD, lines=LINE),
    "lines that are null": changed(GOOD, lines=None),
    "a line that is a text": changed(GOOD, lines=["KIT-001"]),
    "a quantity of nothing": changed(GOOD, lines=[{**LINE, "quantity": 0}]),
    "a negative quantity": changed(GOOD, lines=[{**LINE, "quantity": -1}]),
    "a quantity of a hundred": changed(GOOD, lines=[{**LINE, "quantity": 100}]),
    "a quantity beyond 64 bits": changed(GOOD, lines=[{**LINE, "quantity": 2**64}]),
    "a quantity of a thousand digits": changed(GOOD, lines=[{**LINE, "quantity": 10**1000}]),
    "half a piece": changed(GOOD, lines=[{**LINE, "quantity": 0.5}]),
    "a quantity as text": changed(GOOD, lines=[{**LINE, "quantity": "1"}]),
    "a quantity that is true": changed(GOOD, lines=[{**LINE, "quantity": True}]),
    "a quantity that is null": changed(GOOD, lines=[{**LINE, "quantity": None}]),
    "no quantity": changed(GOOD, lines=[{"sku": "KIT-001"}]),
    "a sku in small letters": changed(GOOD, lines=[{**LINE, "sku": "kit-001"}]),
    "a sku with a line break": changed(GOOD, lines=[{**LINE, "sku": "KIT-001\n"}]),
    "a sku that is a number": changed(GOOD, lines=[{**LINE, "sku": 1}]),
    "no address": {name: value for name, value in GOOD.items() if name != "address"},
    "a country of three letters": changed(GOOD, address={**ADDRESS, "country": "BEL"}),
    "an empty name": changed(GOOD, address={**ADDRESS, "name": ""}),
    "a name of a thousand letters": changed(GOOD, address={**ADDRESS, "name": "x" * 1000}),
    "a name with a zero byte": changed(GOOD, address={**ADDRESS, "name": "A\x00B"}),
    "no token": {name: value for name, value in GOOD.items() if name != "payment_token"},
    "a token that is a number": changed(GOOD, payment_token=1),
    "a token of a thousand letters": changed(GOOD, payment_token="t" * 1000),
}


@pytest.mark.parametrize("body", ORDERS.values(), ids=ORDERS)
def test_a_bad_order_is_refused_with_the_place_of_the_fault(ann: Person, body: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    answer = ann.send("POST", "/orders", key=new_key(), content=json.dumps(body), headers=headers)
    document = problem(answer, 400, "services.invalid-request")
    assert document["errors"]
    assert all(fault["where"].startswith("body") and fault["what"] for fault in document["errors"])


def test_an_unknown_product_is_404_and_ninety_nine_of_one_in_two_lines_too_many(ann: Person, sku: str) -> None:
    problem(ann.place(("NOT-THERE", 1)), 404, "catalog.unknown-product")
    problem(ann.place((sku, 99), (sku, 99)), 409, "orders.too-many")


BODIES = {
    "broken": b'{"email": ',
    "nothing but a brace": b"{",
    "text": b"hello",
    "no utf-8": b'{"email": "\xff\xfe"}',
    "half a surrogate": b'{"email": "\\ud800", "password": "aaaaaaaaaa", "name": "x"}',
    "an array": b"[]",
    "null": b"null",
    "a number": b"17",
    "not a number": b'{"email": NaN, "password": Infinity, "name": "x"}',
    "two values": b"{}{}",
    "a zero byte": b"\x00",
    "deep": b"[" * 50_000,
    "deep and closed": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "a byte order mark": b"\xef\xbb\xbf{}",
    "nothing": b"",
}


@pytest.mark.parametrize("path", ["/users", "/sessions", "/sessions/refresh", "/orders"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_no_json_of_the_right_form_is_400(ann: Person, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    problem(ann.send("POST", path, key=new_key(), content=body, headers=headers), 400)


def test_ten_megabytes_are_413_however_they_are_sent(http: httpx.Client, ann: Person) -> None:
    large = json.dumps({"email": "a@example.org", "password": PASSWORD, "name": "x" * 10_000_000}).encode()
    headers = {"Content-Type": "application/json"}
    problem(http.post(f"{API}/users", content=large, headers=headers), 413, "http.body-too-large")

    def in_pieces() -> Iterator[bytes]:
        for at in range(0, len(large), 65_536):
            yield large[at : at + 65_536]

    problem(http.post(f"{API}/users", content=in_pieces(), headers=headers), 413, "http.body-too-large")
    problem(ann.send("POST", "/orders", key=new_key(), content=large, headers=headers), 413, "http.body-too-large")
    assert http.get("/health/ready").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_not_declared_as_json_is_415(ann: Person, kind: str) -> None:
    answer = ann.send("POST", "/orders", key=new_key(), content=b"{}", headers={"Content-Type": kind})
    problem(answer, 415, "http.content-type")


def test_a_body_of_no_declared_kind_is_415(ann: Person) -> None:
    document = problem(ann.send("POST", "/orders", key=new_key(), content=json.dumps(GOOD)), 415)
    assert "application/json" in document["detail"]


def test_a_packed_body_is_415(ann: Person) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(ann.send("POST", "/orders", key=new_key(), content=b"{}", headers=headers), 415, "http.content-type")


PATHS = {
    "/products/kit-001": 400,
    "/products/%00": 400,
    "/products/%ff": 400,
    "/products/%zz": 400,
    "/products/..%2f..%2fetc%2fpasswd": 400,
    "/products/" + "A" * 5000: 400,
    "/stock/x": 400,
    "/orders/1": 400,
    "/orders/' OR 1=1 --": 400,
    "/orders/" + "0" * 31: 400,
    "/users/nobody/orders": 400,
    "/nothing": 404,
    "/products/KIT-001/nothing": 404,
    "//": 404,
    "/products/": 404,
    "/products?limit=0": 400,
    "/products?limit=-1": 400,
    "/products?limit=101": 400,
    "/products?limit=abc": 400,
    "/products?limit=99999999999999999999999": 400,
    "/products?limit=1&limit=2": 400,
    "/products?colour=red": 400,
    "/products?cursor=": 400,
    "/products?cursor=abc": 400,
    "/products?cursor=%C3%A4": 400,
    "/products?cursor=" + "A" * 501: 400,
    "/products?cursor=W10": 400,
    "/products?cursor=WyJ4IiwxXQ": 400,
    "/products?category=KIT": 400,
    "/products?search=" + "x" * 101: 400,
    "/products?" + "&".join(f"a{number}=1" for number in range(300)): 400,
}


@pytest.mark.parametrize(("path", "status"), PATHS.items())
def test_a_bad_path_or_query_is_refused(ann: Person, path: str, status: int) -> None:
    problem(ann.get(path), status)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/orders"), ("GET", "/sessions"), ("TRACE", "/users/me"), ("PUT", "/products")]
)
def test_a_method_that_a_path_does_not_take_is_405(ann: Person, method: str, path: str) -> None:
    answer = ann.send(method, path)
    problem(answer, 405, "http.method-not-allowed")
    assert answer.headers["allow"]


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def header_of(token: str) -> dict[str, Any]:
    part = token.split(".", maxsplit=1)[0]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def signed(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    text = f"{encoded(header)}.{encoded(claims)}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def forged(token: str) -> dict[str, str]:
    header, claims = header_of(token), claims_of(token)
    first, second, third = token.split(".")
    as_admin = {**claims, "roles": ["admin"]}
    return {
        "nothing": "",
        "no token at all": "Bearer",
        "no dots": "Bearer abc",
        "garbage": "Bearer a.b.c",
        "another scheme": "Basic YW5uOnB3",
        "another role": f"Bearer {first}.{encoded(as_admin)}.{third}",
        "no algorithm": f"Bearer {encoded({**header, 'alg': 'none'})}.{second}.",
        "another secret": f"Bearer {signed(header, as_admin, b'guessed' * 8)}",
        "no signature": f"Bearer {first}.{second}.",
        "half a signature": f"Bearer {first}.{second}.{third[: len(third) // 2]}",
        "an unknown key": f"Bearer {encoded({**header, 'kid': 'mine'})}.{second}.{third}",
        "a key by address": f"Bearer {encoded({**header, 'jku': 'http://evil.example/keys'})}.{second}.{third}",
        "ten thousand letters": f"Bearer {'a' * 10_000}",
    }


FORGED = list(forged(f"{encoded({})}.{encoded({})}.x"))


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_token_is_401(http: httpx.Client, ann: Person, what: str) -> None:
    headers = {"Authorization": forged(ann.access_token)[what]}
    for path in ("/users/me", "/products"):  # also where no token is needed: a bad one is not passed over
        answer = http.get(f"{API}{path}", headers=headers)
        problem(answer, 401)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_two_authorisations_are_400(http: httpx.Client, ann: Person) -> None:
    token = f"Bearer {ann.access_token}"
    answer = http.get(f"{API}/users/me", headers=[("Authorization", token), ("Authorization", token)])
    problem(answer, 400, "http.bad-request")


class AnHourAgo(world.World):
    """The world as it was, for a token that has expired since."""

    def now_us(self) -> int:
        return super().now_us() - 3_600_000_000


def test_an_expired_token_is_401_and_says_so(shop: ShopProcess, http: httpx.Client, ann: Person) -> None:
    keys, who = KeyFile(shop.data / "keys.json").load(), Principal(ann.user_id, frozenset({"customer"}))
    tokens = Tokens(keys, issuer="shop", audience="shop-api")
    elsewhere = Tokens(keys, issuer="shop", audience="another-api")
    with world.use(AnHourAgo()):
        expired = tokens.issue(who)
    assert http.get(f"{API}/users/me", headers=bearer(tokens.issue(who).text)).status_code == 200
    problem(http.get(f"{API}/users/me", headers=bearer(expired.text)), 401, "security.token-expired")
    problem(http.get(f"{API}/users/me", headers=bearer(elsewhere.issue(who).text)), 401, "security.token-invalid")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_headers_beyond_measure_are_431_or_refused_by_the_server(ann: Person) -> None:
    problem(ann.get("/users/me", headers={"X-Long": "x" * 40_000}), 431, "http.headers-too-large")
    problem(ann.get("/users/me", headers={f"X-{number}": "x" for number in range(150)}), 431)


@pytest.mark.parametrize("value", ["-1", "abc", "1.5", "", "9" * 30])
def test_a_deadline_that_is_none_is_400(ann: Person, value: str) -> None:
    problem(ann.get("/users/me", headers={"Archstone-Deadline-Ms": value}), 400, "http.bad-request")


def test_a_principal_is_not_taken_from_a_header(http: httpx.Client) -> None:
    forged_principal = {"Archstone-Principal": '{"id":"x","roles":["admin"]}'}
    problem(http.get(f"{API}/analytics/summary", headers=forged_principal), 401)


USERS = {
    "no address": {"email": "nobody", "password": PASSWORD, "name": "x"},
    "an address with a line break": {"email": "a@example.org\nBcc: b@example.org", "password": PASSWORD, "name": "x"},
    "an endless address": {"email": "a" * 300 + "@example.org", "password": PASSWORD, "name": "x"},
    "a short password": {"email": "s@example.org", "password": "short", "name": "x"},
    "an endless password": {"email": "s@example.org", "password": "x" * 201, "name": "x"},
    "a name with a line break": {"email": "s@example.org", "password": PASSWORD, "name": "a\nb"},
    "a role": {"email": "s@example.org", "password": PASSWORD, "name": "x", "roles": ["admin"]},
    "an id": {"email": "s@example.org", "password": PASSWORD, "name": "x", "id": "0" * 32},
}


@pytest.mark.parametrize("body", USERS.values(), ids=USERS)
def test_a_bad_registration_is_400(http: httpx.Client, body: dict[str, Any]) -> None:
    problem(http.post(f"{API}/users", json=body), 400, "services.invalid-request")


@pytest.mark.parametrize("token", ["rt_x", "", "x" * 201, "rt_" + "A" * 43])
def test_a_bad_refresh_token_gives_no_session(http: httpx.Client, token: str) -> None:
    answer = http.post(f"{API}/sessions/refresh", json={"refresh_token": token})
    assert answer.status_code in {400, 401}
    problem(answer, answer.status_code)


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"BREW /api/v1/products HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/products HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /api/v1/products HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_gets_a_problem_document_and_the_connection_is_closed(shop: ShopProcess, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:archstone:error:http.bad-request"


def test_two_lengths_of_one_body_are_refused(shop: ShopProcess) -> None:
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as connection:
        head = b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
        connection.sendall(head + b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.settimeout(2)
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"live" not in answer, "a second request was smuggled in the first"
