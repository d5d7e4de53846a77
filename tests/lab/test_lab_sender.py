"""The open loop on virtual time, against lines with known delays."""

import asyncio
from collections.abc import Callable

import pytest

from archstone import world
from archstone.errors import ConfigError
from archstone.lab.connection import Answer, WireAnswer
from archstone.lab.record import Record, outcome_of
from archstone.lab.sender import Limits, Sender
from archstone.lab.shot import Shot


class FakeLine:
    """A line that answers after a delay of its server's."""

    def __init__(self, server: "FakeServer") -> None:
        self.server, self.alive, self.answer = server, True, None

    def send(self, data: bytes, answer: Answer, *, want_body: bool) -> None:
        assert self.alive
        self.answer = answer
        self.server.sent.append((world.monotonic(), data))
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(self.server.delay_s(len(self.server.sent)), self._come)

    def _come(self) -> None:
        answer, self.answer = self.answer, None
        found = self.server.answer(len(self.server.sent))
        if found.status == 0:
            self.alive = False
        if answer is not None:
            answer(found)

    def close(self) -> None:
        self.alive, self.answer = False, None
        self.server.closed += 1


class FakeServer:
    def __init__(self, delay_s: Callable[[int], float], answers: dict[int, WireAnswer] | None = None) -> None:
        self.delay_s, self.answers = delay_s, answers or {}
        self.sent: list[tuple[float, bytes]] = []
        self.lines: list[FakeLine] = []
        self.closed = 0
        self.down = False

    def answer(self, number: int) -> WireAnswer:
        return self.answers.get(number, WireAnswer(200, b"{}", retry_after=False, begun=True))

    async def dial(self) -> FakeLine:
        if self.down:
            raise ConnectionRefusedError
        await asyncio.sleep(0)
        self.lines.append(FakeLine(self))
        return self.lines[-1]


def shots(count: int, every_s: float, **more: object) -> list[Shot]:
    return [Shot(n * every_s, "browse", b"GET / HTTP/1.1\r\n", 0, **more) for n in range(count)]


class FakeWay:
    """Answers each request after half a second, until it ends."""

    def __init__(self, ends_after: int = 1_000) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self.ends_after = ends_after

    def send(self, body: bytes, answer: Answer) -> None:
        self.sent.append((world.monotonic(), body))
        status = 200 if len(self.sent) <= self.ends_after else 0
        told = WireAnswer(status, b"told", retry_after=False, begun=True)
        asyncio.get_running_loop().call_later(0.5, answer, told)


async def sent(server: FakeServer, what: list[Shot], **limits: float) -> tuple[Record, Sender]:
    record = Record()
    sender = Sender(server.dial, host="x", senders=[b"A: b\r\n"], record=record, limits=Limits(**limits))
    await sender.run(what)
    return record, sender


async def test_requests_go_out_when_they_are_due_whatever_comes_back() -> None:
    server = FakeServer(lambda _: 0.5)
    began_s = world.monotonic()
    record, _ = await sent(server, shots(100, 0.01))
    assert [at_s - began_s for at_s, _ in server.sent] == pytest.approx([n * 0.01 for n in range(100)], abs=0.002)
    assert len(server.lines) == pytest.approx(50, abs=2)
    total = record.sum(range(2))
    assert total.outcomes == {"ok": 100}
    assert total.served.quantile_s(0.5) == pytest.approx(0.5, rel=0.02)
    assert server.sent[0][1] == b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n"


async def test_a_stall_is_seen_by_all_that_were_due_in_it() -> None:
    # One connection, a hundred a second, and one answer that takes a second: a closed loop would see one slow answer.
    server = FakeServer(lambda number: 1.0 if number == 50 else 0.001)
    record, _ = await sent(server, shots(300, 0.01), connections=1, send_within_s=5)
    total = record.sum(range(3))
    assert total.outcomes["ok"] == 300
    slow = [ratio / 100 for ratio in range(50, 100) if (total.served.quantile_s(ratio / 100) or 0) > 0.1]
    assert len(slow) > 25
    assert record.lags.max_s > 0.9


