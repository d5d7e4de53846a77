"""What looks like abuse is found, with its evidence, and what only looks busy is not; the same after any restart."""

import json
import random
from functools import cache

import pytest
from clearing_stream import (
    NOON_NS,
    SECOND_NS,
    STAFF,
    Kept,
    canceled,
    following,
    made,
    opening,
    placed,
    serving,
    traded,
)

from archstone.context import Principal, current, enter
from archstone.errors import ConfigError
from archstone.services import ForbiddenError
from archstone.systems.exchange.matching import Reason, ReferenceEngine, Side
from archstone.systems.exchange.matching.flows import flow
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.surveillance import (
    Layering,
    Rules,
    Surveillance,
    SurveillanceService,
    UnknownAlertError,
    Washing,
    Watch,
)
from archstone.systems.exchange.tape import Symbols
from archstone.systems.exchange.venue import order_id

BUY, SELL = Side.BUY, Side.SELL
MALLORY, BOB, CAROL = 99, 2, 3


class Script:
    """Batches of one command each, at their times."""

    def __init__(self) -> None:
        self.batches: list[Batch] = [opening((1, 1), (2, 1))]

    def at(self, seconds: float, *done) -> "Script":
        for each in done:
            at_ns = NOON_NS + int(seconds * SECOND_NS)
            self.batches.append(made(self.batches[-1].last + 1, each, at_ns=at_ns))
        return self


RULES = Rules(layering=Layering(min_orders=3, within_s=3.0))
"""So that the scripts below are short."""


def found(script: Script, rules: Rules = RULES) -> list[tuple[str, int, int]]:
    watch = Watch(rules)
    return [(each.rule, each.account, each.sequence) for batch in script.batches for each in watch.see(batch)]


def layers(
    script: Script, *, begin: float = 0, side: Side = SELL, price: int = 103, lots: int = 40, book: int = 1
) -> None:
    """Three orders of Mallory, away from the price."""
    for n in range(3):
        script.at(begin + n * 0.1, placed(MALLORY, n + 1, side, lots, price + n, book=book))


def gone(script: Script, *, begin: float, lots: int = 40, reason: int = Reason.USER) -> None:
    for n in range(3):
        script.at(begin + n * 0.1, canceled(MALLORY, n + 1, lots, reason=reason))


def bought(n: int = 20, lots: int = 5, price: int = 100):
    """Bob sells to Mallory, whose order was there."""
    return traded(BOB, n, SELL, (MALLORY, 10, lots, price))


def layered(**how) -> Script:
    script = Script()
    layers(script)
    script.at(1, bought())
    gone(script, begin=1.5, **how)
    return script


def test_layering_is_found_when_enough_of_it_is_gone_with_its_evidence():
    script = layered()
    assert found(script) == [("layering", MALLORY, 9)]
    watch = Watch(RULES)
    (alert,) = [each for batch in script.batches for each in watch.see(batch)]
    assert (alert.book, alert.at_ns) == (1, NOON_NS + int(1.7 * SECOND_NS))
    assert json.loads(json.dumps(alert.evidence)) == {
        "trade": {"sequence": 6, "price": 100, "lots": 5, "side": "buy"},
        "lots": 120,
        "cancelled": 120,
        "orders": [
            {"order": 1, "price": 103, "lots": 40, "placed": 3, "cancelled": 7},
            {"order": 2, "price": 104, "lots": 40, "placed": 4, "cancelled": 8},
            {"order": 3, "price": 105, "lots": 40, "placed": 5, "cancelled": 9},
        ],
        "more_orders": 0,
    }


def test_layering_on_the_other_side_and_by_an_order_that_takes_is_found_too():
    script = Script()
    layers(script, side=BUY, price=95)
    script.at(1, traded(MALLORY, 10, SELL, (BOB, 1, 5, 100)))
    gone(script, begin=1.5)
    assert found(script) == [("layering", MALLORY, 9)]


