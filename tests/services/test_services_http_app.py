"""The thin ASGI application, driven in memory on virtual time."""

import asyncio
import json

import pytest
from services_http_subject import JSON, KEY, ORDER, Behind, OpenCodec, app_of, document

from archstone import world
from archstone.context import NOBODY, Principal, Trace
from archstone.errors import ConfigError
from archstone.services.http import ContractApp, ask, read_with


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def app(behind: Behind) -> ContractApp:
    return app_of(behind, prefix="/api", strict=True)


async def test_a_query_takes_its_arguments_from_path_and_query_string(app, behind) -> None:
    answer = await ask(app, "GET", "/api/stock/tea%2Fpot%20%C3%BC?least=7&tags=a&tags=b+c")
    assert (answer.status, json.loads(answer.body)) == (200, {"sku": "tea/pot ü", "free": 7})
    assert behind.calls[0][1] == {"sku": "tea/pot ü", "least": 7, "tags": ("a", "b c")}


async def test_a_command_takes_its_arguments_from_the_body_and_answers_with_its_status(app) -> None:
    answer = await ask(app, "POST", "/api/reservations", headers=[JSON, KEY], body=ORDER)
    assert (answer.status, json.loads(answer.body)) == (201, {"sku": "o1", "free": 2})


async def test_a_body_may_come_in_parts(app) -> None:
    answer = await ask(app, "POST", "/api/reservations", headers=[JSON, KEY], body=[ORDER[:9], b"", ORDER[9:]])
    assert answer.status == 201


async def test_an_answer_without_content_has_no_body_and_no_length(app) -> None:
    answer = await ask(app, "DELETE", "/api/reservations/o1")
    assert (answer.status, answer.body, answer.headers) == (204, b"", [])


async def test_a_literal_path_wins_over_a_parameter(app) -> None:
    answer = await ask(app, "GET", "/api/stock/all?size=2")
    assert len(json.loads(answer.body)) == 2


async def test_head_answers_like_get(app) -> None:
    assert (await ask(app, "HEAD", "/api/stock/kettle")).status == 200


@pytest.mark.parametrize("path", ["/", "/api/", "/api/stock", "/api/stock/", "/stock/a", "/api/stock/a/b", "/x"])
async def test_an_unknown_path_is_404(app, path: str) -> None:
    answer = await ask(app, "GET", path)
    assert (answer.status, document(answer)["type"]) == (404, "urn:archstone:error:http.no-such-route")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "DELETE", "WHATEVER"])
async def test_another_method_is_405_and_says_which_there_are(app, method: str) -> None:
    answer = await ask(app, method, "/api/stock/a")
    assert answer.status == 405
    assert dict(answer.headers)[b"allow"] == b"GET, HEAD"
    document(answer)


async def test_a_declared_error_carries_its_arguments(app) -> None:
    told = document(await ask(app, "GET", "/api/stock/none"))
    del told["instance"]
    assert told == {
        "type": "urn:archstone:error:http-test.out-of-stock",
        "title": "There is not enough of it",
        "status": 409,
        "detail": "only 0 of 'none' are left",
        "args": {"sku": "none", "free": 0},
    }


@pytest.mark.parametrize("sku", ["bug", "wrong"])
async def test_what_nobody_foresaw_is_500_and_tells_nothing(app, sku: str) -> None:
    answer = await ask(app, "GET", f"/api/stock/{sku}")
    assert (answer.status, document(answer)["type"]) == (500, "urn:archstone:error:archstone.remote")


async def test_every_fault_of_the_arguments_is_told_at_once(app) -> None:
    body = b'{"order_id": 5, "lines": [{"sku": "", "quantity": -1}], "extra": true}'
    answer = await ask(app, "POST", "/api/reservations", headers=[JSON, KEY], body=body)
    assert answer.status == 400
    assert [fault["where"] for fault in document(answer)["errors"]] == [
        "body.order_id",
        "body.lines.0.sku",
        "body.lines.0.quantity",
        "body.extra",
    ]


