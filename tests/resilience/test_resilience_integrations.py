"""The middleware, the transport and the hook, in front of the real things."""

import asyncio
from datetime import timedelta
from email.utils import format_datetime

import pytest

from archstone import context, world
from archstone.resilience import (
    Breaker,
    Bulkhead,
    Circuit,
    CircuitOpenError,
    Exponential,
    OutOfTimeError,
    Policy,
    RateLimit,
    Retry,
    Shed,
    Timeout,
    within,
)
from archstone.resilience.asgi import Guarded

httpx = pytest.importorskip("httpx")
QUICK = Exponential(0.001, cap_s=0.001)


class Page:
    """An application that answers after a while."""

    def __init__(self) -> None:
        self.calls = 0
        self.left: list[float | None] = []

    async def __call__(self, scope, receive, send) -> None:
        self.calls += 1
        self.left.append(context.current().deadline_s)
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(float(scope["query_string"] or 0))
        if scope["path"] == "/circuit":
            raise CircuitOpenError("bank", "open", 2.2)
        if scope["path"] != "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})


def client(app) -> "httpx.AsyncClient":
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")


async def test_requests_pass_a_limit_by_key_and_hear_when_to_come_back() -> None:
    app = Guarded(Page(), limit=RateLimit(0.5, burst=2), key=lambda scope: scope["path"])
    async with client(app) as shop:
        assert [(await shop.get("/a")).status_code for _ in range(3)] == [200, 200, 429]
        refused = await shop.get("/a")
        assert (await shop.get("/b")).status_code == 200
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "2"
    assert refused.json()["type"] == "urn:archstone:error:resilience.rate-limited"
    assert app.app.calls == 3


async def test_requests_have_a_deadline_which_calls_inside_can_see() -> None:
    app = Guarded(Page(), timeout_s=2.0)
    async with client(app) as shop:
        assert (await shop.get("/?1.9")).status_code == 200
        late = await shop.get("/?9")
    assert (late.status_code, late.json()["type"]) == (504, "urn:archstone:error:resilience.out-of-time")
    assert app.app.left == [2.0, pytest.approx(1.9 + 2.0)]


async def test_a_bulkhead_makes_them_wait_and_shedding_refuses_the_ordinary_first() -> None:
    app = Guarded(
        Page(), shed=Shed(10, reserve_ratio=0.5), bulkhead=Bulkhead(2, max_waiting=100),
        priority=lambda scope: int(scope["path"] == "/pay"),
    )  # fmt: skip
    async with client(app) as shop:
        answers = await asyncio.gather(*[shop.get("/?1") for _ in range(8)], *[shop.get("/pay?1") for _ in range(8)])
    statuses = [answer.status_code for answer in answers]
    assert statuses[:8] == [200] * 5 + [503] * 3
    assert statuses[8:] == [200] * 5 + [503] * 3
    assert world.monotonic() == 5.0
    assert app.gate.in_flight == app.compartment.statistics().in_flight == 0


async def test_what_the_application_rejects_is_answered_alike() -> None:
    async with client(Guarded(Page())) as shop:
        answer = await shop.get("/circuit")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")


async def test_an_answer_that_has_begun_is_not_replaced() -> None:
    async with client(Guarded(Page(), timeout_s=1.0)) as shop:
        with pytest.raises(OutOfTimeError):
            await shop.get("/late?9")


