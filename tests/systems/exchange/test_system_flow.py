"""The exchange as users start it: who comes by one door trades with whoever came by another, and all agree."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from clearing_stream import eventually
from shop_process import PASSWORD, ShopProcess, free_port
from test_desk_process import asked

from archstone.data import Database
from archstone.systems.exchange.clearing import differences, faults
from archstone.systems.exchange.entry.binary import EntryClient, over_tcp
from archstone.systems.exchange.feed import Group, MarketClient, multicast
from archstone.systems.exchange.feed import over_tcp as recovery_over_tcp
from archstone.systems.exchange.invariants import Watch, disagreements
from archstone.systems.exchange.matching import Side, Told
from archstone.systems.exchange.sequencer import DurableSequencer
from archstone.systems.exchange.tape import Trade, trades_of
from archstone.systems.exchange.venue import fastest

websockets = pytest.importorskip("websockets.asyncio.client", reason="needs the package websockets")

pytestmark = [pytest.mark.real_time, pytest.mark.slow]


@dataclass
class Person:
    """Somebody with a trial account."""

    account: int
    headers: dict[str, str]


@dataclass
class Town:
    """A running exchange, and who trades there."""

    exchange: ShopProcess
    http: httpx.AsyncClient
    ports: dict[str, int] = field(default_factory=dict[str, int])

    async def person(self) -> Person:
        found = (await self.http.post("/trial")).json()
        return Person(found["visitor"]["account"], {"Authorization": f"Bearer {found['access_token']}"})

    async def key(self, person: Person) -> str:
        return (await self.http.post("/keys", json={"name": "program"}, headers=person.headers)).json()["text"]

    def socket(self, person: Person) -> Any:
        url = self.exchange.url.replace("http", "ws") + "/ws"
        return websockets.connect(url, additional_headers=person.headers)

    async def portfolio(self, person: Person) -> dict[str, Any]:
        return (await self.http.get("/portfolio", headers=person.headers)).json()

    async def booked(self, people: list[Person]) -> None:
        """Wait until the ledger has the cash of everybody, and surveillance the trades, as the desk shows them."""

        async def same() -> bool:
            for each in people:
                found = await self.http.get(f"/clearing/accounts/{each.account}/balances", headers=each.headers)
                cash = sum(
                    one["settled"] + one["pending"] for one in found.json()["balances"] if one["asset"] == "cash"
                )
                if cash != (await self.portfolio(each))["cash"]:
                    return False
            seen, all_of_them = [
                (await self.http.get(f"/{where}/ACME/trades", params={"limit": 100})).json()
                for where in ("market", "instruments")
            ]
            return len(seen) == len(all_of_them["items"])

        async with asyncio.timeout(30):
            await eventually(same)


@asynccontextmanager
async def town(folder: Path, *doors: str, **options: str) -> AsyncIterator[Town]:
    ports = {door: free_port() for door in doors}
    addresses = {door: f"127.0.0.1:{port}" for door, port in ports.items()}
    exchange = ShopProcess(folder / "exchange", system="exchange", options={"bots": "off", **addresses, **options})
    try:
        await exchange.start()
        async with httpx.AsyncClient(base_url=f"{exchange.url}/api/v1") as http:
            yield Town(exchange, http, ports)
    finally:
        exchange.kill()


async def all_agree(data: Path, people: list[Person], portfolios: list[dict[str, Any]]) -> list[Trade]:
    """Ask the commands that were kept what came of them: venue, ledger, surveillance and pages must say the same."""
    watch, trades = Watch(), list[Trade]()
    async with DurableSequencer(data / "sequencer", fastest()) as kept:
        async with aclosing(kept.follow(0)) as stream:
            while watch.last < kept.last:
                batch = await anext(stream)
                watch.note(batch)
                trades += trades_of(batch)
        assert watch.faults == []
        assert disagreements(watch, kept.venue) == []
        standings = [kept.venue.standing(each.account) for each in people]
        last = kept.last
    for standing, shown in zip(standings, portfolios, strict=True):
        assert (shown["account"], shown["cash"]) == (standing.account, standing.cash)
        assert {each["symbol"]: each["lots"] for each in shown["positions"] if each["lots"]} == (
            {"ACME": lots} if (lots := standing.positions.get(1, 0)) else {}
        )
    async with Database(f"sqlite:///{data}/clearing.db") as ledger:
        assert await faults(ledger) == []
        assert await differences(ledger, standings, sequence=last) == []
        booked = await ledger.all(
            tuple[int, int, int], "SELECT sequence, price, lots FROM entries WHERE kind = 'trade'"
        )
    async with Database(f"sqlite:///{data}/surveillance.db") as seen:
        watched = await seen.all(tuple[int, int, int], "SELECT sequence, price, lots FROM trades")
        assert await seen.all(int, "SELECT id FROM alerts") == []
    assert sorted(booked) == sorted(watched) == [(each.sequence, each.price, each.lots) for each in trades]
    return trades


async def test_two_over_web_sockets_and_one_over_the_binary_protocol_trade_and_all_agree(tmp_path: Path) -> None:
    async with town(tmp_path, "binary") as here:
        people = [await here.person() for _ in range(3)]
        ann, bob, carol = people
        async with (
            here.socket(ann) as first,
            here.socket(bob) as second,
            EntryClient(await here.key(carol), over_tcp("127.0.0.1", here.ports["binary"])) as machine,
        ):
            order = {"symbol": "ACME", "side": "sell", "quantity": 10, "price": 10_050}
            assert (await asked(first, "place", order=order))["order"]["status"] == "working"
            assert (await machine.new(book=1, side=Side.BUY, price=10_060, quantity=4)).kind == Told.ACCEPTED
            assert (await machine.new(book=1, side=Side.SELL, price=10_049, quantity=2)).kind == Told.ACCEPTED
            taken = await asked(second, "place", order={**order, "side": "buy", "quantity": 12})
            assert (taken["order"]["status"], taken["order"]["filled"]) == ("working", 8)
            back = await asked(first, "place", order={**order, "price": 10_040, "quantity": 3})
            assert (back["order"]["status"], back["order"]["filled"]) == ("filled", 3)
        await here.booked(people)
        portfolios = [await here.portfolio(each) for each in people]
        assert here.exchange.stop() == 0, here.exchange.log_tail()
    trades = await all_agree(here.exchange.data, people, portfolios)
    assert [(each.buyer, each.seller, each.price, each.lots) for each in trades] == [
        (carol.account, ann.account, 10_050, 4), (bob.account, carol.account, 10_049, 2),
        (bob.account, ann.account, 10_050, 6), (bob.account, ann.account, 10_050, 3),
    ]  # fmt: skip


async def trade_by_every_door(here: Town, people: list[Person], market: MarketClient) -> None:
    """Have one trade over a web socket, one over the binary protocol and one over FIX, while somebody looks on."""
    from test_entry_fix_peer import trading

    ann, bob, carol = people
    async with (
        here.socket(ann) as person,
        EntryClient(await here.key(bob), over_tcp("127.0.0.1", here.ports["binary"])) as machine,
        trading("carol", here.ports["fix"], password=await here.key(carol)) as broker,
    ):
        order = {"symbol": "ACME", "side": "sell", "quantity": 10, "price": 10_050}
        assert (await asked(person, "place", order=order))["ok"]
        await broker.send("D", _11=1, _54=1, _38=4, _44="100.50", _55="ACME", _40=2)
        assert await broker.next(150, 39) == ["0", "0"]
        assert await broker.next(150, 31, 32) == ["F", "100.5", "4"]
        await broker.send("D", _11=2, _54=1, _38=5, _44="100.40", _55="ACME", _40=2)
        assert await broker.next(150, 39) == ["0", "0"]
        assert (await machine.new(book=1, side=Side.SELL, price=10_040, quantity=5)).kind == Told.ACCEPTED
        assert await broker.next(150, 31, 32) == ["F", "100.4", "5"]
        assert (await machine.new(book=1, side=Side.BUY, price=10_030, quantity=7)).kind == Told.ACCEPTED

        async def heard() -> bool:
            return len(market.trades) == 2 and bool(market.depth(1).buys)

        async with asyncio.timeout(10):
            await eventually(heard)
        assert [(each.price, each.quantity) for each in market.trades] == [(10_050, 4), (10_040, 5)]
        shown = (await here.http.get("/instruments/ACME/depth")).json()
        told = market.depth(1)
        for side, levels in (("bids", told.buys), ("asks", told.sells)):
            assert levels == tuple((each["price"], each["lots"], each["orders"]) for each in shown[side])
        assert (told.buys, told.sells) == (((10_030, 7, 1),), ((10_050, 6, 1),))


async def test_by_every_door_one_trades_with_whoever_came_by_another_and_market_data_tell_of_it(tmp_path: Path) -> None:
    pytest.importorskip("simplefix")
    pytest.importorskip("fixcore")
    async with town(tmp_path, "binary", "fix", "feed") as here:
        people = [await here.person() for _ in range(3)]
        recovery = recovery_over_tcp("127.0.0.1", here.ports["feed"])
        async with MarketClient(recovery) as market:
            with closing(await multicast.join(Group(port=here.ports["feed"]), market.receive)):
                await market.caught_up()
                await trade_by_every_door(here, people, market)
        await here.booked(people)
        portfolios = [await here.portfolio(each) for each in people]
        assert here.exchange.stop() == 0, here.exchange.log_tail()
    assert len(await all_agree(here.exchange.data, people, portfolios)) == 2


async def test_history_is_files_that_anybody_can_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `history` is not installed")
    from pyarrow import dataset

    async with town(tmp_path, history="on") as here:
        ann, bob = [await here.person() for _ in range(2)]
        order = {"symbol": "ACME", "side": "sell", "quantity": 10, "price": 10_050}
        for person, side in ((ann, "sell"), (bob, "buy")):
            answer = await here.http.post("/orders", json={"order": {**order, "side": side}}, headers=person.headers)
            assert answer.status_code == 200, answer.text
        assert (await here.http.get("/history/parts", headers=ann.headers)).status_code in {400, 403}
        registered = {"email": "watch@example.org", "password": PASSWORD, "name": "Watch"}
        assert (await here.http.post("/accounts", json=registered)).status_code == 200
        assert here.exchange.stop() == 0, here.exchange.log_tail()
        table = dataset.dataset(here.exchange.data / "history" / "trades", partitioning="hive").to_table()
        rows = [(each["symbol"], each["price"], each["lots"], each["buyer"]) for each in table.to_pylist()]
        assert rows == [("ACME", 10_050, 10, bob.account)]
        await here.exchange.start()
        assert here.exchange.command("admin", "exchange", "watch@example.org").returncode == 0
        session = await here.http.post("/sessions", json={"email": "watch@example.org", "password": PASSWORD})
        admin = {"Authorization": f"Bearer {session.json()['access_token']}"}
        today = datetime.now(UTC).date().isoformat()
        found = (await here.http.get("/history/parts", params={"day": today}, headers=admin)).json()
        assert [each["symbol"] for each in found["items"]] == ["ACME"]
        assert found["folder"].endswith("history")
        assert here.exchange.stop() == 0, here.exchange.log_tail()


async def test_without_history_it_says_how_to_have_it(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        registered = {"email": "watch@example.org", "password": PASSWORD, "name": "Watch"}
        assert (await here.http.post("/accounts", json=registered)).status_code == 200
        assert here.exchange.command("admin", "exchange", "watch@example.org").returncode == 0
        session = await here.http.post("/sessions", json={"email": "watch@example.org", "password": PASSWORD})
        admin = {"Authorization": f"Bearer {session.json()['access_token']}"}
        answer = await here.http.get("/history/parts", params={"day": "2026-01-01"}, headers=admin)
        assert answer.status_code == 409
        assert answer.json()["type"].endswith("exchange.history-off")
        assert "--set history=on" in answer.json()["detail"]
        assert not (here.exchange.data / "history").exists()
