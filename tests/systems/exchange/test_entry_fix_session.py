"""FIX sessions at their edges: wrong numbers, messages of nobody, what waits when a session ends, and who is slow."""

import asyncio
from pipes import Pipes

import pytest
from test_entry_binary import identify
from test_entry_fix import Fix, order, serving

from archstone.systems.exchange.entry.binary import BinaryServer, EntryClient
from archstone.systems.exchange.entry.fix import FixServer
from archstone.systems.exchange.entry.fix.codec import encoded

pytest.importorskip("simplefix")

HEAD: list[tuple[int, object]] = [(34, 2), (49, "ANN"), (56, "ARCHSTONE")]


def reports(client: Fix) -> list[list[str | None]]:
    return [[each.get(tag) for tag in (43, 150, 11)] for each in client.told if each.kind == "8"]


async def test_one_connection_too_many_is_closed() -> None:
    async with serving(connections=1) as stage:
        ann = await stage.client()
        bob = await stage.client("bob", logon=False)
        await asyncio.sleep(0.05)
        assert bob.lost.is_set()
        ann.transport.close()
        await asyncio.sleep(0.05)
        bob = await stage.client("bob")
        assert bob.last(35) == ["A"]
        bob.transport.close()


async def test_numbers_are_not_set_back() -> None:
    async with serving() as stage:
        ann = await stage.client()
        ann.say("0")
        ann.say("4", (36, 2), number=9)
        await asyncio.sleep(0.05)
        assert ann.last(35, 45, 371, 372, 373, 58) == ["3", "9", "36", "4", "5", "at least 3 is wanted"]
        await order(ann, 1, 2, 5, "100")
        assert ann.last(35, 150) == ["8", "0"]
        ann.say("4", (36, 20), number=1)
        ann.number = 20
        await order(ann, 2, 2, 5, "100")
        assert ann.last(35, 150, 11) == ["8", "0", "2"]
        ann.transport.close()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (HEAD[1:], "tag 34: required and not there"),
        ([(34, "x"), *HEAD[1:]], "tag 34: a whole number is wanted"),
        ([HEAD[0], HEAD[2]], "SenderCompID (49) or TargetCompID (56) have changed"),
        ([*HEAD[:2], (56, "ELSEWHERE")], "SenderCompID (49) or TargetCompID (56) have changed"),
    ],
)
async def test_a_message_of_no_number_or_of_nobody_ends_the_session(fields: list[tuple[int, object]], why: str) -> None:
    async with serving() as stage:
        ann = await stage.client()
        ann.transport.write(encoded("0", fields))
        await asyncio.sleep(0.05)
        assert ann.last(35, 34, 58) == ["5", "2", why]
        assert ann.lost.is_set()


async def test_a_field_that_is_there_twice_is_refused_by_name_and_the_session_goes_on() -> None:
    async with serving() as stage:
        ann = await stage.client()
        fields: list[tuple[int, object]] = [(11, 1), (55, "ARC"), (54, 2), (38, 50), (40, 2), (44, 100)]
        ann.say("D", *fields, (448, "me"), (448, "my broker"))
        await asyncio.sleep(0.05)
        assert ann.last(35, 45, 371, 372, 373) == ["3", "2", "448", "D", "13"]
        await order(ann, 1, 2, 5, "100")
        assert ann.last(35, 150) == ["8", "0"]
        ann.transport.close()


async def test_a_logon_whose_number_is_too_low_is_answered_with_the_next_one() -> None:
    async with serving() as stage:
        ann = await stage.client()
        await order(ann, 1, 2, 5, "100")
        stage.pipes.cut()
        again = await stage.client()
        assert again.last(35, 34, 58) == ["5", "3", "MsgSeqNum too low, expecting 3 but received 1"]
        again = await stage.client(number=3)
        assert again.last(35, 34) == ["A", "4"]
        again.transport.close()


async def test_what_comes_before_the_answer_to_a_logon_is_not_read_without_end() -> None:
    async with serving() as stage:
        slow = asyncio.Event()

        async def identified(credential: str) -> int:
            await slow.wait()
            return await identify(credential)

        stage.server.identify = identified
        ann = await stage.client()
        for _ in range(5_000):
            ann.say("0")
        await asyncio.sleep(0.1)
        assert ann.transport.get_write_buffer_size() > 200_000
        slow.set()
        await asyncio.sleep(0.5)
        assert ann.kinds() == ["A"]
        await order(ann, 1, 2, 5, "100")
        assert ann.last(35, 150) == ["8", "0"]
        ann.transport.close()


async def test_what_was_not_handed_in_when_the_session_ended_is_told_as_refused() -> None:
    async with serving() as stage:
        ann = await stage.client()
        stage.sequencer.wait_s = 1.0
        for number in (1, 2, 3):
            await order(ann, number, 2, 5, "100")
        stage.pipes.cut()
        await asyncio.sleep(2)
        stage.sequencer.wait_s = 0.001
        again = await stage.client(number=ann.number)
        assert again.told[0].get(34) == "4"
        assert reports(again) == [[None, "0", "1"]]
        again.say("2", (7, 2), (16, 3))
        await asyncio.sleep(0.05)
        assert reports(again)[1:] == [["Y", "8", "2"], ["Y", "8", "3"]]
        assert again.last(58) == ["ENDED: the session was over before this could be done"]
        await order(again, 2, 2, 5, "100")
        assert again.last(35, 150, 11) == ["8", "0", "2"]
        again.transport.close()