def without_a_trade() -> Script:
    script = Script()
    layers(script)
    gone(script, begin=1.5)
    return script


def on_the_same_side() -> Script:
    script = Script()
    layers(script)
    script.at(1, traded(BOB, 1, BUY, (MALLORY, 10, 5, 100)))
    gone(script, begin=1.5)
    return script


def in_another_book() -> Script:
    script = Script()
    layers(script, book=2)
    script.at(1, bought())
    gone(script, begin=1.5)
    return script


def small() -> Script:
    script = Script()
    layers(script, lots=8)  # 24 lots to a trade of 5: not five times as many
    script.at(1, bought())
    gone(script, begin=1.5, lots=8)
    return script


def few() -> Script:
    script = Script().at(0, placed(MALLORY, 1, SELL, 60, 103), placed(MALLORY, 2, SELL, 60, 104)).at(1, bought())
    return script.at(2, canceled(MALLORY, 1, 60), canceled(MALLORY, 2, 60))


def near() -> Script:
    script = Script()
    layers(script, price=98)  # at or inside the price of the trade
    script.at(1, bought())
    gone(script, begin=1.5)
    return script


def old() -> Script:
    script = Script()
    layers(script)
    script.at(10.5, bought())  # placed more than ten seconds before
    gone(script, begin=11)
    return script


def late() -> Script:
    script = Script()
    layers(script)
    script.at(1, bought())
    gone(script, begin=4.1)
    return script


def kept() -> Script:
    script = Script()
    layers(script)
    return script.at(1, bought()).at(2, canceled(MALLORY, 1, 40), canceled(MALLORY, 2, 40))


def filled() -> Script:
    script = Script()
    layers(script)
    script.at(1, bought())
    for n in range(3):
        script.at(1.5 + n * 0.1, traded(CAROL, n + 1, BUY, (MALLORY, n + 1, 40, 103 + n)))
    return script


def closed() -> Script:
    return layered(reason=Reason.DAY)


@pytest.mark.parametrize(
    "script",
    [without_a_trade, on_the_same_side, in_another_book, small, few, near, old, late, kept, filled, closed],
    ids=lambda each: each.__name__,
)
def test_what_is_no_layering_raises_no_alert(script):
    assert found(script()) == []


def test_each_bound_of_layering_has_two_sides():
    for rule, raised in (
        ({"min_orders": 3}, True), ({"min_orders": 4}, False),
        ({"times": 24}, True), ({"times": 24.1}, False),
        ({"away_ticks": 3}, True), ({"away_ticks": 4}, False),
        ({"window_s": 1.0}, True), ({"window_s": 0.95}, False),
        ({"within_s": 0.7}, True), ({"within_s": 0.65}, False),
    ):  # fmt: skip
        assert bool(found(layered(), Rules(layering=Layering(**{"min_orders": 3, **rule})))) == raised, rule
    both = Script().at(0.5, placed(MALLORY, 20, BUY, 40, 90))
    for batch in layered().batches[1:]:
        both.batches.append(batch._replace(first=both.batches[-1].last + 1))
    assert found(both)
    assert not found(both, Rules(layering=Layering(min_orders=3, one_sided=3.1)))
    partly = Script()
    layers(partly)
    partly.at(1, bought()).at(1.5, canceled(MALLORY, 1, 40), canceled(MALLORY, 2, 40))
    assert found(partly, Rules(layering=Layering(min_orders=3, cancelled_ratio=2 / 3)))
    assert not found(partly, Rules(layering=Layering(min_orders=3, cancelled_ratio=0.67)))


def test_settings_that_cannot_be_meant_are_refused_all_at_once():
    with pytest.raises(ConfigError, match=r"window_s=0 must be .*; within_s=601 must be .*; min_orders=0 .*; times=0"):
        Layering(window_s=0, within_s=601, min_orders=0, times=0)
    with pytest.raises(ConfigError, match=r"share_ratio=1.1 must be in \(0, 1\]"):
        Washing(share_ratio=1.1)
    Layering(window_s=600, within_s=600, cancelled_ratio=1.0, away_ticks=0)
    Washing(window_s=3_600, share_ratio=1.0, min_trades=1)


