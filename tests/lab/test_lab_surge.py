"""A whole surge over real sockets, against a server whose answers and delays are known."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from archstone.cli.surge import is_broken
from archstone.errors import ConfigError
from archstone.lab import Answer, LabError, Shot, WireAnswer
from archstone.lab.connection import Target, dialer
from archstone.lab.http import Http
from archstone.lab.surge import SurgeSettings, load_of, run

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"


def ok(body: bytes, *more: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (b"".join(more), len(body), body)


class Server:
    """Answers by path: /slow after 200 ms, /shed with 503, /half and is gone, /once and closes, all others at once."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self._left = 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1]
                length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
                body = await reader.readexactly(int(length[0].split()[1])) if length else b""
                self.seen.append(path)
                writer.write(await self._answer(path, body))
                if path in {b"/half", b"/once"}:
                    break
        writer.close()

    async def _answer(self, path: bytes, body: bytes) -> bytes:
        if path == b"/slow":
            await asyncio.sleep(0.2)
        if path == b"/shed":
            return REFUSAL
        if path == b"/half":
            return ok(b"whole")[:-2]
        if path == b"/once":
            return ok(b"{}", b"Connection: close\r\n")
        if path == b"/busy" and self._left:
            self._left -= 1
            return REFUSAL
        return ok(b'{"got": %d}' % len(body))


class Visits:
    """One in ten buys, one in ten is shed, the others are slow."""

    def __init__(self) -> None:
        self.kept: Sequence[Any] = ()

    async def prepare(self, http: Http, *, rate_per_s: float, tell) -> Sequence[bytes]:
        assert await http.ask("GET", "/busy") == (200, {"got": 0})
        tell(f"ready for {rate_per_s:g}")
        return [b"Authorization: Bearer a\r\n", b"Authorization: Bearer b\r\n"]

    def shots(self, *, rate_per_s: float, duration_s: float, chance: Random) -> list[Shot]:
        found = []
        for number in range(int(rate_per_s * duration_s)):
            at_s, turn = number / rate_per_s, number % 10
            if turn == 0:
                found.append(Shot(at_s, "buy", b"POST /buy HTTP/1.1\r\n", turn % 2, b"{}", number))
            else:
                path = b"shed" if turn == 1 else b"once" if turn == 2 else b"slow"
                found.append(Shot(at_s, "look", b"GET /%s HTTP/1.1\r\n" % path, turn % 2))
        return found

    async def settle(self, http: Http, kept: Sequence[Any]) -> dict[str, Any]:
        self.kept = kept
        return {"oversold": 0}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.real_time
async def test_a_surge_counts_what_was_due_by_what_became_of_it(url: str) -> None:
    told: list[tuple[str, Any]] = []
    visits = Visits()
    settings = SurgeSettings(
        system="known", traffic="-", url=url, rps=20, times=10, base_s=1, surge_s=1, recovery_s=2, connections=64
    )
    report = await run(settings, visits, lambda name, what: told.append((name, what)))
    base, surge, after = report["phases"]
    assert [phase["all"]["due"] for phase in (base, surge, after)] == [20, 200, 40]
    assert surge["kinds"]["look"]["shed"] == 20
    assert surge["kinds"]["buy"]["ok"] == 20
    assert surge["all"]["ok"] + surge["all"]["late"] == 180
    assert surge["all"]["p50"] >= 200, "nothing is quicker than its server"
    assert len(visits.kept) == 26
    assert visits.kept[0] == (0, b'{"got": 2}')
    assert report["outcome"] == {"oversold": 0}
    assert report["health"]["/health/live"]["failed"] == 0
    assert report["health"]["/health/ready"]["asked"] > 10
    assert ("note", "ready for 200") in told
    assert "progress" in dict(told)


