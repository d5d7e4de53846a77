"""Alerts: told once when a condition has lasted, once when it has ended, whatever one of them raises."""

import asyncio

import pytest

from archstone.observability import Alert, Alerts, render


class Backlog:
    """Something to look at."""

    behind_s = 0.0
    broken = False

    def look(self) -> str | None:
        if self.broken:
            raise OSError("no")
        return f"{self.behind_s:g} s behind" if self.behind_s > 10 else None


@pytest.fixture
async def backlog():
    return Backlog()


@pytest.fixture
async def told():
    return list[Alert]()


@pytest.fixture
async def alerts(backlog: Backlog, told: list[Alert]):
    async with Alerts() as alerts:
        alerts.watch("relay of x", backlog.look, for_s=3.0)
        alerts.hooks.append(told.append)
        yield alerts


def metric() -> str:
    return next(line for line in render().splitlines() if line.startswith('archstone_alert{alert="relay of x"}'))


async def test_it_begins_when_the_condition_has_lasted_and_ends_when_it_has_not(
    alerts: Alerts, backlog: Backlog, told: list[Alert], capfd: pytest.CaptureFixture[str]
) -> None:
    backlog.behind_s = 11
    await asyncio.sleep(2.5)
    assert told == []
    await asyncio.sleep(2)
    assert [(alert.name, alert.why, alert.firing) for alert in told] == [("relay of x", "11 s behind", True)]
    assert metric().endswith(" 1")
    backlog.behind_s = 60
    await asyncio.sleep(60)
    assert [alert.why for alert in alerts.firing()] == ["60 s behind"]
    assert len(told) == 1, "it is told once"
    backlog.behind_s = 0
    await asyncio.sleep(2)
    assert len(told) == 1
    await asyncio.sleep(2)
    assert [(alert.why, alert.firing) for alert in told[1:]] == [("60 s behind", False)]
    assert alerts.firing() == []
    assert metric().endswith(" 0")


async def test_what_comes_and_goes_is_not_told(alerts: Alerts, backlog: Backlog, told: list[Alert]) -> None:
    for _ in range(20):
        backlog.behind_s = 11
        await asyncio.sleep(2)
        backlog.behind_s = 0
        await asyncio.sleep(2)
    assert told == []


async def test_what_cannot_be_looked_at_is_told_and_hides_nothing(
    alerts: Alerts, backlog: Backlog, told: list[Alert]
) -> None:
    alerts.watch("another", lambda: "bad", for_s=0)
    backlog.broken = True
    alerts.hooks.insert(0, lambda _: 1 // 0)
    await asyncio.sleep(5)
    assert {(alert.name, alert.why) for alert in told} == {
        ("another", "bad"), ("relay of x", "it cannot be looked at: OSError: no")
    }  # fmt: skip
