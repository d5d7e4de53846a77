"""Each layer of the gateway, driven in memory on virtual time."""

import asyncio
import gzip
import json

import brotli
import pytest
from gateway_subject import Behind, Door, Shop, header, problem_code
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import world
from archstone.context import NOBODY, Principal
from archstone.errors import ConfigError
from archstone.gateway import Compress, Gateway, GatewayParts
from archstone.observability import parse_traceparent, recorded
from archstone.resilience import RateLimit, SettingsError, SharedState, Shed
from archstone.security import TokenExpiredError
from archstone.services import operations
from archstone.services.http import Response, ask

ORDER = {"lines": [{"sku": "kettle", "quantity": 1}]}
KEY = ("idempotency-key", "key-1")


async def test_a_public_operation_is_routed_under_the_prefix() -> None:
    door = Door()
    assert json.loads((await door.get("/api/v1/products/tea?size=2")).body) == "teaxx"
    assert (await door.get("/products/tea")).status == 404


async def test_an_operation_that_is_not_public_does_not_exist() -> None:
    assert problem_code(await Door().get("/api/v1/inside", token="root-token")) == "http.no-such-route"


async def test_the_bearer_of_a_token_is_the_principal() -> None:
    assert json.loads((await Door().get("/api/v1/me", token="ann-token")).body) == "ann"


async def test_anyone_may_call_what_is_open_to_anyone_and_is_nobody() -> None:
    door = Door()
    assert (await door.get("/api/v1/products/tea")).status == 200
    assert door.behind.calls[0].principal == NOBODY


async def test_without_a_token_the_answer_is_401_and_asks_for_one() -> None:
    answer = await Door().get("/api/v1/me")
    assert (answer.status, problem_code(answer)) == (401, "archstone.not-signed-in")
    assert header(answer, "www-authenticate") == "Bearer"


@pytest.mark.parametrize("sent", ["Bearer forged", "Bearer", "Bearer a b", "Basic YTpi", "ann-token", "Bearer \xff"])
@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/products/tea"])
async def test_a_bad_token_is_401_even_where_none_is_needed(sent: str, path: str) -> None:
    answer = await Door().get(path, headers=[("authorization", sent)])
    assert (answer.status, problem_code(answer)) == (401, "gateway.token")
    assert header(answer, "www-authenticate") == 'Bearer error="invalid_token"'


async def test_an_expired_token_says_that_it_has_expired() -> None:
    def expired(token: str) -> Principal:
        raise TokenExpiredError

    answer = await Door(verify=expired).get("/api/v1/me", token="ann-token")
    assert (answer.status, problem_code(answer)) == (401, "security.token-expired")
    assert header(answer, "www-authenticate") == 'Bearer error="invalid_token"'


async def test_the_wrong_role_is_403_and_the_right_one_passes() -> None:
    door = Door()
    assert problem_code(await door.get("/api/v1/report", token="ann-token")) == "archstone.forbidden"
    assert (await door.get("/api/v1/report", token="root-token")).status == 200


async def test_the_principal_header_of_the_inside_means_nothing_outside() -> None:
    answer = await Door().get("/api/v1/report", headers=[("archstone-principal", "root|admin")])
    assert answer.status == 401


async def test_who_may_not_call_is_told_so_before_the_body_is_read() -> None:
    answer = await Door().post("/api/v1/orders", b"{" * 100, headers=[KEY])
    assert answer.status == 401


async def test_a_public_command_without_a_key_is_400() -> None:
    door = Door()
    assert problem_code(await door.post("/api/v1/orders", ORDER, token="ann-token")) == "services.key-missing"
    assert (await door.post("/api/v1/orders", ORDER, token="ann-token", headers=[KEY])).status == 202


async def test_unknown_fields_are_refused() -> None:
    body = {"lines": [{"sku": "kettle", "quantity": 1, "price": 0}], "total": 0}
    answer = await Door().post("/api/v1/orders", body, token="ann-token", headers=[KEY])
    assert answer.status == 400
    assert [fault["where"] for fault in json.loads(answer.body)["errors"]] == ["body.lines.0.price", "body.total"]


