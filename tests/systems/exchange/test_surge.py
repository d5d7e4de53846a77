"""What a surge sends to the exchange, and that it sees what must never be."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from shop_process import ShopProcess, free_port

from archstone.cli.surge import is_broken
from archstone.errors import ConfigError
from archstone.lab import Shot
from archstone.lab.connection import Target, dialer
from archstone.lab.http import Http
from archstone.lab.surge import SurgeSettings, load_of, run
from archstone.systems.exchange.crowd import Listed, Trader, books_of, crossed, told_wrongly
from archstone.systems.exchange.matching import COMMAND, Kind
from archstone.systems.exchange.traffic import ExchangeLoad
from archstone.systems.exchange.ways import Fill


def prepared(**options: str) -> ExchangeLoad:
    load = ExchangeLoad()
    load.choose(options)
    load._traders = [Trader(1_000 + n, f"token {n}") for n in range(24)]
    load._traded = [Listed("ACME", 10_000, 1, False), Listed("BORE", 4_000, 1, False)]
    return load


def shots_of(load: ExchangeLoad, seed: int = 1) -> list[Shot]:
    return load.shots(rate_per_s=200.0, duration_s=20.0, chance=Random(seed))


def test_the_same_chance_sends_the_same_and_half_of_it_looks() -> None:
    shots = shots_of(prepared())
    assert shots == shots_of(prepared()) != shots_of(prepared(), seed=2)
    assert [each.at_s for each in shots] == sorted(each.at_s for each in shots)
    assert 3_700 < len(shots) < 4_300
    kinds = Counter(each.kind for each in shots)
    assert {kind: count / len(shots) for kind, count in kinds.items()} == pytest.approx(
        {"look": 0.5, "rest": 0.25, "stream": 0.25}, abs=0.03
    )


def test_a_trader_comes_by_one_way_to_one_book_and_its_numbers_rise_from_phase_to_phase() -> None:
    load = prepared(binary="127.0.0.1:7100")
    ways: dict[int, set[str]] = {}
    books: dict[int, set[int]] = {}
    numbers: dict[int, list[int]] = {}
    for shot in [*shots_of(load), *shots_of(load)]:
        if shot.kind == "look":
            continue
        ways.setdefault(shot.sender, set()).add(shot.way)
        if shot.kind != "binary":
            continue
        row = np.frombuffer(shot.body, COMMAND)[0]
        books.setdefault(shot.sender, set()).add(int(row["book"]))
        if row["kind"] == Kind.NEW:
            numbers.setdefault(shot.sender, []).append(int(row["id"]))
    assert len(ways) == 24
    assert all(len(each) == 1 for each in [*ways.values(), *books.values()])
    assert len(numbers) == 8
    assert all(each == [*range(1, len(each) + 1)] for each in numbers.values())


def test_orders_are_said_in_the_words_of_each_way() -> None:
    shots = shots_of(prepared())
    placed = next(each for each in shots if each.kind == "rest" and each.head.startswith(b"POST"))
    assert placed.head == b"POST /api/v1/orders HTTP/1.1\r\n"
    assert {*json.loads(placed.body)["order"]} == {"symbol", "side", "quantity", "price", "tif"}
    canceled = next(each for each in shots if each.head.startswith(b"DELETE"))
    assert (canceled.body, canceled.note) == (b"", None)
    said = [json.loads(each.body) for each in shots if each.kind == "stream"]
    assert {each["op"] for each in said} == {"place", "cancel", "replace"}
    assert all(each.note is not None for each in shots if b'"place"' in each.body)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fix": "off"}, "--set fix: of this traffic only binary"),
        ({"binary": "here"}, "--set binary='here': write HOST:PORT"),
    ],
)
def test_what_cannot_be_chosen_is_told(options: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ExchangeLoad().choose(options)


class Told:
    """An exchange that says what it is told to say, by path."""

    def __init__(self, **pages: Any) -> None:
        self.pages = pages
        self.asked: list[str] = []

    async def ask(self, method: str, path: str, *, body: Any = None, headers: bytes = b"") -> tuple[int, Any]:
        path = path.removeprefix("/api/v1/")
        self.asked.append(path)
        name, _, query = path.partition("?")
        return 200, self.pages.get("ended" if query == "ended=true" else name.replace("/", "_"), {"items": []})


def instrument(**more: Any) -> dict[str, Any]:
    return {"symbol": "ACME", "last": 100, "value": 2, "phase": "continuous", "bid": 99, "ask": 101, **more}


@pytest.mark.parametrize(
    ("changed", "count"),
    [({}, 0), ({"bid": 101}, 1), ({"bid": 102}, 1), ({"bid": 102, "phase": "halted"}, 0), ({"ask": 0}, 0)],
)
async def test_a_book_is_crossed_that_trades_and_bids_as_much_as_it_asks(changed: dict[str, Any], count: int) -> None:
    assert await crossed(Told(instruments={"items": [instrument(), instrument(**changed)]})) == count


FILL = {"sequence": 9, "number": 1, "symbol": "ACME", "side": "buy", "price": 100, "lots": 3}
HAS = {"cash": 400, "paid_in": 1_000, "positions": [{"symbol": "ACME", "lots": 3}]}


@pytest.mark.parametrize(
    ("fills", "portfolio", "balanced"),
    [
        ([FILL], HAS, True),
        ([FILL, {**FILL, "side": "sell"}], {**HAS, "cash": 1_000, "positions": []}, True),
        ([FILL], {**HAS, "cash": 401}, False),
        ([FILL], {**HAS, "positions": [{"symbol": "ACME", "lots": 2}]}, False),
        ([FILL], {**HAS, "positions": []}, False),
        ([], {**HAS, "cash": 1_000}, False),
        ([FILL] * 500, HAS, None),
    ],
)
async def test_a_trader_is_balanced_who_has_what_the_fills_have_made(
    fills: list[Any], portfolio: Any, balanced: bool | None
) -> None:
    trader = Trader(1_001, "token")
    books = await books_of(Told(fills={"items": fills}, portfolio=portfolio), [trader], {"ACME": 2})
    assert [each.is_balanced for each in books.values()] == ([] if balanced is None else [balanced])


async def test_a_fill_is_told_wrongly_that_only_one_side_knows() -> None:
    trader, fill = Trader(1_001, "token"), Fill(9, 1, "buy", 100, 3)
    books = await books_of(Told(fills={"items": [FILL]}, portfolio=HAS), [trader], {"ACME": 2})
    for heard, count in ((Counter({fill: 1}), 0), (Counter({fill: 2}), 1), (Counter[Fill](), 1)):
        assert await told_wrongly({trader: heard}, books) == count
    assert await told_wrongly({Trader(1_002, "token"): Counter({fill: 9})}, books) == 0, "whose books are not known"


async def test_an_order_is_lost_that_neither_works_nor_has_ended_unless_some_are_forgotten() -> None:
    pages: dict[str, Any] = {"orders": {"items": [{"number": 1}]}, "ended": {"items": [{"number": 2}]}}
    kept = [(0, b'{"order": {"number": %d}}' % number) for number in (1, 2, 3)]
    load = prepared()
    load._traders = load._traders[:1]
    pages |= {"portfolio": {**HAS, "cash": 1_000, "positions": []}}
    exchange = Told(**pages)
    outcome = await load.settle(exchange, kept)
    assert (outcome["lost"], outcome["accepted"], outcome["unchecked"]) == (1, 3, 0)
    looks = [each for each in exchange.asked if each.startswith(("orders", "fills"))]
    assert looks == ["orders", "orders?ended=true", "orders/cancel", "fills?limit=500"], "what works is looked at first"
    pages["ended"] = {"items": [{"number": 10 + number} for number in range(200)]}
    outcome = await load.settle(Told(**pages), kept)
    assert (outcome["lost"], outcome["accepted"], outcome["unchecked"]) == (0, 3, 3)


@pytest.mark.real_time
@pytest.mark.slow
async def test_a_surge_by_all_ways_loses_nothing_and_sees_what_is_made_up(tmp_path: Path) -> None:
    gate = f"127.0.0.1:{free_port()}"
    exchange = ShopProcess(tmp_path / "exchange", system="exchange", options={"seed": "7", "binary": gate})
    await exchange.start()
    try:
        settings = SurgeSettings(
            system="exchange", traffic="archstone.systems.exchange.traffic", url=exchange.url, rps=20, times=4,
            base_s=1, surge_s=3, recovery_s=2, options={"binary": gate},
        )  # fmt: skip
        load = load_of(settings.traffic)
        assert isinstance(load, ExchangeLoad)
        report = await run(settings, load, lambda *_: None)
        kinds = report["phases"][1]["kinds"]
        assert {*kinds} == {"look", "rest", "stream", "binary"}
        assert all(each["ok"] + each["late"] > 0 for each in kinds.values())
        outcome = report["outcome"]
        assert (outcome["accepted"] > 50, outcome["unchecked"], outcome["fills"] > 0) == (True, 0, True)
        assert not is_broken(report), outcome
        assert {**await made_up(exchange.url, load)}.items() >= {"lost": 1, "told_wrongly": 2}.items()
        assert exchange.stop() == 0, exchange.log_tail()
    finally:
        exchange.kill()


async def made_up(url: str, load: ExchangeLoad) -> Any:
    """Have an order accepted that never was, and a fill told that nobody lists, by one way twice."""
    target = Target.of(url)
    http = Http(dialer(target), target.authority)
    way = next(iter(load._heard.values()))
    way.fills[Fill(1, 1, "buy", 1, 1)] += 2
    try:
        return await load.settle(http, [(0, b'{"order": {"number": 4000000000}}')])
    finally:
        http.close()
