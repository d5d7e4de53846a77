"""What an operator may do through the console, who is one, and the figures of a run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest

from archstone.context import Principal
from archstone.data import Event
from archstone.errors import ConfigError, DeniedError, NotFoundError, RejectedError
from archstone.gateway import Figures
from archstone.observability import Registry
from archstone.resilience import Exponential, Retry
from archstone.runtime import running
from archstone.runtime.console.meters import Meters
from archstone.runtime.embedded import Embedded
from archstone.sagas import SagaNotCancellableError, saga
from archstone.services import ANYONE, Contract, Service, System, command, on

ANN = Principal("ann", frozenset({"admin"}))
BOB = Principal("bob", frozenset({"customer"}))
LATER = Retry(9, backoff=Exponential(500, factor=1, cap_s=500), on=(Exception,))


class Rung(Event, name="bell.rung", version=1, key="who"):
    who: str


class Bell(Contract, version="1.0"):
    @command("/rings", public=True, requires=ANYONE, key_required=False)
    async def ring(self, who: str) -> int:
        """Ring."""
        ...

    @command("/strikes", public=True, requires=ANYONE, key_required=False)
    async def strike(self, who: str) -> int:
        """Strike, which takes several steps."""
        ...


class BellService(Service, Bell, name="bell"):
    deaf = False
    stuck = False
    done: ClassVar[list[str]] = []

    async def ring(self, who: str) -> int:
        self.tx.publish(Rung(who=who))
        return 1

    async def strike(self, who: str) -> int:
        await self.tx.start(self.striking, who, id=who)
        return 1

    @saga(version=1)
    async def striking(self, who: str) -> None:
        await self.step(self.lift, who, undo=(self.lower, who))
        await self.step(self.swing, who, retry=LATER)

    async def lift(self, who: str) -> None:
        self.done.append(f"lift {who}")

    async def lower(self, who: str) -> None:
        self.done.append(f"lower {who}")

    async def swing(self, who: str) -> None:
        if self.stuck:
            raise RejectedError(who)

    @on(Rung)
    async def hear(self, event: Rung) -> None:
        if self.deaf:
            raise ValueError(event.who)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    BellService.deaf = BellService.stuck = False
    BellService.done.clear()
    async with running(System("tower", services=[BellService]), data=tmp_path / "tower") as run:
        yield run


async def test_only_an_operator_may(run: Embedded) -> None:
    console = run.console
    for asked in (
        console.sagas(BOB),
        console.saga(BOB, "s"),
        console.resume(BOB, "s"),
        console.cancel(BOB, "s"),
        console.dead(BOB),
        console.replay(BOB, 1),
        console.drop(BOB, 1),
        console.figures(BOB),
        console.sagas(Principal()),
    ):
        with pytest.raises(DeniedError, match="role 'admin'"):
            await asked
    with pytest.raises(DeniedError):
        console.figures_history(BOB)
    with pytest.raises(DeniedError):
        console.kill(BOB)
    assert not console.chaos
    with pytest.raises(ConfigError, match="--chaos"):
        console.kill(ANN)


async def test_sagas_are_paged_newest_first_by_status(run: Embedded) -> None:
    bell = run.client(Bell)
    for number in range(5):
        await bell.strike(f"s{number}")
        await asyncio.sleep(1)
    first = await run.console.sagas(ANN, limit=2)
    assert [line.id for line in first.items] == ["s4", "s3"]
    second = await run.console.sagas(ANN, limit=2, before=first.next)
    third = await run.console.sagas(ANN, limit=2, before=second.next)
    assert [line.id for line in (*second.items, *third.items)] == ["s2", "s1", "s0"]
    assert third.next is None
    assert (await run.console.sagas(ANN, status="stuck")).items == ()
    assert [line.id for line in (await run.console.sagas(ANN, before="no cursor:x", limit=1)).items] == ["s4"]


async def test_a_saga_is_shown_with_its_calls_and_cancelled_by_name(
    run: Embedded, capfd: pytest.CaptureFixture[str]
) -> None:
    BellService.stuck = True
    await run.client(Bell).strike("s1")
    await asyncio.sleep(0.1)
    detail = await run.console.saga(ANN, "s1")
    assert (detail.saga.status, detail.can_cancel, detail.can_resume) == ("running", True, False)
    assert [(step.operation, step.state) for step in detail.saga.steps] == [("lift", "done"), ("swing", "begun")]
    assert detail.saga.steps[1].attempts == 2
    assert detail.saga.steps[1].error is not None
    assert [call.arguments for call in detail.calls] == ['["s1"]']
    await run.console.cancel(ANN, "s1")
    await asyncio.sleep(0.1)
    after = await run.console.saga(ANN, "s1")
    assert (after.saga.status, after.can_cancel) == ("failed", False)
    assert "cancelled by ann" in str(after.saga.error)
    (line,) = (await run.console.sagas(ANN, status="failed")).items
    assert "cancelled by ann" in str(line.error)
    assert BellService.done == ["lift s1", "lower s1"]
    with pytest.raises(SagaNotCancellableError):
        await run.console.cancel(ANN, "s1")
    with pytest.raises(NotFoundError):
        await run.console.cancel(ANN, "nobody")
    with pytest.raises(NotFoundError):
        await run.console.resume(ANN, "s1")
    told = capfd.readouterr().err
    assert "an operator acted" in told
    assert "by=ann" in told or '"by":"ann"' in told, "as text, or as JSON where another test has chosen that"
    assert "an operator was refused" in told


async def test_dead_letters_are_told_in_the_story_replayed_and_dropped(run: Embedded) -> None:
    BellService.deaf = True
    for who in ("x", "y", "z"):
        await run.client(Bell).ring(who)
    await asyncio.sleep(0.2)
    story = await run.console.story("x")
    (handling,) = story.events[0].handlings
    assert (handling.group, handling.state, story.live) == ("bell", "retrying", True)
    assert handling.error == "x"
    await asyncio.sleep(600)
    story = await run.console.story("x")
    (handling,) = story.events[0].handlings
    assert (handling.state, handling.attempts, story.live) == ("dead", 8, False)
    page = await run.console.dead(ANN, limit=2)
    rest = await run.console.dead(ANN, limit=2, before=page.next)
    letters = {letter.key: letter for letter in (*page.items, *rest.items)}
    assert sorted(letters) == ["x", "y", "z"]
    assert [letter.id for letter in page.items] > [letter.id for letter in rest.items]
    mine = letters["x"]
    assert (mine.id, mine.group, mine.payload) == (handling.letter, "bell", '{"who":"x"}')
    BellService.deaf = False
    assert await run.console.replay(ANN, mine.id) == 1
    await asyncio.sleep(1)
    assert (await run.console.story("x")).events[0].handlings[0].state == "handled"
    assert await run.console.drop(ANN, letters["y"].id, letters["z"].id) == 2
    assert (await run.console.dead(ANN)).items == ()
    assert (await run.console.story("y")).events[0].handlings[0].state == "dead"
    assert await run.console.replay(ANN, group="bell") == 0


async def test_figures_tell_what_happens_and_what_is(run: Embedded) -> None:
    BellService.stuck = True
    for number in range(3):
        await run.client(Bell).ring(f"r{number}")
    await run.client(Bell).strike("s1")
    await asyncio.sleep(10)
    now = await run.console.figures(ANN)
    assert (now.events_sent, now.events_handled, now.sagas_started, now.sagas_running) == (3, 3, 1, 1)
    assert 9 <= now.over_s <= 11
    assert (now.queued, now.dead, now.unsent, now.p50_s) == (0, 0, 0, None)
    past = run.console.figures_history(ANN, 1)
    assert 9 <= len(past) <= 10
    assert sum(each.events_sent for each in past) == 3
    assert [each.at_us for each in past] == sorted(each.at_us for each in past)


async def test_the_history_of_figures_is_bounded(run: Embedded) -> None:
    await asyncio.sleep(1300)
    seconds, minutes = run.console.figures_history(ANN, 10), run.console.figures_history(ANN, 1000)
    assert 598 <= len(seconds) <= 600
    assert {each.over_s for each in seconds[1:]} == {1.0}
    assert len(minutes) == 21
    assert {each.over_s for each in minutes[1:]} == {60.0}
    assert len(run.console.figures_history(ANN, 5)) in {299, 300}


async def test_requests_are_told_by_class_with_their_times(run: Embedded) -> None:
    registry = Registry()
    requests = registry.counter("pages_requests", "Pages.", ("route", "status"))
    times = registry.histogram("pages_seconds", "Times.", ("route",))
    shed = registry.counter("archstone_shed", "Shed.", ("gate", "reason"))
    meters = Meters(run, watchers=lambda: 7, registry=registry)
    measuring = asyncio.create_task(meters.run())
    await asyncio.sleep(0.5)
    for status, count in (("200", 90), ("304", 5), ("404", 3), ("500", 1), ("503", 1)):
        requests.labels("home", status).inc(count)
    requests.labels("/metrics", "200").inc(50)
    for _ in range(99):
        times.labels("home").observe(0.004)
    times.labels("home").observe(1.5)
    shed.labels("gateway", "full").inc()
    await asyncio.sleep(1)
    now: Figures = await meters.now()
    measuring.cancel()
    assert now.requests == {"2xx": 90, "3xx": 5, "4xx": 3, "5xx": 2}
    assert (now.errors, now.shed, now.limited, now.watchers) == (1, 1, 0, 7)
    assert now.p50_s is not None
    assert now.p99_s is not None
    assert now.p50_s <= 0.005
    assert now.p99_s <= 0.005
    assert now.memory_bytes > 0