async def test_a_body_over_the_limit_is_413() -> None:
    door = Door(Gateway(body_limit_bytes=100))
    assert (await door.post("/api/v1/visits", {"page": "x" * 80})).status == 200
    assert problem_code(await door.post("/api/v1/visits", {"page": "x" * 100})) == "http.body-too-large"
    assert problem_code(await door.post("/api/v1/visits", [b'"', b"x" * 100])) == "http.body-too-large"


async def test_an_error_tells_nothing_of_the_inside(capsys) -> None:
    answer = await Door().get("/api/v1/products/bug")
    assert (answer.status, problem_code(answer)) == (500, "archstone.remote")


async def test_a_sane_request_id_is_kept_and_any_other_replaced() -> None:
    door = Door()
    for offered, kept in [("client-id.1:2_3", True), ("short", False), ("a" * 129, False), ("white space", False)]:
        answer = await door.get("/api/v1/products/tea", headers=[("x-request-id", offered)])
        told = header(answer, "x-request-id")
        assert (told == offered) is kept
        assert door.behind.calls[-1].correlation_id == told


@pytest.mark.parametrize("path", ["/api/v1/products/tea", "/nowhere", "/health/live", "/metrics", "/openapi.json"])
async def test_every_answer_carries_the_security_headers(path: str) -> None:
    answer = await Door().get(path)
    assert header(answer, "x-content-type-options") == "nosniff"
    assert header(answer, "x-frame-options") == "DENY"
    assert header(answer, "referrer-policy") == "no-referrer"
    assert header(answer, "content-security-policy") == "default-src 'none'; frame-ancestors 'none'"
    assert header(answer, "strict-transport-security") is None
    assert header(await Door().get(path, scheme="https"), "strict-transport-security") is not None


async def test_the_docs_page_has_a_policy_of_its_own_and_no_script() -> None:
    answer = await Door().get("/docs")
    assert "style-src 'sha256-" in str(header(answer, "content-security-policy"))
    assert b"<script" not in answer.body


async def test_requests_are_counted_for_all_processes_where_they_share_a_store() -> None:
    async with SharedState("memory:") as shared:
        doors = [Door(Gateway(rate_limit=RateLimit(1, burst=2)), shared=shared) for _ in range(2)]
        path = "/api/v1/me"
        statuses = [(await doors[at % 2].get(path, token="ann-token")).status for at in range(4)]
        assert statuses == [200, 200, 429, 429]
        assert (await doors[0].get(path, token="bob-token")).status == 200
        # By address: who is not known, who guesses tokens, and who looks for paths.
        asked = ["/api/v1/products/a", "/nothing", "/nothing"]
        assert [(await doors[at % 2].get(each)).status for at, each in enumerate(asked)] == [200, 404, 429]
        guesses = [await doors[at % 2].get(path, token="guess", client=("192.0.2.1", 1)) for at in range(3)]
        assert [each.status for each in guesses] == [401, 401, 429]