def washed(count: int = 5, *, one: int = 7, other: int = 7, others: int = 0, every_s: float = 1) -> Script:
    script = Script()
    for n in range(count):
        script.at(n * every_s, traded(one, n + 1, BUY, (other, 100 + n, 10, 100)))
    for n in range(others):
        script.at(count * every_s, traded(one, 200 + n, BUY, (BOB, n + 1, 10, 100)))
    return script


def test_who_trades_with_himself_again_and_again_is_found():
    assert found(washed(4)) == []
    assert found(washed(5)) == [("washing", 7, 7)]
    assert found(washed(12)) == [("washing", 7, 7)], "no second alert within the window"
    assert found(washed(5, every_s=16)) == [], "four in a minute"
    assert found(washed(5, every_s=15)) == [("washing", 7, 7)]


def test_a_small_share_of_trades_with_oneself_is_nothing():
    busy = Script()
    for n in range(15):
        busy.at(n * 0.1, traded(7, n + 1, BUY, (BOB, n + 1, 10, 100)))
    for n in range(5):
        busy.at(2 + n, traded(7, 50 + n, BUY, (7, 80 + n, 10, 100)))
    assert found(busy) == [("washing", 7, 22)], "a quarter"
    busier = Script()
    for n in range(16):
        busier.at(n * 0.1, traded(7, n + 1, BUY, (BOB, n + 1, 10, 100)))
    for n in range(5):
        busier.at(2 + n, traded(7, 50 + n, BUY, (7, 80 + n, 10, 100)))
    assert found(busier) == []


def test_accounts_of_one_person_are_one_hand():
    script = washed(6, one=7, other=8)
    assert found(script) == []
    watch = Watch(Rules())
    watch.relate({7: 1, 8: 1})
    (alert,) = [each for batch in script.batches for each in watch.see(batch)]
    assert (alert.account, alert.evidence["trades"][0]["accounts"]) == (7, [7, 8])
    strangers = Watch(Rules())
    strangers.relate({7: 1, 8: 2, 9: 8})
    assert [each for batch in script.batches for each in strangers.see(batch)] == []


@cache
def flowing(count: int, seed: int) -> list[Batch]:
    """The quiet flow through a book, a command at a time, each second one."""
    book, source, batches = ReferenceEngine(), flow("quiet", seed=seed), [opening((1, 1))]
    for number in range(count):
        command = next(source)
        if command.id:
            command = command._replace(id=order_id(command.account, command.id))
        done = (1, command, book.apply(command))
        batches.append(made(batches[-1].last + 1, done, at_ns=NOON_NS + number * SECOND_NS))
    return batches


def quiet(count: int, seed: int, every_s: float) -> list[Batch]:
    """The same, so many seconds apart."""
    return [
        each._replace(at_ns=NOON_NS + int((each.at_ns - NOON_NS) * every_s))
        for each in flowing(4_000, seed)[: count + 1]
    ]


@pytest.mark.parametrize(("every_s", "bound"), [(0.001, 8), (0.01, 2), (0.1, 0)])
def test_false_alarms_on_the_quiet_flow_are_few(every_s, bound):
    """Fifty accounts that know nothing of each other: whatever is found is a false alarm.

    A command each millisecond is a market in which all that an account has is cancelled every few seconds.
    """
    watch = Watch(Rules())
    alerts = [each for batch in quiet(4_000, 1, every_s) for each in watch.see(batch)]
    assert len(alerts) <= bound, alerts