async def test_between_services_unknown_fields_are_ignored(behind) -> None:
    body = ORDER[:-1] + b', "new": 1}'
    answer = await ask(app_of(behind), "POST", "/reservations", headers=[JSON, KEY], body=body)
    assert answer.status == 201


BAD_BODIES = {
    "broken": b'{"order_id": ',
    "empty": b"",
    "null": b"null",
    "an array": b"[]",
    "a text": b'"x"',
    "no utf-8": b'{"order_id": "\xff", "lines": []}',
    "a lone surrogate": b'{"order_id": "\\ud800", "lines": []}',
    "NaN": b'{"order_id": "a", "lines": [], "weight": NaN}',
    "infinity": b'{"order_id": "a", "lines": [], "weight": Infinity}',
    "a number beyond all floats": b'{"order_id": "a", "lines": [], "weight": 1e999}',
    "NaN for an integer": b'{"order_id": "a", "lines": [{"sku": "a", "quantity": NaN}]}',
    "a huge quantity": b'{"order_id": "a", "lines": [{"sku": "a", "quantity": 1' + b"0" * 5000 + b"}]}",
    "a negative quantity": b'{"order_id": "a", "lines": [{"sku": "a", "quantity": -2}]}',
    "wrong types": b'{"order_id": ["a"], "lines": {"sku": "a"}}',
    "deep nesting": b'{"order_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep unknown": b'{"order_id": "a", "lines": [], "x": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    "trailing": ORDER + b"{}",
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_400(app, behind, name: str) -> None:
    answer = await ask(app, "POST", "/api/reservations", headers=[JSON, KEY], body=BAD_BODIES[name])
    assert answer.status == 400
    document(answer)
    assert behind.calls == []


@pytest.mark.parametrize("quantity", ["2", "2.0", "2e0", "0.2E1"])
async def test_a_whole_number_may_be_written_with_a_point(app, quantity: str) -> None:
    body = f'{{"order_id": "2.0", "lines": [{{"sku": "a", "quantity": {quantity}}}]}}'.encode()
    answer = await ask(app, "POST", "/api/reservations", headers=[JSON, KEY], body=body)
    assert (answer.status, json.loads(answer.body)) == (201, {"sku": "2.0", "free": 2})


@pytest.mark.parametrize("quantity", ["2.5", "1e999", '"2"', "2.0e3"])
async def test_another_number_is_still_refused(app, quantity: str) -> None:
    body = f'{{"order_id": "a", "lines": [{{"sku": "a", "quantity": {quantity}}}]}}'.encode()
    assert (await ask(app, "POST", "/api/reservations", headers=[JSON, KEY], body=body)).status == 400


@pytest.mark.parametrize(
    "target",
    ["/api/stock/%", "/api/stock/%zz", "/api/stock/%ff", "/api/stock/a?least=%f", "/api/stock/a?%ff=1",
     "/api/stock/a?least=x", "/api/stock/a?least=1&least=2", "/api/stock/a?unknown=1", "/api/stock/a?" + "a&" * 500,
     "/api/stock/a?least=", "/api/stock/\xff", "/api/stock/a?least=1" + "0" * 5000],
)  # fmt: skip
async def test_a_bad_path_or_query_string_is_400(app, target: str) -> None:
    answer = await ask(app, "GET", target)
    assert answer.status == 400
    document(answer)


BAD_HEADERS = {
    "key of spaces": ([("idempotency-key", "a b")], 400),
    "empty key": ([("idempotency-key", "")], 400),
    "long key": ([("idempotency-key", "k" * 256)], 400),
    "two keys": ([KEY, KEY], 400),
    "two lengths": ([KEY, ("content-length", "5"), ("content-length", "6")], 400),
    "length and chunks": ([KEY, ("content-length", "5"), ("transfer-encoding", "chunked")], 400),
    "negative length": ([KEY, ("content-length", "-5")], 400),
    "length in words": ([KEY, ("content-length", "five")], 400),
    "length with plus": ([KEY, ("content-length", "+5")], 400),
    "huge length": ([KEY, ("content-length", "9" * 400)], 400),
    "deadline in words": ([KEY, ("archstone-deadline-ms", "soon")], 400),
    "negative deadline": ([KEY, ("archstone-deadline-ms", "-1")], 400),
    "one huge header": ([KEY, ("x-large", "x" * 40_000)], 431),
    "many headers": ([KEY, *((f"x-{number}", "1") for number in range(200))], 431),
    "no key": ([], 400),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
async def test_a_bad_header_is_refused(app, behind, name: str) -> None:
    headers, status = BAD_HEADERS[name]
    answer = await ask(app, "POST", "/api/reservations", headers=[JSON, *headers], body=ORDER)
    assert answer.status == status
    document(answer)
    assert behind.calls == []


async def test_a_missing_key_has_a_code_of_its_own(app) -> None:
    answer = await ask(app, "POST", "/api/reservations", headers=[JSON], body=ORDER)
    assert document(answer)["type"] == "urn:archstone:error:services.key-missing"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonish", "json"])
async def test_another_content_type_is_415(app, kind: str) -> None:
    answer = await ask(app, "POST", "/api/reservations", headers=[KEY, ("content-type", kind)], body=ORDER)
    assert answer.status == 415
    document(answer)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.shop+json", "Application/JSON"])
async def test_every_form_of_json_is_taken(app, kind: str) -> None:
    answer = await ask(app, "POST", "/api/reservations", headers=[KEY, ("content-type", kind)], body=ORDER)
    assert answer.status == 201


async def test_a_packed_body_is_415(app) -> None:
    headers = [JSON, KEY, ("content-encoding", "gzip")]
    assert (await ask(app, "POST", "/api/reservations", headers=headers, body=ORDER)).status == 415


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_of_ten_megabytes_is_413(app, declared: bool) -> None:
    parts = [b"x" * 65_536] * 160
    headers = [JSON, KEY, *([("content-length", str(65_536 * 160))] if declared else [])]
    answer = await ask(app, "POST", "/api/reservations", headers=headers, body=parts)
    assert answer.status == 413
    assert (b"connection", b"close") in answer.headers
    document(answer)


async def test_the_longest_body_passes_and_one_byte_more_does_not(behind) -> None:
    app = app_of(behind, body_limit_bytes=len(ORDER))
    assert (await ask(app, "POST", "/reservations", headers=[JSON, KEY], body=ORDER)).status == 201
    assert (await ask(app, "POST", "/reservations", headers=[JSON, KEY], body=ORDER + b" ")).status == 413
    assert (await ask(app, "POST", "/reservations", headers=[JSON, KEY], body=[ORDER, b" "])).status == 413


async def test_a_body_in_chunks_without_end_is_given_up(app) -> None:
    sent = 0

    async def receive() -> dict:
        nonlocal sent
        sent += 65_536
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    answer = await driven(app, receive)
    assert answer["status"] == 413
    assert sent < 32 * 1024 * 1024


async def test_a_body_that_does_not_come_is_given_up_at_the_time_limit(app) -> None:
    begun_s = world.monotonic()
    answer = await driven(app, asyncio.Event().wait)
    assert answer["status"] == 408
    assert world.monotonic() - begun_s == pytest.approx(30.0)


async def test_a_client_that_hangs_up_within_its_body_gets_no_answer(app, behind) -> None:
    async def receive() -> dict:
        return {"type": "http.disconnect"}

    assert await driven(app, receive) is None
    assert behind.calls == []


async def driven(app: ContractApp, receive) -> dict | None:
    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http", "method": "POST", "path": "/api/reservations", "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"idempotency-key", b"k")],
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0] if sent else None