class ManyVisits(Visits):
    """Every second one comes by a way of its own; one thing can be chosen, and one must never be."""

    never = ("doubled",)

    def __init__(self) -> None:
        super().__init__()
        self.chosen: dict[str, str] = {}
        self.is_open = False

    def choose(self, options: Mapping[str, str]) -> None:
        self.chosen = {**options}

    @asynccontextmanager
    async def ways(self, url: str) -> AsyncGenerator[Mapping[str, "ManyVisits"]]:
        self.is_open = True
        yield {url: self}
        self.is_open = False

    def send(self, body: bytes, answer: Answer) -> None:
        answer(WireAnswer(200 if self.is_open else 0, body, retry_after=False, begun=True))

    def shots(self, *, rate_per_s: float, duration_s: float, chance: Random) -> list[Shot]:
        shots = super().shots(rate_per_s=rate_per_s, duration_s=duration_s, chance=chance)
        return [
            each._replace(kind="own", way=self.chosen["url"], note=n) if n % 2 else each for n, each in enumerate(shots)
        ]

    async def settle(self, http: Http, kept: Sequence[Any]) -> dict[str, Any]:
        assert self.is_open
        return {"doubled": 2, "oversold": 1}


@pytest.mark.real_time
async def test_a_load_may_go_by_other_ways_choose_and_promise(url: str) -> None:
    visits = ManyVisits()
    settings = SurgeSettings(
        system="known", traffic="-", url=url, rps=20, times=2, base_s=1, surge_s=1, recovery_s=2, options={"url": url}
    )
    report = await run(settings, visits, lambda *_: None)
    assert report["phases"][1]["kinds"]["own"]["ok"] == 20
    assert not visits.is_open
    assert report["never"] == ["doubled"]
    assert is_broken(report)
    assert not is_broken({**report, "outcome": {"doubled": 0, "oversold": 1}})


async def test_what_cannot_be_chosen_is_told_before_anything_is_sent() -> None:
    settings = SurgeSettings(system="known", traffic="-", url="http://127.0.0.1:1", options={"binary": "here"})
    with pytest.raises(ConfigError, match="--set binary: nothing can be chosen about this load model"):
        await run(settings, Visits(), lambda *_: None)


@pytest.mark.real_time
async def test_half_an_answer_is_a_broken_one(url: str) -> None:
    target = Target.of(url)
    line = await dialer(target)()
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    line.send(b"GET /half HTTP/1.1\r\n\r\n", answered.set_result, want_body=True)
    answer = await answered
    assert (answer.status, answer.begun, line.alive) == (0, True, False)


@pytest.mark.real_time
async def test_a_target_that_is_not_there_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archstone.lab.http._PATIENCE_S", 0.1)
    with pytest.raises(LabError, match="a broken connection for"):
        await Http(dialer(Target("127.0.0.1", 1, tls=False)), "x").ask("GET", "/")


@pytest.mark.real_time
async def test_a_surge_at_nobody_says_so_before_it_prepares_anything() -> None:
    settings = SurgeSettings(system="s", traffic="-", url="http://127.0.0.1:1")
    told: list[str] = []
    with pytest.raises(LabError, match=r"nobody listens at http://127\.0\.0\.1:1: start the system"):
        await run(settings, Visits(), lambda name, _: told.append(name))
    assert told == []


@pytest.mark.parametrize("wrong", ["shop", "ftp://x", "http://", "http://x/y", "http://x:99999", "http://[::1"])
def test_a_url_that_names_no_server_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="write http://host:port"):
        Target.of(wrong)


def test_a_url_names_host_and_port() -> None:
    assert Target.of("http://[::1]:81/") == ("::1", 81, False)
    assert Target.of("http://[::1]:81/").authority == "[::1]:81"
    assert Target.of("https://shop.example") == ("shop.example", 443, True)


@pytest.mark.parametrize("module", ["no.such.module", "archstone.lab.no_such", "archstone.errors"])
def test_a_system_without_a_load_model_is_told_what_it_needs(module: str) -> None:
    with pytest.raises(ConfigError, match="no load model: module"):
        load_of(module)


@pytest.mark.real_time
async def test_a_surge_is_bounded() -> None:
    settings = SurgeSettings(system="s", traffic="-", url="http://x", rps=1000, times=100)
    with pytest.raises(ConfigError, match="1,000,000 at most"):
        await run(settings, Visits(), lambda *_: None)