def test_layering_hidden_in_the_quiet_flow_is_found_and_nothing_else_of_its_account():
    noise = quiet(3_000, 1, 0.01)
    script = Script()
    layers(script, begin=10)
    script.at(11, bought())
    gone(script, begin=11.5)
    both = sorted([*noise, *script.batches[1:]], key=lambda each: each.at_ns)
    watch = Watch(RULES)
    alerts = [each for batch in both for each in watch.see(batch) if each.account == MALLORY]
    assert [(each.rule, each.at_ns) for each in alerts] == [("layering", NOON_NS + int(11.7 * SECOND_NS))]


def test_what_is_remembered_stays_within_bounds():
    watch, most = Watch(Rules(layering=Layering(max_orders=200), washing=Washing(max_trades=50))), 0
    for batch in quiet(3_000, 1, 0.001):
        watch.see(batch)
        most = max(most, len(watch))
    assert most < 200 + 50 * 50 + 500
    watch.see(made(10**6, at_ns=NOON_NS + 10_000 * SECOND_NS))
    assert len(watch) == 0


def test_one_command_that_trades_a_thousand_times_is_remembered_once_and_found() -> None:
    script = Script()
    for n in range(300):
        script.at(0, placed(MALLORY, n + 1, SELL, 40, 103 + n))
    script.at(1, traded(MALLORY, 1_000, BUY, *((BOB, n, 1, 100) for n in range(1, 1_001))))
    watch, most = Watch(Rules(layering=Layering())), 0
    for batch in script.batches:
        watch.see(batch)
        most = max(most, len(watch._watches["layering"]))
    assert most == 2 * 300
    last = len(script.batches)
    for n in range(300):
        script.at(1.5, canceled(MALLORY, n + 1, 40))
    (alert,) = [each for batch in script.batches[last:] for each in watch.see(batch)]
    assert (alert.rule, alert.account, alert.evidence["more_orders"]) == ("layering", MALLORY, 250)


def test_trades_that_are_looked_at_are_bounded_and_the_newest_stay() -> None:
    script = Script()
    for n in range(100):
        script.at(0, placed(MALLORY, n + 1, SELL, 40, 103 + n))
    for n in range(50):
        script.at(1 + n / 100, bought(20 + n, lots=1))
    watch, most = Watch(Rules(layering=Layering(max_orders=1_000))), 0
    for batch in script.batches:
        watch.see(batch)
        most = max(most, len(watch))
    assert 1_000 < most <= 1_000 + 100 + 200
    last = len(script.batches)
    for n in range(100):
        script.at(1.6, canceled(MALLORY, n + 1, 40))
    (alert,) = [each for batch in script.batches[last:] for each in watch.see(batch) if each.rule == "layering"]
    assert alert.evidence["trade"]["sequence"] > script.batches[0].last + 100 + 50 - 1_000 // 100


EAGER = Rules(
    layering=Layering(times=0.3, min_orders=1, window_s=3, within_s=1, cancelled_ratio=0.2, one_sided=0),
    washing=Washing(window_s=4, min_trades=1, share_ratio=0.001),
)


@pytest.mark.parametrize("seed", [1])
def test_a_watch_that_begins_a_horizon_before_finds_the_same(seed):
    rules = EAGER
    batches, watch = quiet(1_000, seed, 0.02), Watch(rules)
    whole = [(batch, each) for batch in batches for each in watch.see(batch)]
    assert len(whole) >= 5
    chance = random.Random(seed)
    for _ in range(5):
        cut = batches[chance.randrange(1, len(batches))]
        horizon_ns = cut.at_ns - int(rules.horizon_s * SECOND_NS)
        later = Watch(rules)
        for batch, each in whole:
            if horizon_ns <= each.at_ns <= cut.at_ns and batch.last <= cut.last:
                later.remember(each.rule, each.book, each.account, each.at_ns)
        again = [
            each for batch in batches if batch.at_ns >= horizon_ns for each in later.see(batch) if batch.last > cut.last
        ]
        assert again == [each for batch, each in whole if batch.last > cut.last]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path}/{name}.db"
    found = request.getfixturevalue("postgres_url")
    return lambda name: f"{found}?schema={name}"