async def test_too_many_requests_of_one_principal_are_429_and_others_pass() -> None:
    door = Door(Gateway(rate_limit=RateLimit(1, burst=2)))
    statuses = [(await door.get("/api/v1/me", token="ann-token")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = await door.get("/api/v1/me", token="ann-token")
    assert problem_code(refused) == "resilience.rate-limited"
    assert header(refused, "retry-after") == "1"
    assert (await door.get("/api/v1/me", token="bob-token")).status == 200
    await asyncio.sleep(1)
    assert (await door.get("/api/v1/me", token="ann-token")).status == 200


async def test_anonymous_clients_are_counted_by_address_and_ipv6_by_network() -> None:
    door = Door(Gateway(rate_limit=RateLimit(1, burst=1)))
    clients = [("10.0.0.1", 1), ("10.0.0.1", 2), ("10.0.0.2", 1), ("2001:db8::1", 1), ("2001:db8::2", 1), None, None]
    statuses = [(await door.get("/api/v1/products/tea", client=each)).status for each in clients]
    assert statuses == [200, 429, 200, 200, 429, 200, 429]


async def test_guessing_tokens_is_limited_by_address() -> None:
    door = Door(Gateway(rate_limit=RateLimit(1, burst=2)))
    assert [(await door.get("/api/v1/me", token="guess")).status for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize(
    ("target", "token", "status"),
    [("/me", None, 401), ("/report", "ann-token", 403), ("/nothing", None, 404), ("/inside", "ann-token", 404)],
)
async def test_refusals_are_limited_as_well(target: str, token: str | None, status: int) -> None:
    door = Door(Gateway(rate_limit=RateLimit(1, burst=2)))
    answers = [await door.get(f"/api/v1{target}", token=token) for _ in range(3)]
    assert [answer.status for answer in answers] == [status, status, 429]
    assert problem_code(answers[2]) == "resilience.rate-limited"
    assert header(answers[2], "retry-after") == "1"


async def test_wrong_methods_and_unreadable_requests_are_limited_as_well() -> None:
    door = Door(Gateway(rate_limit=RateLimit(1, burst=3)))
    statuses = [(await door.post("/api/v1/me", {})).status]
    statuses.append((await door.get("/api/v1/products/%zz")).status)
    statuses.append((await door.get("/api/v1/me", headers=[("archstone-deadline-ms", "soon")])).status)
    statuses.append((await door.post("/api/v1/me", {})).status)
    assert statuses == [405, 400, 400, 429]


async def test_health_is_never_limited() -> None:
    door = Door(Gateway(rate_limit=RateLimit(1, burst=1)))
    assert [(await door.get("/nothing")).status for _ in range(2)] == [404, 429]
    for method in ("GET", "GET", "POST", "POST"):
        answer = await ask(door.app, method, "/health/live")
        assert answer.status == (200 if method == "GET" else 405)


async def test_over_capacity_ordinary_requests_are_503_and_urgent_ones_pass() -> None:
    door = Door(Gateway(shed=Shed(2, reserve_ratio=0.5), urgent=(Shop.place,)))
    inside = asyncio.create_task(door.get("/api/v1/products/slow"))
    await asyncio.sleep(0.5)
    refused = await door.get("/api/v1/products/tea")
    assert (refused.status, problem_code(refused)) == (503, "resilience.overloaded")
    assert header(refused, "retry-after") == "1"
    assert (await door.post("/api/v1/orders", ORDER, token="ann-token", headers=[KEY])).status == 202
    assert (await door.get("/health/live")).status == 200
    assert (await inside).status == 200
    assert (await door.get("/api/v1/products/tea")).status == 200


async def test_a_late_loop_sheds_ordinary_requests() -> None:
    door = Door(Gateway(shed=Shed(10, max_lag_s=0.1)), lag=lambda: 0.5)
    assert (await door.get("/api/v1/products/tea")).status == 503


async def test_health_says_whether_it_lives_and_whether_it_is_ready() -> None:
    ready = (True, {"bus": "open"})
    door = Door(ready=lambda: ready)
    assert json.loads((await door.get("/health/live")).body) == {"status": "live"}
    assert json.loads((await door.get("/health/ready")).body) == {"status": "ready", "bus": "open"}
    ready = (False, {"bus": "closed"})
    answer = await door.get("/health/ready")
    assert (answer.status, json.loads(answer.body)) == (503, {"status": "not ready", "bus": "closed"})


async def test_metrics_count_requests_by_operation_and_status() -> None:
    door = Door()
    await door.get("/api/v1/products/tea")
    text = (await door.get("/metrics")).body.decode()
    assert 'archstone_http_requests_total{operation="Shop.product",status="200"}' in text
    assert 'archstone_http_request_seconds_bucket{operation="Shop.product"' in text


INSIDE = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")
OUTSIDE = ("192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1", "nowhere")
PASSED_ON = (("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-real-ip", "::1"), ("via", "1.1 p"))


async def test_metrics_are_for_this_machine_unless_a_proxy_has_passed_the_question_on() -> None:
    door = Door()
    for inside in INSIDE:
        assert (await door.get("/metrics", client=(inside, 1))).status == 200
    for outside in (*((each, 1) for each in OUTSIDE), None):
        answer = await door.get("/metrics", client=outside)
        assert (answer.status, problem_code(answer)) == (404, "http.no-such-route")
    for mark in PASSED_ON:
        assert (await door.get("/metrics", headers=[mark])).status == 404
    assert (await door.get("/docs", client=("192.0.2.1", 1))).status == 200


async def test_who_sees_metrics_and_documents_is_the_owners_to_say() -> None:
    async def seen(at: str, path: str, gateway: Gateway) -> int:
        return (await Door(gateway).get(path, client=(at, 1))).status

    assert await seen("10.1.2.3", "/metrics", Gateway(metrics_from=("10.0.0.0/8",))) == 200
    assert await seen("127.0.0.1", "/metrics", Gateway(metrics_from=("10.0.0.0/8",))) == 404
    assert await seen("192.0.2.1", "/metrics", Gateway(metrics_from=("*",))) == 200
    assert await seen("127.0.0.1", "/metrics", Gateway(metrics_from=())) == 404
    silent = Gateway(documents=False)
    for path in ("/docs", "/openapi.json"):
        assert await seen("127.0.0.1", path, silent) == 404
    page = await Door(silent).get("/", headers=[BROWSER])
    assert (b"/docs" in page.body, b"/metrics" in page.body) == (False, False)


@pytest.mark.parametrize("wrong", [("everybody",), ("*", "10.0.0.0/8"), ("",)])
def test_who_may_see_metrics_is_said_in_networks(wrong: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="metrics_from"):
        Gateway(metrics_from=wrong)


async def test_the_gateways_own_pages_take_get_only() -> None:
    answer = await ask(Door().app, "POST", "/health/live")
    assert (answer.status, header(answer, "allow")) == (405, "GET, HEAD")


async def test_a_request_is_a_server_span_in_the_trace_of_its_caller() -> None:
    door = Door()
    parent = f"00-{7:032x}-{9:016x}-01"
    with recorded() as spans:
        await door.get("/api/v1/products/tea", headers=[("traceparent", parent)])
        await door.get("/api/v1/me")
    first, second = spans
    assert (first.name, first.kind, first.trace_id, first.parent_id) == ("GET /api/v1/products/{sku}", "server", 7, 9)
    assert first.attributes["http.response.status_code"] == 200
    assert (second.status, second.attributes["http.response.status_code"]) == ("refused", 401)
    assert door.behind.calls[0].trace.span_id == first.span_id
    assert parse_traceparent(parent) is not None


async def test_an_answer_has_a_tag_and_is_not_sent_twice() -> None:
    door = Door()
    first = await door.get("/api/v1/products/tea?size=5000")
    tag = header(first, "etag")
    again = await door.get("/api/v1/products/tea?size=5000", headers=[("if-none-match", f'"other", {tag}')])
    assert (again.status, again.body, header(again, "etag")) == (304, b"", tag)
    assert header(again, "vary") == header(first, "vary") == "accept-encoding"
    assert header(again, "content-type") is None
    other = await door.get("/api/v1/products/tea?size=5001", headers=[("if-none-match", str(tag))])
    assert other.status == 200


async def test_answers_of_commands_and_errors_have_no_tag() -> None:
    door = Door()
    assert header(await door.post("/api/v1/visits", {"page": "x"}), "etag") is None
    assert header(await door.get("/api/v1/me"), "etag") is None


async def test_who_may_keep_an_answer_is_said() -> None:
    door = Door()
    assert header(await door.get("/api/v1/products/tea"), "cache-control") == "private, no-cache"
    assert header(await door.post("/api/v1/sessions", b""), "cache-control") == "no-store"
    assert header(await door.get("/api/v1/me"), "cache-control") == "no-store"


async def test_large_answers_are_packed_as_the_client_accepts() -> None:
    door = Door()
    target = "/api/v1/products/tea?size=5000"
    plain = await door.get(target)
    packed = await door.get(target, headers=[("accept-encoding", "gzip, deflate, br")])
    zipped = await door.get(target, headers=[("accept-encoding", "br;q=0, gzip")])
    assert (header(plain, "content-encoding"), header(plain, "vary")) == (None, "accept-encoding")
    assert (header(packed, "content-encoding"), brotli.decompress(packed.body)) == ("br", plain.body)
    assert (header(zipped, "content-encoding"), gzip.decompress(zipped.body)) == ("gzip", plain.body)
    assert header(plain, "etag") == header(packed, "etag") == header(zipped, "etag")


async def test_a_very_large_answer_is_packed_too() -> None:
    answer = await Door().get("/api/v1/products/tea?size=300000", headers=[("accept-encoding", "gzip")])
    assert len(gzip.decompress(answer.body)) == 300_005


async def test_small_answers_and_those_of_commands_are_not_packed() -> None:
    door = Door(Gateway(compress=Compress(min_bytes=20)))
    accept = ("accept-encoding", "gzip")
    assert header(await door.get("/api/v1/products/t?size=10", headers=[accept]), "content-encoding") is None
    assert header(await door.get("/api/v1/products/t?size=30", headers=[accept]), "content-encoding") == "gzip"
    visit = await door.post("/api/v1/visits", {"page": "x" * 100}, headers=[accept])
    assert header(visit, "content-encoding") is None


async def test_packing_can_be_switched_off() -> None:
    door = Door(Gateway(compress=None, rate_limit=None, shed=None))
    answer = await door.get("/api/v1/products/tea?size=5000", headers=[("accept-encoding", "gzip")])
    assert (header(answer, "content-encoding"), header(answer, "vary")) == (None, None)


async def test_a_client_that_hangs_up_gets_nothing_and_leaves_the_gate() -> None:
    door = Door(Gateway(shed=Shed(1, reserve_ratio=0)))
    asking = asyncio.create_task(door.get("/api/v1/products/slow"))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.sleep(0.1)
    assert (await door.get("/api/v1/products/tea")).status == 200


async def test_a_deadline_ends_a_query_with_504() -> None:
    begun_s = world.monotonic()
    answer = await Door().get("/api/v1/products/slow", headers=[("archstone-deadline-ms", "300")])
    assert answer.status == 504
    assert world.monotonic() - begun_s == pytest.approx(0.3)


def test_wrong_settings_are_told_when_the_gateway_is_made() -> None:
    with pytest.raises(SettingsError, match=r"prefix='api' must .*; body_limit_bytes=0 must .*; time_limit_s=nan"):
        Gateway(prefix="api", body_limit_bytes=0, time_limit_s=float("nan"))


def test_an_urgent_operation_must_be_public() -> None:
    with pytest.raises(ConfigError, match=r"Shop\.inside"):
        Gateway(urgent=(Shop.inside,)).build(GatewayParts(routes=[(each, Behind()) for each in operations(Shop)]))


TEXTS = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)
NAMES = st.sampled_from(
    ["authorization", "idempotency-key", "content-type", "content-length", "transfer-encoding", "accept-encoding",
     "if-none-match", "traceparent", "x-request-id", "archstone-deadline-ms", "archstone-correlation-id", "expect"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "X"]),
    path=st.sampled_from(["/api/v1/products/", "/api/v1/orders", "/api/v1/visits", "/api/v1/me", "/docs", "/"]),
    rest=TEXTS,
    headers=st.lists(st.tuples(NAMES, TEXTS), max_size=6),
    body=st.one_of(st.binary(max_size=60), st.sampled_from([b'{"page": "x"}', b'{"page": NaN}', b"[" * 5000])),
    json_type=st.booleans(),
)
async def test_nothing_that_a_client_sends_is_a_5xx(method, path, rest, headers, body, json_type) -> None:
    if json_type:
        headers = [*headers, ("content-type", "application/json")]
    app = Door(Gateway(rate_limit=None)).app
    answer = await ask(app, method, path + rest, headers=headers, body=body)
    assert 200 <= answer.status < 500 or (answer.status == 504 and "archstone-deadline-ms" in dict(headers))
    if answer.status >= 400:
        problem_code(answer)


BROWSER = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


async def test_a_person_who_opens_the_root_sees_what_this_is_and_where_to_go() -> None:
    door = Door(title="Depot & Co")
    answer = await door.get("/", headers=[BROWSER])
    assert (answer.status, header(answer, "vary")) == (200, "accept")
    assert header(answer, "content-type") == "text/html; charset=utf-8"
    assert "style-src 'sha256-" in (header(answer, "content-security-policy") or "")
    assert "Depot &amp; Co" in answer.body.decode()
    for path in ("/docs", "/openapi.json", "/health/ready"):
        assert f'href="{path}"' in answer.body.decode()
        assert (await door.get(path)).status == 200


async def test_a_person_who_opens_what_is_not_there_is_shown_the_way() -> None:
    answer = await Door().get("/nothing/<here>", headers=[BROWSER])
    assert answer.status == 404
    assert header(answer, "cache-control") == "no-store"
    assert b'href="/docs"' in answer.body
    assert b"<here>" not in answer.body


@pytest.mark.parametrize("path", ["/", "/nothing"])
@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/html;q=0", "text/html; q=0.0, */*", "text/htmlx", ""]
)
async def test_a_program_gets_a_problem_document_there(path: str, accept: str) -> None:
    answer = await Door().get(path, headers=[("accept", accept)])
    assert answer.status == 404
    assert problem_code(answer) == "http.no-such-route"
    assert header(answer, "vary") == "accept"


@pytest.mark.parametrize("accept", ["text/html", "TEXT/HTML;q=0.1", "a/b, text/html ; q=1", "text/html;q=0.01,*/*"])
async def test_whoever_names_html_is_taken_for_a_person(accept: str) -> None:
    assert header(await Door().get("/", headers=[("accept", accept)]), "content-type") == "text/html; charset=utf-8"


async def test_pages_mounted_at_the_root_come_before_the_page_of_the_gateway() -> None:
    async def pages(scope, receive, send) -> None:
        await Response(200, [(b"content-type", b"text/plain")], b"mine").send(send)

    answer = await Door(mounts={"": pages}).get("/", headers=[BROWSER])
    assert answer.body == b"mine"


async def test_a_command_to_a_path_that_is_not_there_gets_a_problem_document_from_a_browser_too() -> None:
    answer = await Door().post("/nothing", {}, headers=[BROWSER])
    assert problem_code(answer) == "http.no-such-route"


@pytest.mark.parametrize(
    ("mounted", "path", "taken"),
    [
        ("", "/api/v1/products/tea", False),
        ("", "/api/v1", True),
        ("", "/api/v10/products", True),
        ("", "/health/live", False),
        ("/api", "/api/v1/products/tea", False),
        ("/api", "/api/other", True),
        ("/api/v1", "/api/v1/products/tea", True),
        ("/api/v1/products", "/api/v1/products/tea", True),
        ("/api/v1/products", "/api/v1/visits/tea", False),
        ("/elsewhere", "/api/v1/products/tea", False),
    ],
)
async def test_of_two_who_claim_a_path_the_longer_prefix_has_it(mounted: str, path: str, taken: bool) -> None:
    async def pages(scope, receive, send) -> None:
        await Response(200, [(b"content-type", b"text/plain")], b"mounted").send(send)

    assert ((await Door(mounts={mounted: pages}).get(path)).body == b"mounted") is taken