async def test_what_finds_no_connection_in_time_was_not_sent() -> None:
    server = FakeServer(lambda _: 10)
    record, _ = await sent(server, shots(10, 0.01), connections=3, send_within_s=0.5, timeout_s=2)
    assert record.sum([0]).outcomes == {"not_sent": 7, "timeout": 3}
    assert server.closed == 3
    assert len(server.sent) == 3


async def test_what_names_a_way_goes_out_there_when_it_is_due_however_many_wait_for_answers() -> None:
    server, way, record = FakeServer(lambda _: 0.001), FakeWay(ends_after=90), Record()
    sender = Sender(server.dial, host="x", senders=[], record=record, limits=Limits(connections=1), ways={"own": way})
    began_s = world.monotonic()
    await sender.run([Shot(n * 0.01, "own", b"", 0, b"%d" % n, n, "own") for n in range(100)])
    cell = record.sum(range(3), "own")
    assert (cell.outcomes["ok"], cell.outcomes["broken"]) == (90, 10)
    assert [body for _, body in way.sent] == [b"%d" % n for n in range(100)]
    assert all(at_s - began_s == pytest.approx(n * 0.01, abs=0.003) for n, (at_s, _) in enumerate(way.sent))
    assert sender.kept == [(n, b"told") for n in range(90)]
    assert server.lines == []


async def test_a_way_that_does_not_answer_in_time_is_given_up() -> None:
    way, record = FakeWay(), Record()
    limits = Limits(late_after_s=0.1, timeout_s=0.2)
    sender = Sender(FakeServer(lambda _: 0).dial, host="x", senders=[], record=record, limits=limits, ways={"own": way})
    await sender.run([Shot(0, "own", b"", 0, b"", None, "own")])
    await asyncio.sleep(1)
    assert record.sum(range(1), "own").outcomes == {"timeout": 1}


async def test_late_answers_count_as_late() -> None:
    record, _ = await sent(FakeServer(lambda number: 1.5 if number % 2 else 0.1), shots(1, 1), late_after_s=1)
    assert record.sum([0]).outcomes == {"late": 1}


async def test_a_kept_connection_that_had_ended_is_no_failure_but_one_that_breaks_an_answer_is() -> None:
    gone = WireAnswer(0, b"", retry_after=False, begun=False)
    server = FakeServer(lambda _: 0.001, {2: gone, 4: gone._replace(begun=True)})
    record, _ = await sent(server, shots(4, 0.1))
    assert record.sum([0]).outcomes == {"ok": 3, "broken": 1}
    assert len(server.sent) == 5


async def test_a_server_that_is_gone_ends_the_run() -> None:
    server = FakeServer(lambda _: 0)
    server.down = True
    record, _ = await sent(server, shots(100, 0.01), send_within_s=0.2)
    assert record.sum([0]).outcomes == {"not_sent": 100}


async def test_bodies_are_kept_of_good_answers_that_were_noted() -> None:
    bad = WireAnswer(409, b"no", retry_after=False, begun=True)
    server = FakeServer(lambda _: 0.001, {2: bad})
    _, sender = await sent(server, [*shots(1, 1, note="mine"), *shots(1, 1, note="second")][:1])
    assert sender.kept == [("mine", b"{}")]


@pytest.mark.parametrize(
    ("status", "took_s", "retry_after", "outcome"),
    [
        (200, 1.0, False, "ok"),
        (202, 1.1, False, "late"),
        (304, 0.1, False, "ok"),
        (404, 0.1, False, "refused"),
        (429, 0.1, False, "limited"),
        (503, 0.1, True, "shed"),
        (503, 0.1, False, "shed_mute"),
        (500, 0.1, False, "failed"),
        (0, 0.1, False, "broken"),
    ],
)
def test_an_answer_counts_as_what_it_is(status: int, took_s: float, retry_after: bool, outcome: str) -> None:
    assert outcome_of(status, took_s, late_after_s=1.0, retry_after=retry_after) == outcome


def test_bounds_that_make_no_sense_are_refused_together() -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(connections=0, send_within_s=0, late_after_s=float("nan"), timeout_s=-1)
    for name in ("connections", "send_within_s", "late_after_s", "timeout_s"):
        assert name in str(caught.value)