def parts(stream, **more):
    return (SurveillanceService, {"sequencer": stream, "symbols": Symbols({1: "ACME"}), "rules": RULES, **more})


async def test_the_service_finds_the_same_wherever_it_stops(url):
    rules = EAGER
    batches, watch = quiet(1_200, 1, 0.01), Watch(rules)
    whole = [(each.rule, each.account, each.sequence) for batch in batches for each in watch.see(batch)]
    for stop in (1, 400, 401, 777, 1_000, 1_201):
        stream = Kept(batches[:stop])
        async with serving(parts(stream, rules=rules), url=url) as run:
            await following(run["surveillance"]).reached(batches[stop - 1].last, timeout_s=30)
            alerts = await run["surveillance"].service.db.all(
                tuple[str, int, int], "SELECT rule, account, sequence FROM alerts ORDER BY id"
            )
    assert stream.followed[0] > 1, "it began where it had to, not at the beginning"
    assert len(whole) >= 5
    assert alerts == whole


async def test_a_service_whose_past_is_gone_begins_cold(tmp_path):
    batches = layered().batches
    url = lambda name: f"sqlite:///{tmp_path}/{name}.db"  # noqa: E731
    async with serving(parts(Kept(batches[:-1])), url=url) as run:
        await following(run["surveillance"]).reached(batches[-2].last, timeout_s=5)
    stream = Kept(batches)
    stream.gone = batches[-2].last
    async with serving(parts(stream), url=url) as run:
        await following(run["surveillance"]).reached(batches[-1].last, timeout_s=30)
        assert await run["surveillance"].service.db.one(int, "SELECT last FROM progress") == batches[-1].last
    assert stream.followed == [0, batches[-2].last]


def as_(who: Principal, key: str):
    return enter(current()._replace(principal=who, key=key))


async def test_alerts_are_shown_judged_once_and_kept(url):
    async with serving(parts(Kept(layered().batches)), url=url) as run:
        surveillance = run["surveillance"].client(Surveillance)
        await following(run["surveillance"]).reached(9, timeout_s=5)
        with as_(STAFF, "one"):
            (alert,) = (await surveillance.alerts()).items
            assert (alert.rule, alert.symbol, alert.account, alert.verdict) == ("layering", "ACME", MALLORY, None)
            assert json.loads(alert.evidence)["cancelled"] == 120
            assert json.loads(alert.parameters)["times"] == 5.0
            await surveillance.close(alert.id, "abuse", "three layers, gone at once")
            assert (await surveillance.alerts()).items == ()
            (judged,) = (await surveillance.alerts("all")).items
            assert (judged.verdict, judged.closed_by, judged.note) == ("abuse", STAFF.id, "three layers, gone at once")
        with as_(STAFF, "two"), pytest.raises(UnknownAlertError):
            await surveillance.close(alert.id, "harmless", "no")
        with as_(Principal("ann", frozenset({"customer"})), "three"), pytest.raises(ForbiddenError):
            await surveillance.alerts()


async def test_who_is_related_to_whom_can_be_said_while_it_runs(url):
    script = washed(6, one=7, other=8)
    stream = Kept(script.batches[:1])
    async with serving(parts(stream), url=url) as run:
        surveillance = run["surveillance"].client(Surveillance)
        await following(run["surveillance"]).reached(2, timeout_s=5)
        for account in (7, 8, 9):
            with as_(STAFF, f"relate {account}"):
                await surveillance.relate(account, 70)
        with as_(STAFF, "undo"):
            await surveillance.relate(9, None)
            assert [(each.account, each.person) for each in await surveillance.relations()] == [(7, 70), (8, 70)]
        stream.add(*script.batches[1:])
        await following(run["surveillance"]).reached(8, timeout_s=5)
        with as_(STAFF, "look"):
            assert [each.rule for each in (await surveillance.alerts()).items] == ["washing"]