async def test_what_was_refused_when_nobody_was_there_is_told_later() -> None:
    async with serving() as stage:
        ann = await stage.client()
        stage.sequencer.wait_s, stage.sequencer.away = 1.0, True
        await order(ann, 1, 2, 5, "100")
        stage.pipes.cut()
        await asyncio.sleep(2)
        again = await stage.client(number=ann.number)
        again.say("2", (7, 2), (16, 0))
        await asyncio.sleep(0.05)
        assert reports(again) == [["Y", "8", "1"]]
        assert [each.get(58) for each in again.told if each.kind == "8"] == ["AWAY: try again in 1.000 s"]
        again.transport.close()


async def test_who_is_not_read_is_not_silent() -> None:
    async with serving(unacknowledged=1) as stage:
        ann = await stage.client(_108=1)
        stage.sequencer.wait_s = 5.0
        await order(ann, 1, 2, 5, "100")
        await order(ann, 2, 2, 5, "100")
        await asyncio.sleep(4.8)
        stage.sequencer.wait_s = 0.001
        await asyncio.sleep(0.5)
        assert reports(ann) == [[None, "0", "1"], [None, "0", "2"]]
        await asyncio.sleep(3)
        assert ann.last(35, 58) == ["5", "nothing came, not even an answer to a TestRequest"]


async def many(ann: Fix, count: int = 500) -> None:
    for number in range(1, count + 1):
        fields: list[tuple[int, object]] = [(11, number), (55, "ARC"), (54, 2), (38, 10), (40, 2), (44, 100), (59, 1)]
        ann.say("D", *fields)
    await asyncio.sleep(1)
    assert len(reports(ann)) == count


async def test_much_is_sent_again_as_fast_as_it_is_taken() -> None:
    async with serving(unsent_bytes=100_000) as stage:
        ann = await stage.client()
        await many(ann)
        ann.told.clear()
        ann.transport.pause_reading()
        ann.say("2", (7, 1), (16, 0))
        await asyncio.sleep(0.1)
        assert 20_000 < stage.pipes.ends[-1][1].get_write_buffer_size() < 60_000
        ann.transport.resume_reading()
        await asyncio.sleep(0.5)
        assert [int(each.fields[34]) for each in ann.told] == [*range(1, 502)]
        assert not ann.lost.is_set()
        ann.say("2", (7, 1), (16, 0))
        ann.say("5")
        await asyncio.sleep(0.5)
        assert len(reports(ann)) == 1_000
        assert ann.last(35, 58) == ["5", "as you wish"]


async def test_much_that_was_missed_is_told_as_fast_as_it_is_taken() -> None:
    async with serving(unsent_bytes=100_000) as stage:
        ann = await stage.client()
        await many(ann)
        ann.transport.close()
        async with FixServer(
            stage.sequencer, stage.server.reports, identify, stage.server._listed.values(),
            host=None, rules=stage.server.rules,
        ) as server:  # fmt: skip
            again = Fix("ANN")
            stage.pipes.server = server.connection
            await stage.pipes.connect(lambda: again)
            again.transport.pause_reading()
            again.say("A", (98, 0), (108, 30), (554, "ann"))
            again.say("D", (11, 501), (55, "ARC"), (54, 2), (38, 10), (40, 2), (44, 100), (59, 1))
            await asyncio.sleep(0.1)
            assert 20_000 < stage.pipes.ends[-1][1].get_write_buffer_size() < 60_000
            again.transport.resume_reading()
            await asyncio.sleep(0.5)
            assert [each[2] for each in reports(again)] == [str(number) for number in range(1, 502)]
            again.transport.close()


async def test_who_leaves_while_much_is_sent_again_keeps_nobody_waiting() -> None:
    async with serving(unsent_bytes=100_000) as stage:
        ann = await stage.client()
        await many(ann)
        ann.transport.pause_reading()
        ann.say("2", (7, 1), (16, 0))
        await asyncio.sleep(0.1)
        again = await stage.client(number=ann.number)
        assert again.last(35) == ["A"]
        again.transport.close()


async def test_a_cancelled_order_keeps_the_quantity_that_was_ordered() -> None:
    async with serving() as stage:
        ann, bob = await stage.client(), await stage.client("bob")
        await order(ann, 1, 2, 5, "100")
        await order(bob, 1, 1, 2, "100")
        ann.say("F", (11, "away"), (41, 1), (55, "ARC"), (54, 2))
        await asyncio.sleep(0.05)
        assert ann.last(150, 38, 14, 151) == ["4", "50", "20", "0"]
        await order(ann, 2, 2, 3, "100", _59=3)
        assert ann.last(150, 38, 14, 151) == ["C", "30", "0", "0"]
        for client in (ann, bob):
            client.transport.close()


async def test_what_another_program_of_the_account_is_refused_is_not_told_as_an_answer_here() -> None:
    async with serving() as stage:
        pipes = Pipes(BinaryServer(stage.sequencer, stage.server.reports, identify, host=None).connection)
        ann = await stage.client()
        await order(ann, 1, 2, 5, "100")
        told = len(ann.told)
        async with EntryClient("ann", pipes.connect) as client:
            await client.replace(book=1, order=1, price=0, quantity=5)
            await asyncio.sleep(0.05)
        assert len(ann.told) == told
        ann.transport.close()


async def test_a_second_logon_ends_the_first_when_what_it_asked_for_is_done() -> None:
    async with serving() as stage:
        ann = await stage.client()
        stage.sequencer.wait_s = 1.0
        await order(ann, 1, 2, 5, "100")
        again = await stage.client(number=3)
        assert ann.last(35, 58) == ["5", "the account has logged on elsewhere"]
        assert not again.told
        await asyncio.sleep(1)
        assert [*again.kinds(), again.last(34, 150, 11)] == ["A", "8", ["4", "0", "1"]]
        again.transport.close()
