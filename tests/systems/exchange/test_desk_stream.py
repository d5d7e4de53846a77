"""The exchange over WebSocket, driven as a server would drive it, on virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from desk_stage import HOST, Socket, Stage, Trader, Visitor, exchange_running

from archstone.context import Principal
from archstone.systems.exchange.accounts.contract import Accounts
from archstone.systems.exchange.desk.floor import rows
from archstone.systems.exchange.matching import Command, Kind, Side
from archstone.systems.exchange.sequencer import Sequencer
from archstone.systems.exchange.venue import order_id
from archstone.systems.exchange.web import outbox, stream

pytestmark = pytest.mark.sqlite_only("the pages and the stream ask services; test_desk_trading asks their databases")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with exchange_running(tmp_path / "exchange") as stage:
        yield stage


async def connected(stage: Stage, trader: Trader | None = None, **headers: str) -> Socket:
    if trader is not None:
        headers["authorization"] = f"Bearer {trader.session.access_token}"
    return await Socket(stage.run.asgi, headers).open()


def order(side: str, quantity: int, price: int | None = None, **more: Any) -> dict[str, Any]:
    return {"symbol": "ACME", "side": side, "quantity": quantity, "price": price, **more}


async def test_two_accounts_trade_with_each_other(stage: Stage) -> None:
    ann, bob = [await connected(stage, await stage.trader()) for _ in range(2)]
    for each in (ann, bob):
        assert (await each.ask("subscribe", channels=["reports", "depth:ACME", "trades:ACME"]))["ok"]
    placed = await ann.ask("place", ref="a1", order=order("sell", 10, 10_050))
    assert (placed["ref"], placed["ok"], placed["order"]["status"]) == ("a1", True, "working")
    taken = await bob.ask("place", order=order("buy", 4, 10_050))
    assert taken["order"]["status"] == "filled"
    (accepted,) = (await ann.next("reports"))["reports"][:1]
    assert accepted["kind"] == "accepted"
    (traded,) = (await ann.next("reports"))["reports"]
    assert (traded["kind"], traded["price"], traded["quantity"], traded["left"]) == ("traded", 10_050, 4, 6)
    assert [each["kind"] for each in (await bob.next("reports"))["reports"]] == ["accepted", "traded"]
    told = await bob.next("trades")
    while not told["items"]:
        told = await bob.next("trades")
    assert [(each["price"], each["lots"], each["side"]) for each in told["items"]] == [(10_050, 4, "buy")]
    depth = await bob.next("depth")
    while not depth["asks"] or depth["asks"][0]["lots"] != 6:
        depth = await bob.next("depth")
    for each in (ann, bob):
        await each.close()


async def test_what_is_refused_is_said_in_the_reply(stage: Stage) -> None:
    ann = await connected(stage, await stage.trader())
    refused = await ann.ask("place", order=order("sell", 10, 10_050, post_only=True, display=20))
    assert (refused["ok"], refused["code"], refused["reason"]) == (False, "refused", "field")
    assert (await ann.ask("cancel", number=7))["code"] == "exchange.unknown-order"
    assert (await ann.ask("place", order=order("sideways", 1)))["code"] == "invalid"
    wrong = await ann.ask("dance", ref="d")
    assert (wrong["code"], wrong["ref"]) == ("invalid", "d")
    for ref in ("x" * 41, 7):
        assert (await ann.ask("dance", ref=ref))["ref"] == ""
    assert (await ann.ask("subscribe", channels=["depth:NOPE"]))["code"] == "exchange.unknown-instrument"
    assert (await ann.ask("ping", ref="still here"))["ref"] == "still here"
    await ann.close()


async def test_how_much_one_may_order_is_answered(stage: Stage) -> None:
    ann, guest = await connected(stage, await stage.trader()), await connected(stage)
    told = await ann.ask("most", ref="m", symbol="ACME", side="buy", price=10_500)
    assert (told["ref"], told["ok"], told["lots"], told["price"]) == ("m", True, 4_761, 10_500)
    assert (await ann.ask("most", symbol="ACME", side="sell"))["price"] == 9_000
    assert (await ann.ask("most", symbol="NOPE", side="buy"))["code"] == "exchange.unknown-instrument"
    assert not (await guest.ask("most", symbol="ACME", side="buy"))["ok"]
    for each in (ann, guest):
        await each.close()


async def test_strangers_see_the_market_and_can_do_nothing(stage: Stage) -> None:
    stranger = await connected(stage)
    assert (await stranger.next("welcome"))["account"] is None
    assert (await stranger.ask("subscribe", channels=["quotes"]))["ok"]
    assert len((await stranger.next("quotes"))["items"]) == 5
    assert not (await stranger.ask("subscribe", channels=["account"]))["ok"]
    assert (await stranger.ask("place", order=order("sell", 1, 10_050)))["code"] == "archstone.not-signed-in"
    await stranger.close()


async def test_who_comes_back_gets_the_reports_since_the_last_one_they_have(stage: Stage) -> None:
    trader = await stage.trader()
    ann = await connected(stage, trader)
    await ann.ask("subscribe", channels=["reports"])
    await ann.ask("place", order=order("sell", 10, 10_050))
    last = (await ann.next("reports"))["sequence"]
    await ann.close()
    bob = await stage.trader()
    await bob.place("buy", 3, 10_050)
    await bob.place("buy", 2, 10_050)
    again = await connected(stage, trader)
    reply = await again.ask("subscribe", channels=["reports"], after=last)
    assert reply["complete"]
    missed = [(await again.next("reports"))["reports"] for _ in range(2)]
    assert [[each["quantity"] for each in together] for together in missed] == [[3], [2]]
    assert not any(each["type"] == "reports" for each in again.sent)
    await again.close()


async def test_what_is_only_looked_at_is_conflated_for_who_reads_slowly(stage: Stage) -> None:
    ann = await stage.trader()
    slow = await connected(stage)
    await slow.ask("subscribe", channels=["depth:ACME"])
    await slow.next("depth")
    slow.paused.clear()
    for price in range(10_000, 10_050):
        await ann.place("sell", 1, price + 10)
    slow.paused.set()
    depth = await slow.next("depth")
    while len(depth["asks"]) < outbox.DEPTH:
        depth = await slow.next("depth")
    assert depth["asks"][0]["price"] == 10_010
    assert sum(each["type"] == "depth" for each in slow.sent) <= 2
    await slow.close()


async def test_what_all_may_see_is_put_into_words_once_for_all(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    to_json = outbox.to_json
    monkeypatch.setattr(outbox, "to_json", lambda value: (words.append(value["type"]), to_json(value))[1])
    ann, bob = await stage.trader(), await stage.trader()
    sockets: list[Socket] = []
    for _ in range(20):
        sockets.append(await connected(stage))
        await sockets[-1].ask("subscribe", channels=["depth:ACME", "trades:ACME", "quotes"])
        await asyncio.sleep(0.013)
    await asyncio.sleep(1)
    words.clear()
    for each in sockets:
        each.sent.clear()
    for _ in range(30):
        await ann.place("sell", 3, 10_050)
        await bob.place("buy", 1, 10_050)
        await asyncio.sleep(0.021)
    await asyncio.sleep(1)
    told = [[message["type"] for message in each.sent] for each in sockets]
    assert sorted(words) == sorted(told[0])
    assert len(words) < 3 * 10
    assert told == 20 * [told[0]]
    for each in sockets:
        await each.close()


async def test_who_has_too_many_reports_waiting_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_REPORTS", 5)
    trader = await stage.trader()
    slow = await connected(stage, trader)
    await slow.ask("subscribe", channels=["reports"])
    slow.paused.clear()
    for _ in range(8):
        await trader.place("sell", 1, 10_050)
    slow.paused.set()
    while slow.closed is None:
        await slow._news()
    assert slow.closed == 1013
    assert slow.task is not None
    await slow.task


async def test_trades_that_are_dropped_are_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_TRADES", 3)
    ann, bob = await stage.trader(), await stage.trader()
    slow = await connected(stage)
    await slow.ask("subscribe", channels=["trades:ACME"])
    await slow.next("trades")
    await ann.place("sell", 100, 10_050)
    slow.paused.clear()
    for _ in range(7):
        await bob.place("buy", 1, 10_050)
    slow.paused.set()
    told = await slow.next("trades")
    assert told["missed"] + len(told["items"]) == 7
    await slow.close()


async def test_there_is_a_heartbeat_when_nothing_happens(stage: Stage) -> None:
    quiet = await connected(stage)
    assert (await quiet.next("heartbeat"))["sequence"] == stage.floor.board.sequence
    await quiet.close()


async def test_who_asks_too_fast_is_refused_and_not_cut_off(stage: Stage) -> None:
    hasty = await connected(stage)
    for _ in range(stream.PACE.burst + 10):
        hasty.say("ping")
    replies = [await hasty.next("reply") for _ in range(stream.PACE.burst + 10)]
    assert {each.get("code") for each in replies} == {None, "too_fast"}
    assert hasty.closed is None
    await hasty.close()


async def test_a_page_of_somebody_else_does_not_come_in_by_our_cookie(stage: Stage) -> None:
    token = "a" * 43
    for origin in ("https://evil.example", f"https://{HOST}"):
        socket = await connected(stage, cookie=f"exchange-session={token}", origin=origin)
        assert (socket.accepted, socket.closed) == (False, 1008)
    ours = await connected(stage, cookie=f"exchange-session={token}", origin=f"http://{HOST}")
    assert ours.accepted
    await ours.close()


async def test_a_token_that_is_not_valid_is_refused(stage: Stage) -> None:
    socket = await connected(stage, authorization="Bearer nonsense")
    assert (socket.accepted, socket.closed) == (False, 1008)


async def test_a_key_does_only_what_it_was_made_for(stage: Stage) -> None:
    trader = await stage.trader()
    accounts = stage.client(Accounts, trader_principal(trader))
    made = await accounts.make_key("looking", ("orders:read",))
    looking = await connected(stage, **{"x-api-key": made.text})
    assert (await looking.next("welcome"))["account"] == trader.account
    assert (await looking.ask("subscribe", channels=["account"]))["ok"]
    refused = await looking.ask("place", order=order("sell", 1, 10_050))
    assert (refused["ok"], refused["code"]) == (False, "archstone.denied")
    await looking.close()
    await accounts.end_key(made.key.id)
    gone = await connected(stage, **{"x-api-key": made.text})
    assert gone.closed == 1008


async def test_a_connection_ends_when_its_key_does(stage: Stage) -> None:
    trader = await stage.trader()
    accounts = stage.client(Accounts, trader_principal(trader))
    made = await accounts.make_key("looking", ("orders:read",))
    stranger, looking = await connected(stage), await connected(stage, **{"x-api-key": made.text})
    await asyncio.sleep(stream.AGAIN_S + 1)
    assert looking.closed is None
    await accounts.end_key(made.key.id)
    await asyncio.sleep(stream.AGAIN_S)
    assert (looking.closed, stranger.closed) == (1008, None)
    await stranger.close()


async def test_one_account_has_only_so_many_connections(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_EACH", 2)
    trader = await stage.trader()
    kept = [await connected(stage, trader) for _ in range(2)]
    assert (await connected(stage, trader)).closed == 1013
    for each in kept:
        await each.close()
    again = await connected(stage, trader)
    assert again.accepted
    await again.close()


async def test_orders_that_others_hand_in_are_told_too(stage: Stage) -> None:
    """Whoever submits to the sequencer, such as a bot or a binary connection, is seen."""
    trader = await stage.trader()
    ann = await connected(stage, trader)
    await ann.ask("subscribe", channels=["reports", "account"])
    new = Command(Kind.NEW, order_id(trader.account, 40), trader.account, Side.SELL, price=10_050, quantity=3)
    await stage.floor.sequencer.submit(rows([new], book=1))
    assert [each["number"] for each in (await ann.next("reports"))["reports"]] == [40, 40]
    told = await ann.next("account")
    while not told["orders"]:
        told = await ann.next("account")
    assert told["orders"][0]["number"] == 40
    assert (await ann.ask("place", order=order("sell", 1, 10_051)))["order"]["number"] == 41
    await ann.close()


def trader_principal(trader: Trader) -> Any:
    return Principal(str(trader.account), frozenset({"trader"}))


async def test_a_floor_that_reads_no_more_is_not_ready_and_lets_one_cancel_all_the_same(stage: Stage) -> None:
    door = Visitor(stage.run.asgi)
    ann = await connected(stage, await stage.trader())
    placed = await ann.ask("place", order=order("sell", 10, 10_050))
    assert (await door.get("/health/ready")).status == 200
    sequencer = stage.run.parts.provided[Sequencer]
    await sequencer.submit(rows([Command(Kind.TICK)], book=1))
    sequencer._batches.clear()  # before anybody could read it
    await sequencer.submit(rows([Command(Kind.TICK)], book=1))
    await asyncio.sleep(10)
    answer = await door.get("/health/ready")
    assert (answer.status, json.loads(answer.text)) == (
        503, {"status": "not ready", "system": "exchange", "alerts": ["floor of the exchange"]},
    )  # fmt: skip
    assert (await ann.ask("place", order=order("sell", 10, 10_060)))["code"] == "archstone.backend"
    assert len(sequencer.venue) == 1
    assert (await ann.ask("cancel", number=placed["order"]["number"]))["code"] == "archstone.backend"
    assert len(sequencer.venue) == 0
    await ann.close()
