"""FIX 4.4: sessions and orders, on virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pipes import Pipes

import pytest
from plain import opened
from test_entry_binary import ACCOUNTS, Slow, identify

from archstone.systems.exchange.entry import Reports
from archstone.systems.exchange.entry.binary import BinaryServer, EntryClient
from archstone.systems.exchange.entry.fix import FixRules, FixServer, Listed
from archstone.systems.exchange.entry.fix.codec import Framer, Message, encoded
from archstone.systems.exchange.matching import Side

pytest.importorskip("simplefix")

LISTED = (Listed("ARC", 1, tick=Decimal("0.05"), lot=10), Listed("STN", 2))


class Fix(asyncio.Protocol):
    """A client as simple as can be."""

    def __init__(self, name: str = "ANN", number: int = 1) -> None:
        self.name, self.number = name, number
        self.told: list[Message] = []
        self.lost = asyncio.Event()
        self.framer = Framer()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for each in self.framer.feed(data):
            assert isinstance(each, Message)
            self.told.append(each)

    def connection_lost(self, exc) -> None:
        self.lost.set()

    def say(self, kind: str, *fields: tuple[int, object], number: int | None = None, repeated: bool = False) -> None:
        head: list[tuple[int, object]] = [(34, number or self.number), (49, self.name), (52, "20260101-00:00:00.000")]
        if number is None:
            self.number += 1
        more = [(43, "Y")] if repeated else []
        self.transport.write(encoded(kind, [*head, (56, "ARCHSTONE"), *more, *fields]))

    def kinds(self) -> list[str]:
        return [each.kind for each in self.told if each.kind not in {"0", "1"}]

    def last(self, *tags: int) -> list[str | None]:
        return [self.told[-1].get(tag) for tag in tags]


class Stage:
    def __init__(self, sequencer: Slow, server: FixServer) -> None:
        self.sequencer, self.server = sequencer, server
        self.pipes = Pipes(server.connection)

    async def client(self, name: str = "ann", *, number: int = 1, logon: bool = True, **more: object) -> Fix:
        client = Fix(name.upper(), number)
        await self.pipes.connect(lambda: client)
        if logon:
            fields = {98: 0, 108: 30, 554: name} | {int(tag[1:]): value for tag, value in more.items()}
            client.say("A", *fields.items())
            await asyncio.sleep(0.05)
        return client


@asynccontextmanager
async def serving(*, keep: int = 4_096, **rules) -> AsyncGenerator[Stage]:
    sequencer = Slow()
    await sequencer.submit(opened(1, 2))
    async with (
        Reports(sequencer, keep=keep) as reports,
        FixServer(sequencer, reports, identify, LISTED, host=None, rules=FixRules(**rules)) as server,
    ):
        yield Stage(sequencer, server)


async def order(client: Fix, name: int, side: int, lots: int, price: object, **more: object) -> None:
    fields = {11: name, 55: "ARC", 54: side, 38: lots * 10, 40: 2 if price else 1, 44: price, 59: 1, 60: "now"}
    client.say("D", *(fields | {int(tag[1:]): value for tag, value in more.items()}).items())
    await asyncio.sleep(0.05)


@pytest.mark.real_time
async def test_one_connection_too_many_is_closed() -> None:
    async with (
        Reports(Slow()) as reports,
        FixServer(reports._sequencer, reports, identify, LISTED, port=0, rules=FixRules(connections=1)) as server,  # type: ignore[arg-type]
    ):
        _, first = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.sleep(0.01)
        reader, more = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        first.close()
        more.close()


async def test_who_sends_before_it_is_let_in_is_held_back_and_then_done() -> None:
    known = asyncio.Event()

    async def slowly(credential: str) -> int:
        await known.wait()
        return await identify(credential)

    async with serving(unacknowledged=5) as stage:
        stage.server.identify = slowly
        client = await stage.client(logon=False)
        client.say("A", (98, 0), (108, 30), (554, "ann"))
        for number in range(1, 201):
            fields = {11: number, 55: "ARC", 54: 2, 38: 10, 40: 2, 44: "100.05", 59: 1, 60: "now"}
            client.say("D", *fields.items())
        await asyncio.sleep(1)
        ((_, theirs),) = stage.pipes.ends
        assert theirs.paused
        assert len(theirs.inbox) > 100 * 100
        known.set()
        await asyncio.sleep(2)
        assert [each.get(37) for each in client.told if each.kind == "8"] == [str(each) for each in range(1, 201)]


async def test_an_order_is_accepted_traded_replaced_and_cancelled() -> None:
    async with serving() as stage:
        ann, bob = await stage.client("ann"), await stage.client("bob")
        assert ann.last(35, 49, 56, 108) == ["A", "ARCHSTONE", "ANN", "30"]
        await order(ann, 1, 2, 5, "100.05")
        assert ann.last(35, 37, 11, 150, 39, 55, 54, 38, 44) == ["8", "1", "1", "0", "0", "ARC", "2", "50", "100.05"]
        await order(bob, 1, 1, 2, "100.1")
        assert ann.last(150, 39, 31, 32, 151, 14, 6) == ["F", "1", "100.05", "20", "30", "20", "100.05"]
        assert bob.last(150, 39, 31, 32, 151, 14) == ["F", "2", "100.05", "20", "0", "20"]
        assert ann.last(527) == bob.last(527)
        ann.say("G", (11, "change"), (41, 1), (55, "ARC"), (54, 2), (38, 80), (40, 2), (44, "100.25"), (60, "now"))
        await asyncio.sleep(0.05)
        assert ann.last(150, 39, 11, 41, 44, 38, 151, 14) == ["5", "1", "change", "1", "100.25", "80", "60", "20"]
        ann.say("F", (11, "away"), (41, "change"), (55, "ARC"), (54, 2), (60, "now"))
        await asyncio.sleep(0.05)
        assert ann.last(150, 39, 11, 41, 37, 151, 14) == ["4", "4", "away", "change", "1", "0", "20"]
        ann.say("F", (11, "more"), (41, "away"), (55, "ARC"), (54, 2), (60, "now"))
        await asyncio.sleep(0.05)
        assert ann.last(35, 11, 41, 434, 102, 39, 58) == ["9", "more", "away", "1", "1", "4", "UNKNOWN"]
        assert stage.sequencer.venue.books[1].last == 2_001
        for client in (ann, bob):
            client.transport.close()


async def test_orders_of_all_kinds() -> None:
    async with serving() as stage:
        ann = await stage.client()
        await order(ann, 1, 2, 9, "10.00", _111=20)
        depth = stage.sequencer.venue.depth(1, Side.SELL, 9)
        assert depth == [(200, 2, 1)]
        await order(ann, 2, 1, 1, "10.00", _18=6)
        assert ann.last(150, 58, 103) == ["8", "POST_ONLY", "99"]
        await order(ann, 3, 1, 1, "9.00", _59=3)
        assert ann.last(150, 39, 58) == ["C", "C", "UNFILLED"]
        await order(ann, 4, 1, 1, "11", _40=4, _99="10.5")
        assert ann.last(150, 39) == ["0", "0"]
        await order(ann, 5, 1, 1, None)
        assert ann.last(150, 39, 11) == ["F", "1", "1"]
        ann.say("q", (11, "all"), (530, 1), (55, "ARC"), (60, "now"))
        await asyncio.sleep(0.05)
        assert ann.last(35, 11, 531, 533) == ["r", "all", "1", "2"]
        ann.transport.close()


REFUSED = {
    "a number that was used": ({11: 1}, ["8", "8", "DUPLICATE"]),
    "a name that is no number": ({11: "mine"}, ["3", None, "a whole number is wanted"]),
    "no quantity": ({38: None}, ["3", None, "required and not there"]),
    "half a lot": ({38: 15}, ["3", None, "a multiple of 10 is wanted, above 0 and at most 2147483647 of them"]),
    "half a tick": ({44: "1.02"}, ["3", None, "a multiple of 0.05 is wanted, above 0 and at most 2147483647 of them"]),
    "a symbol that is not listed": ({55: "IBM"}, ["3", None, "no such symbol"]),
    "a side that is none": ({54: 7}, ["3", None, "one of 1 2 is wanted"]),
}


@pytest.mark.parametrize(("fields", "answer"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_meant_is_refused_by_name(fields: dict[int, object], answer: list[str | None]) -> None:
    async with serving() as stage:
        ann = await stage.client()
        await order(ann, 1, 2, 5, "100")
        await order(ann, 2, 2, 5, "100", **{f"_{tag}": value for tag, value in fields.items()})
        assert ann.last(35, 150, 58) == answer
        await order(ann, 3, 2, 5, "100")
        assert ann.last(35, 150) == ["8", "0"]
        ann.transport.close()


async def test_a_message_that_is_not_taken_here_is_refused() -> None:
    async with serving() as stage:
        ann = await stage.client()
        ann.say("V", (262, "x"))
        await asyncio.sleep(0.05)
        assert ann.last(35, 45, 372, 380) == ["j", "2", "V", "3"]
        ann.transport.close()


async def test_who_is_not_known_is_logged_out() -> None:
    async with serving() as stage:
        eve = await stage.client("eve")
        assert eve.last(35, 58) == ["5", "Password (554) stands for no account"]
        assert eve.lost.is_set()


async def test_what_comes_before_a_logon_ends_the_connection() -> None:
    async with serving() as stage:
        ann = await stage.client(logon=False)
        ann.say("0")
        await asyncio.sleep(0.1)
        assert ann.lost.is_set()
        assert not ann.told


async def test_a_connection_that_does_not_log_on_is_closed() -> None:
    async with serving(logon_s=2) as stage:
        ann = await stage.client(logon=False)
        await asyncio.sleep(2.1)
        assert ann.lost.is_set()


async def test_heartbeats_test_requests_and_silence() -> None:
    async with serving() as stage:
        ann = await stage.client(_108=10)
        ann.say("1", (112, "are you there"))
        await asyncio.sleep(0.05)
        assert ann.last(35, 112) == ["0", "are you there"]
        await asyncio.sleep(13)
        assert [each.kind for each in ann.told] == ["A", "0", "0", "1"]
        ann.say("0", (112, ann.told[-1].get(112)))
        await asyncio.sleep(13)
        assert not ann.lost.is_set()
        await asyncio.sleep(12)
        assert ann.last(35, 58) == ["5", "nothing came, not even an answer to a TestRequest"]


async def test_a_number_that_is_missing_is_asked_for_and_one_too_low_ends_the_session() -> None:
    async with serving() as stage:
        ann = await stage.client()
        ann.say("0", number=5)
        ann.say("0", number=6)
        await asyncio.sleep(0.05)
        assert [each.fields[7] for each in ann.told if each.kind == "2"] == ["2"]
        ann.say("4", (123, "Y"), (36, 7), number=2, repeated=True)
        ann.number = 7
        await order(ann, 1, 2, 5, "100")
        assert ann.last(35, 150) == ["8", "0"]
        ann.say("0", number=3, repeated=True)
        await asyncio.sleep(0.05)
        assert not ann.lost.is_set()
        ann.say("0", number=3)
        await asyncio.sleep(0.05)
        assert ann.last(35, 58) == ["5", "MsgSeqNum too low, expecting 8 but received 3"]


async def test_what_was_lost_is_sent_again_and_the_rest_skipped() -> None:
    async with serving() as stage:
        ann = await stage.client()
        await order(ann, 1, 2, 5, "100")
        ann.say("1", (112, "x"))
        await order(ann, 2, 2, 5, "100")
        before = [each for each in ann.told if each.kind == "8"]
        ann.told.clear()
        ann.say("2", (7, 1), (16, 0))
        await asyncio.sleep(0.05)
        assert ann.kinds() == ["4", "8", "4", "8"]
        assert [each.get(36) for each in ann.told if each.kind == "4"] == ["2", "4"]
        again = [each for each in ann.told if each.kind == "8"]
        assert [each.get(43) for each in again] == ["Y", "Y"]
        assert [each.get(17) for each in again] == [each.get(17) for each in before]
        assert [each.get(122) for each in again] == [each.get(52) for each in before]
        ann.transport.close()


async def test_who_comes_back_is_told_what_happened_meanwhile() -> None:
    async with serving() as stage:
        ann = await stage.client()
        await order(ann, 1, 2, 5, "100")
        stage.pipes.cut()
        await asyncio.sleep(0.05)
        bob = await stage.client("bob")
        await order(bob, 1, 1, 2, "100")
        again = await stage.client("ann", number=ann.number)
        assert again.kinds() == ["A", "8"]
        assert [each.get(34) for each in again.told] == ["3", "4"]
        assert again.last(150, 11, 32, 97) == ["F", "1", "20", None]
        for client in (again, bob):
            client.transport.close()


async def test_after_a_restart_what_is_kept_is_told_as_possibly_known() -> None:
    async with serving() as stage:
        ann = await stage.client()
        await order(ann, 1, 2, 5, "100")
        await stage.server.__aexit__(None, None, None)
        async with FixServer(stage.sequencer, stage.server.reports, identify, LISTED, host=None) as server:
            stage.pipes.server = server.connection
            again = await stage.client("ann", _141="Y")
            assert again.last(35, 97, 150, 11) == ["8", "Y", "0", "1"]
            again.say("H", (11, 1), (55, "ARC"), (54, 2))
            await asyncio.sleep(0.05)
            assert again.last(35, 150, 39, 11, 151) == ["8", "I", "0", "1", "50"]
            again.say("H", (11, 9), (55, "ARC"), (54, 2))
            await asyncio.sleep(0.05)
            assert again.last(35, 150, 39, 58) == ["8", "I", "8", "UNKNOWN"]


async def test_a_logout_is_answered_after_what_was_asked_for() -> None:
    async with serving() as stage:
        ann = await stage.client()
        ann.say("D", (11, 1), (55, "ARC"), (54, 1), (38, 10), (40, 2), (44, 5), (59, 1), (60, "now"))
        ann.say("5")
        await asyncio.sleep(0.1)
        assert ann.kinds() == ["A", "8", "5"]
        assert ann.lost.is_set()


async def test_the_third_to_log_on_waits_for_the_first_although_the_second_has_given_up() -> None:
    async with serving(logon_s=2.0) as stage:
        first = await stage.client()
        stage.sequencer.wait_s = 10.0
        await order(first, 1, 2, 5, "100")
        await asyncio.sleep(1)
        second = await stage.client(_141="Y")
        await asyncio.sleep(3)
        third = await stage.client(_141="Y")
        await asyncio.sleep(5)
        last = await stage.client(_141="Y")
        await asyncio.sleep(1.9)
        assert (second.kinds(), third.kinds()) == (["5"], ["5"])
        assert last.kinds()[:2] == ["A", "8"]
        last.transport.close()


async def test_a_session_ends_when_its_password_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as stage:
        ann = await stage.client(_108=3_600)
        await asyncio.sleep(40)
        assert not ann.lost.is_set()
        monkeypatch.delitem(ACCOUNTS, "ann")
        await asyncio.sleep(30)
        assert ann.last(35, 58) == ["5", "Password (554) stands for no account any more"]


async def test_after_a_restart_an_order_whose_beginning_is_forgotten_is_not_replaced() -> None:
    async with serving(keep=1) as stage:
        ann, bob = await stage.client(), await stage.client("bob")
        await order(ann, 1, 2, 10, "100")
        await order(bob, 1, 1, 4, "100")
        await order(bob, 2, 1, 1, "100")
        reports = stage.server.reports
        async with FixServer(stage.sequencer, reports, identify, LISTED, host=None) as server:
            again = await Stage(stage.sequencer, server).client()
            change = [(41, 1), (55, "ARC"), (54, 2), (38, 100), (40, 2), (44, "101"), (60, "now")]
            again.say("G", (11, "change"), *change)
            await asyncio.sleep(0.05)
            why = "how much of it was done is not known here any more: cancel it"
            assert again.last(35, 11, 434, 58) == ["9", "change", "2", why]
            assert stage.sequencer.venue.depth(1, Side.SELL, 5) == [(2_000, 5, 1)]
            again.say("F", (11, "away"), (41, 1), (55, "ARC"), (54, 2), (60, "now"))
            await asyncio.sleep(0.05)
            assert again.last(35, 150, 39) == ["8", "4", "4"]
            again.transport.close()
        for client in (ann, bob):
            client.transport.close()


async def test_orders_are_cancelled_with_the_session_by_choice() -> None:
    async with serving(cancel_on_disconnect=True) as stage:
        ann = await stage.client()
        await order(ann, 1, 2, 5, "100")
        stage.pipes.cut()
        await asyncio.sleep(0.1)
        assert len(stage.sequencer.venue) == 0


async def test_while_the_exchange_is_away_and_beyond_the_rate_requests_are_refused() -> None:
    async with serving(per_s=2) as stage:
        ann = await stage.client()
        stage.sequencer.away = True
        await order(ann, 1, 2, 5, "100")
        assert ann.last(150, 39, 58) == ["8", "8", "AWAY: try again in 1.000 s"]
        stage.sequencer.away = False
        await order(ann, 2, 2, 5, "100")
        await order(ann, 3, 2, 5, "100")
        assert ann.last(150, 58) == ["8", "TOO_FAST"]
        ann.transport.close()


async def test_a_garbled_message_is_ignored_and_asked_for_again() -> None:
    async with serving() as stage:
        ann = await stage.client()
        data = encoded("0", [(34, 2), (49, "ANN"), (56, "ARCHSTONE")])
        ann.transport.write(data[:-4] + b"999\x01" if data[-4:-1] != b"999" else data)
        ann.number = 3
        ann.say("0")
        await asyncio.sleep(0.05)
        assert ann.last(35, 7) == ["2", "2"]
        ann.transport.close()


async def test_both_protocols_tell_of_the_same_account() -> None:
    async with serving() as stage:
        binary = BinaryServer(stage.sequencer, stage.server.reports, identify, host=None)
        pipes = Pipes(binary.connection)
        ann = await stage.client()
        async with binary, EntryClient("ann", pipes.connect) as client:
            await client.new(book=1, side=Side.SELL, price=100, quantity=5)
            await asyncio.sleep(0.05)
            assert ann.last(35, 150, 11, 38, 44) == ["8", "0", "1", "50", "5"]
        ann.transport.close()


async def test_accounts_that_are_remembered_no_more_begin_anew_and_are_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ACCOUNTS, "carol", 9)
    async with serving(accounts=1) as stage:
        ann = await stage.client("ann")
        await order(ann, 1, 2, 5, "100")
        bob = await stage.client("bob")
        assert {*stage.server._kept} == {7, 8}  # both are there
        for client in (ann, bob):
            client.transport.close()
        await asyncio.sleep(0.05)
        bob = await stage.client("bob", number=2)
        assert bob.last(35, 34) == ["A", "2"]
        assert {*stage.server._kept} == {7, 8}
        carol = await stage.client("carol")
        assert {*stage.server._kept} == {7, 8, 9}
        for client in (bob, carol):
            client.transport.close()
        await asyncio.sleep(0.05)
        carol = await stage.client("carol", number=2)
        assert {*stage.server._kept} == {8, 9}  # Ann logged on the longest ago
        ann = await stage.client("ann", _141="Y")
        assert ann.told[0].get(34) == "1"
        assert ann.last(35, 97, 150, 11) == ["8", "Y", "0", "1"]
        await order(ann, 2, 2, 5, "100")
        assert ann.last(35, 97, 150, 11) == ["8", None, "0", "2"]
        for client in (ann, carol):
            client.transport.close()