async def test_the_call_carries_what_the_headers_say(behind) -> None:
    app = app_of(behind, principal=read_with(OpenCodec()))
    headers = [
        ("archstone-principal", "ann|customer"),
        ("archstone-deadline-ms", "1500"),
        ("traceparent", f"00-{5:032x}-{6:016x}-01"),
        ("archstone-correlation-id", "request-9"),
        ("idempotency-key", "key-9"),
    ]
    await ask(app, "POST", "/notes", headers=[JSON, *headers], body=b'{"text": "hello"}')
    call = behind.calls[0][2]
    assert call.principal == Principal("ann", frozenset({"customer"}))
    assert call.deadline_s == pytest.approx(world.monotonic() + 1.5)
    assert (call.trace, call.key, call.correlation_id) == (Trace(5, 6, sampled=True), "key-9", "request-9")


async def test_a_caller_cannot_ask_for_more_time_than_the_server_gives(behind) -> None:
    await ask(app_of(behind, time_limit_s=3.0), "GET", "/me", headers=[("archstone-deadline-ms", "999999999")])
    assert behind.calls[0][2].deadline_s == pytest.approx(world.monotonic() + 3.0)


async def test_bad_trace_and_correlation_are_passed_over(app, behind) -> None:
    headers = [("traceparent", "00-zz"), ("archstone-correlation-id", "a b\x7f"), ("x-any", "\xff")]
    assert (await ask(app, "GET", "/api/stock/a", headers=headers)).status == 200
    assert behind.calls[0][2][2:5] == (None, None, None)
    assert behind.calls[0][2].principal == NOBODY