async def test_other_scopes_pass_through() -> None:
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append(scope["type"])

    guarded = Guarded(app, shed=Shed(1), limit=RateLimit(1))
    for _ in range(3):
        await guarded({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"] * 3


class Host(httpx.AsyncBaseTransport):
    """Answers what it is told to, one request after another."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.requests = []
        self.closed = 0

    async def handle_async_request(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            return httpx.Response(answer[0], headers=answer[1], stream=self.Counted(self))
        return httpx.Response(answer, stream=self.Counted(self))

    class Counted(httpx.AsyncByteStream):
        def __init__(self, host) -> None:
            self.host = host

        async def __aiter__(self):
            yield b"body"

        async def aclose(self) -> None:
            self.host.closed += 1


def calling(host: Host, policy: Policy) -> "httpx.AsyncClient":
    from archstone.resilience.httpx import PolicyTransport

    return httpx.AsyncClient(transport=PolicyTransport(policy, host), base_url="http://bank")


def calm() -> Policy:
    return Policy(Retry(3, backoff=QUICK), Breaker(4, open_s=9.0))


@pytest.mark.parametrize("fault", [503, 429, httpx.ReadTimeout("slow"), httpx.ConnectError("refused")])
async def test_a_failed_request_is_sent_again(fault: object) -> None:
    host = Host(fault, 200)
    async with calling(host, calm()) as bank:
        answer = await bank.get("/")
        assert (answer.status_code, answer.text) == (200, "body")
    assert len(host.requests) == 2
    assert host.closed == 1 + isinstance(fault, int)


@pytest.mark.parametrize(
    ("fault", "headers", "sent"),
    [
        (503, {}, 1),
        (httpx.ReadTimeout("slow"), {}, 1),
        (httpx.ConnectError("refused"), {}, 2),
        (503, {"Idempotency-Key": "k"}, 2),
    ],
)
async def test_a_post_is_sent_again_only_where_that_is_safe(fault: object, headers: dict, sent: int) -> None:
    host = Host(fault, 200)
    async with calling(host, calm()) as bank:
        if isinstance(fault, httpx.ReadTimeout):
            with pytest.raises(httpx.ReadTimeout):
                await bank.post("/", json={}, headers=headers)
        else:
            answer = await bank.post("/", json={}, headers=headers)
            assert answer.status_code == (200 if sent == 2 else 503)
    assert len(host.requests) == sent


async def test_a_body_that_can_be_read_once_is_sent_once() -> None:
    async def parts():
        yield b"part"

    host = Host(503, 200)
    async with calling(host, calm()) as bank:
        assert (await bank.put("/", content=parts())).status_code == 503
    assert len(host.requests) == 1


@pytest.mark.parametrize("said", ["7", "date"])
async def test_retry_after_is_honoured(said: str) -> None:
    if said == "date":
        said = format_datetime(world.now() + timedelta(seconds=7), usegmt=True)
    async with calling(Host((503, {"Retry-After": said}), 200), calm()) as bank:
        assert (await bank.get("/")).status_code == 200
    assert 6.9 <= world.monotonic() <= 7.1


async def test_the_last_failing_answer_comes_out_as_an_answer_and_then_the_circuit_is_open() -> None:
    host, policy = Host(*[500] * 20), Policy(Retry(3, backoff=QUICK, patience_s=1.0), Breaker(4, open_s=9.0))
    async with calling(host, policy) as bank:
        assert (await bank.get("/")).status_code == 500
        with pytest.raises(CircuitOpenError, match="'bank'"):
            await bank.get("/")
        assert policy.bind("bank").part(Circuit).state == "open"
        assert (await bank.get("http://other/")).status_code == 500
    assert host.closed == len(host.requests)


async def test_a_time_limit_of_the_policy_ends_a_request() -> None:
    class Hangs(Host):
        async def handle_async_request(self, request):
            await asyncio.sleep(100)

    async with calling(Hangs(), Policy(Timeout(2.0), Breaker(1))) as bank:
        with pytest.raises(OutOfTimeError):
            await bank.get("/")
        with pytest.raises(CircuitOpenError):
            await bank.get("/")


async def test_an_engine_stands_behind_a_circuit_and_deadlines(tmp_path) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from archstone.resilience.sqlalchemy import guard

    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/none/orders.db", poolclass=sqlalchemy.NullPool)
    circuit = Breaker(2, open_s=5.0).bind("orders database")
    guard(engine, circuit)
    for _ in range(2):
        with pytest.raises(sqlalchemy.exc.OperationalError):
            engine.connect()
    with pytest.raises(CircuitOpenError, match="orders database"):
        engine.connect()
    (tmp_path / "none").mkdir()
    await asyncio.sleep(5.0)
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT 1")) == 1
        async with within(1.0):
            assert connection.scalar(sqlalchemy.text("SELECT 2")) == 2
        with context.enter(context.Call(deadline_s=world.monotonic())), pytest.raises(OutOfTimeError) as raised:
            connection.scalar(sqlalchemy.text("SELECT 3"))
    assert not raised.value.begun
    assert circuit.state == "closed"
    engine.dispose()