async def test_a_principal_that_nobody_wrote_is_403(behind) -> None:
    app = app_of(behind, principal=read_with(OpenCodec()))
    answer = await ask(app, "GET", "/me", headers=[("archstone-principal", "forged")])
    assert answer.status == 403


async def test_a_query_beyond_its_deadline_is_504_and_cancelled(app, behind) -> None:
    answer = await ask(app, "GET", "/api/stock/slow", headers=[("archstone-deadline-ms", "250")])
    assert answer.status == 504
    document(answer)
    assert behind.cancelled == ["stock"]


async def test_a_query_whose_client_hangs_up_is_cancelled(app, behind) -> None:
    asking = asyncio.create_task(ask(app, "GET", "/api/stock/slow"))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.sleep(0.1)
    assert behind.cancelled == ["stock"]


async def test_a_command_whose_client_hangs_up_runs_on(app, behind) -> None:
    body = ORDER.replace(b"o1", b"slow")
    asking = asyncio.create_task(ask(app, "POST", "/api/reservations", headers=[JSON, KEY], body=body))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.sleep(10)
    assert [name for name, _, _ in behind.calls] == ["reserve"]
    assert behind.cancelled == []


async def test_mounted_below_a_root_path_it_answers_as_ever(app) -> None:
    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http", "method": "GET", "path": "/shop/api/stock/kettle", "root_path": "/shop", "query_string": b"",
        "headers": [],
    }  # fmt: skip
    await app(scope, asyncio.Event().wait, send)
    assert sent[0]["status"] == 200


def test_two_operations_on_one_path_are_refused_when_built(behind) -> None:
    with pytest.raises(ConfigError, match=r"Depot\.stock and Depot\.stock both claim GET /stock/\{sku\}"):
        ContractApp([(app_operation, behind) for app_operation in twice()])


def twice():
    from services_http_subject import BY_NAME

    return [BY_NAME["stock"], BY_NAME["stock"]]


async def test_the_lifespan_protocol_is_answered(app) -> None:
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict:
        return inbox.pop(0)

    async def send(message) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_time_for_a_body_counts_once_for_all_its_parts(behind) -> None:
    app = app_of(behind, prefix="/api", strict=True, time_limit_s=3.0)

    async def slow(scope, receive, send) -> None:
        async def late():
            await asyncio.sleep(2.0)
            return await receive()

        await app(scope, late, send)

    begun_s = world.monotonic()
    answer = await ask(slow, "POST", "/api/reservations", headers=[JSON, KEY], body=[ORDER[:9], ORDER[9:]])
    assert (answer.status, document(answer)["type"]) == (408, "urn:archstone:error:http.body-late")
    assert world.monotonic() - begun_s == pytest.approx(3.0, abs=0.1)
    assert behind.calls == []
