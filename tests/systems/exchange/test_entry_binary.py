"""The binary protocol, on virtual time: what is done, done once, refused, and told."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from pipes import Pipes

import numpy as np
import pytest
from orders import sell
from plain import PlainVenue, opened, rows

from archstone.errors import DeniedError, RejectedError
from archstone.security.authority import Authority
from archstone.security.mtls import Identity
from archstone.systems.exchange.entry import REPORT, Position, Report, Reports, reports_of
from archstone.systems.exchange.entry.binary import (
    BinaryServer,
    Bounds,
    Choice,
    EntryClient,
    EntryClosedError,
    EntryRefusedError,
    Fault,
    Say,
    TooManyUnansweredError,
    over_tcp,
)
from archstone.systems.exchange.entry.binary.messages import LOGON, Logon, faulty, logon
from archstone.systems.exchange.entry.reports import NOW
from archstone.systems.exchange.matching import COMMAND, Command, Commands, Kind, Reason, Side, Told, rows_of
from archstone.systems.exchange.sequencer import Batch, MemorySequencer
from archstone.systems.exchange.venue import order_id

ACCOUNTS = {"ann": 7, "bob": 8}


async def identify(credential: str) -> int:
    await asyncio.sleep(0)
    if credential not in ACCOUNTS:
        raise DeniedError("nobody")
    return ACCOUNTS[credential]


class Slow(MemorySequencer):
    """Takes a moment, and refuses while it is away."""

    def __init__(self) -> None:
        super().__init__(PlainVenue())
        self.wait_s = 0.001
        self.away = False
        self.sizes: list[int] = []

    async def submit(self, commands: Commands) -> Batch:
        await asyncio.sleep(self.wait_s)
        if self.away:
            raise RejectedError("nobody leads")
        self.sizes.append(len(commands))
        return await super().submit(commands)


class Stage:
    def __init__(self, sequencer: Slow, server: BinaryServer) -> None:
        self.sequencer, self.server = sequencer, server
        self.pipes = Pipes(server.connection)

    def client(self, credential: str = "ann", **options) -> EntryClient:
        return EntryClient(credential, self.pipes.connect, **options)


@asynccontextmanager
async def serving(*, keep: int = 4_096, **bounds) -> AsyncGenerator[Stage]:
    sequencer = Slow()
    await sequencer.submit(opened(1, 2))
    async with (
        Reports(sequencer, keep=keep) as reports,
        BinaryServer(sequencer, reports, identify, host=None, bounds=Bounds(**bounds)) as server,
    ):
        yield Stage(sequencer, server)


class Raw(asyncio.Protocol):
    """Sends whatever bytes, and collects what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.Event()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc) -> None:
        self.lost.set()

    @property
    def told(self) -> list[Report]:
        return reports_of(np.frombuffer(self.data, REPORT, len(self.data) // 64))

    def request(self, *commands: Command, first: int = 1, book: int = 1, **fields) -> None:
        found = rows(book, *commands)
        found["sequence"] = range(first, first + len(found))
        for name, value in fields.items():
            found[name] = value
        self.transport.write(found.tobytes())


async def raw(stage: Stage, credential: str = "ann", **fields) -> Raw:
    protocol = Raw()
    await stage.pipes.connect(lambda: protocol)
    said = Logon(0, Choice.NONE, 1_000, *NOW, 0)._replace(**fields)
    protocol.transport.write(logon(said, credential.encode()))
    await asyncio.sleep(0.01)
    return protocol


def kinds(reports: list[Report]) -> list[int]:
    return [each.kind for each in reports]


async def test_two_accounts_trade() -> None:
    async with serving() as stage:
        seen: list[Report] = []
        async with stage.client("ann", on_report=seen.append) as ann, stage.client("bob") as bob:
            resting = await ann.new(book=1, side=Side.SELL, price=100, quantity=5)
            assert (ann.account, resting.kind, resting.order) == (7, Told.ACCEPTED, 1)
            taking = await bob.new(book=1, side=Side.BUY, price=101, quantity=3)
            assert (bob.account, taking.kind, taking.order) == (8, Told.ACCEPTED, 1)
            await asyncio.sleep(0.01)
            assert kinds(seen) == [Told.ACCEPTED, Told.RESTED, Told.TRADED]
            assert (seen[-1].price, seen[-1].quantity, seen[-1].left, seen[-1].side) == (100, 3, 2, Side.SELL)
            replaced = await ann.replace(book=1, order=1, price=100, quantity=1, believed=2)
            assert (replaced.kind, replaced.quantity) == (Told.REPLACED, 1)
            assert (await ann.cancel(book=1, order=1)).kind == Told.CANCELED
            assert (await ann.cancel(book=1, order=1)).reason == Reason.UNKNOWN
            assert (await ann.mass_cancel(book=2)).kind == Told.SWEPT
            assert (await ann.mass_cancel(book=9)).reason == Reason.NO_BOOK


async def test_requests_that_come_together_are_submitted_together() -> None:
    async with serving() as stage, stage.client() as client:
        stage.sequencer.sizes.clear()
        answers = [
            client.submit(Command(Kind.NEW, client.next_number(), side=1, price=100, quantity=1), book=1)
            for _ in range(500)
        ]
        assert {each.kind for each in await asyncio.gather(*answers)} == {Told.ACCEPTED}
        assert sum(stage.sequencer.sizes) == 500
        assert len(stage.sequencer.sizes) < 20


async def test_a_program_that_comes_back_is_told_what_it_missed() -> None:
    async with serving() as stage:
        async with stage.client("ann") as ann:
            await ann.new(book=1, side=Side.SELL, price=100, quantity=5)
            await asyncio.sleep(0.01)
            position = ann.position
        async with stage.client("bob") as bob:
            await bob.new(book=1, side=Side.BUY, price=100, quantity=2)
        seen: list[Report] = []
        async with stage.client("ann", position=position, on_report=seen.append) as ann:
            assert kinds(seen) == [Told.TRADED]
            assert ann.highest == 1
            assert (await ann.new(book=1, side=Side.SELL, price=100, quantity=5)).order == 2


async def test_what_is_no_longer_kept_is_said() -> None:
    async with serving(keep=4) as stage:
        async with stage.client() as client:
            for _ in range(6):
                await client.new(book=1, side=Side.SELL, price=100, quantity=5)
        with pytest.raises(EntryClosedError, match="FORGOTTEN"):
            async with stage.client(position=Position(0)):
                pass
        async with stage.client():
            pass


async def test_who_is_not_known_is_not_let_in() -> None:
    async with serving() as stage:
        with pytest.raises(EntryClosedError, match="DENIED"):
            async with stage.client("eve"):
                pass
        with pytest.raises(EntryClosedError, match="DENIED"):
            async with stage.client("ann", account=8):
                pass


async def test_the_third_to_log_on_waits_for_the_first_although_the_second_has_given_up() -> None:
    async with serving(logon_s=2.0) as stage:
        first = await raw(stage)
        stage.sequencer.wait_s = 10.0
        first.request(Command(Kind.NEW, 1, side=1, price=100, quantity=1))
        await asyncio.sleep(1)
        second = await raw(stage)
        await asyncio.sleep(3)
        third = await raw(stage)
        await asyncio.sleep(5)
        last = await raw(stage)
        await asyncio.sleep(1.9)
        for given_up in (second, third):
            assert [(each.kind, each.reason) for each in given_up.told] == [(Say.BYE, Fault.AWAY)]
        assert [(each.kind, each.left) for each in last.told][:1] == [(Say.WELCOME, 1)]
        last.transport.close()


async def test_a_connection_ends_when_its_credential_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as stage:
        ann, bob = await raw(stage, heartbeat_ms=60_000), await raw(stage, "bob", heartbeat_ms=60_000)
        await asyncio.sleep(40)
        assert not ann.lost.is_set()
        monkeypatch.delitem(ACCOUNTS, "ann")
        await asyncio.sleep(30)
        assert [ann.told[-1].kind, ann.told[-1].reason] == [Say.BYE, Fault.DENIED]
        assert not bob.lost.is_set()
        bob.transport.close()


async def test_orders_for_books_that_are_not_there_do_not_keep_others_from_being_cancelled() -> None:
    async with serving() as stage, stage.client("bob") as bob:
        async with stage.client("ann", choices=Choice.CANCEL_ON_DISCONNECT) as ann:
            await ann.new(book=1, side=Side.SELL, price=100, quantity=5)
            made_up = [bob.new(book=book, side=Side.SELL, price=100, quantity=5) for book in (7, 8, 9)]
            assert {each.reason for each in await asyncio.gather(*made_up)} == {Reason.NO_BOOK}
            stage.sequencer.sizes.clear()
        await asyncio.sleep(0.1)
        assert len(stage.sequencer.venue) == 0
        assert (stage.server.reports.books, stage.sequencer.sizes) == ({1, 2}, [2])


async def test_orders_are_cancelled_in_more_books_than_go_into_a_frame() -> None:
    async with serving() as stage:
        await stage.sequencer.submit(opened(*range(3, 5_001)))
        async with stage.client(choices=Choice.CANCEL_ON_DISCONNECT) as client:
            for book in (1, 5_000):
                await client.new(book=book, side=Side.SELL, price=100, quantity=5)
            stage.sequencer.sizes.clear()
        await asyncio.sleep(0.1)
        assert len(stage.sequencer.venue) == 0
        assert stage.sequencer.sizes == [4_096, 904]


async def test_a_new_connection_takes_over() -> None:
    async with serving() as stage, stage.client() as first, stage.client() as second:
        with pytest.raises(EntryClosedError, match="TAKEN_OVER"):
            await first.new(book=1, side=Side.SELL, price=100, quantity=5)
        assert (await second.new(book=1, side=Side.SELL, price=100, quantity=5)).kind == Told.ACCEPTED


@pytest.mark.parametrize("choices", Choice)
async def test_orders_are_cancelled_with_the_connection_by_choice(choices: Choice) -> None:
    async with serving() as stage:
        async with stage.client("ann", choices=choices) as ann:
            for book in (1, 2):
                await ann.new(book=book, side=Side.SELL, price=100, quantity=5)
            stage.pipes.down = True
            stage.pipes.cut()
            await asyncio.sleep(0.1)
            assert len(stage.sequencer.venue) == (0 if choices else 2)
            stage.pipes.down = False
            await ann.mass_cancel(book=2)
        await asyncio.sleep(0.1)
        assert len(stage.sequencer.venue) == (0 if choices else 1)


async def test_orders_are_cancelled_when_the_exchange_is_back() -> None:
    async with serving() as stage, stage.client(choices=Choice.CANCEL_ON_DISCONNECT) as client:
        await client.new(book=1, side=Side.SELL, price=100, quantity=5)
        stage.sequencer.away = stage.pipes.down = True
        stage.pipes.cut()
        await asyncio.sleep(5)
        assert len(stage.sequencer.venue) == 1
        stage.sequencer.away = False
        await asyncio.sleep(1.1)
        assert len(stage.sequencer.venue) == 0


async def test_while_the_exchange_is_away_requests_are_refused_and_nothing_happens() -> None:
    async with serving() as stage, stage.client() as client:
        stage.sequencer.away = True
        with pytest.raises(EntryRefusedError, match=r"AWAY: try again in 1\.000 s") as refused:
            await client.new(book=1, side=Side.SELL, price=100, quantity=5)
        assert refused.value.retry_after_s == 1
        stage.sequencer.away = False
        assert (await client.new(book=1, side=Side.SELL, price=100, quantity=5)).order == 2


async def test_more_in_a_second_than_is_taken_is_refused_and_the_rest_done() -> None:
    async with serving(per_s=10) as stage, stage.client() as client:
        answers = [
            client.submit(Command(Kind.NEW, client.next_number(), side=1, price=100, quantity=1), book=1)
            for _ in range(12)
        ]
        done = await asyncio.gather(*answers, return_exceptions=True)
        assert [isinstance(each, EntryRefusedError) for each in done] == [False] * 10 + [True] * 2
        assert done[-1].fault == Fault.TOO_FAST
        await asyncio.sleep(done[-1].retry_after_s)
        assert (await client.new(book=1, side=Side.SELL, price=200, quantity=5)).kind == Told.ACCEPTED


async def test_who_sends_faster_than_is_done_is_not_read() -> None:
    async with serving(unacknowledged=100) as stage:
        stage.sequencer.wait_s = 1.0
        protocol = await raw(stage)
        new = [Command(Kind.NEW, number, side=1, price=100, quantity=1) for number in range(1, 5_001)]
        protocol.request(*new)
        await asyncio.sleep(0.5)
        assert protocol.transport.get_write_buffer_size() > 1_000 * 64
        stage.sequencer.wait_s = 0.001
        await asyncio.sleep(5)
        assert sum(kind == Told.ACCEPTED for kind in kinds(protocol.told)) == 5_000
        assert max(stage.sequencer.sizes) <= 100 + 1_024
        protocol.transport.close()


async def test_who_is_not_read_is_not_silent() -> None:
    async with serving(unacknowledged=1) as stage:
        stage.sequencer.wait_s = 5.0
        protocol = await raw(stage, heartbeat_ms=1_000)
        protocol.request(Command(Kind.NEW, 1, side=1, price=100, quantity=1))
        await asyncio.sleep(5.5)
        assert protocol.told[-1].kind == Told.RESTED
        await asyncio.sleep(4)
        assert protocol.told[-1].reason == Fault.SILENT


async def test_numbers_of_requests_go_on_at_0_after_the_highest() -> None:
    async with serving() as stage:
        protocol = await raw(stage, request=2**64 - 2)
        new = [Command(Kind.NEW, number, side=1, price=100, quantity=1) for number in (1, 2)]
        protocol.request(*new, sequence=np.array([2**64 - 1, 0], np.uint64))
        await asyncio.sleep(0.1)
        assert kinds(protocol.told)[2:] == [Told.ACCEPTED, Told.RESTED] * 2
        protocol.transport.close()


async def test_who_does_not_take_reports_is_closed_and_gets_them_later() -> None:
    async with serving(unsent_bytes=64 * 20) as stage:
        protocol = await raw(stage)
        protocol.transport.pause_reading()
        for number in range(1, 30):
            protocol.request(Command(Kind.NEW, number, side=1, price=100, quantity=1), first=number)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert protocol.lost.is_set() or protocol.transport.ended
        seen: list[Report] = []
        async with stage.client(position=Position(2), on_report=seen.append):
            assert len(seen) >= 20


async def test_silence_ends_a_connection_and_heartbeats_keep_it() -> None:
    async with serving() as stage:
        async with stage.client(heartbeat_s=0.5) as client:
            await asyncio.sleep(60)
            assert client.connections == 1
        protocol = await raw(stage, heartbeat_ms=500)
        await asyncio.sleep(1.4)
        assert not protocol.lost.is_set()
        await asyncio.sleep(1)
        assert protocol.told[-1].reason == Fault.SILENT
        assert kinds(protocol.told) == [Say.WELCOME, Say.RESUMED, Say.HEARTBEAT, Say.HEARTBEAT, Say.HEARTBEAT, Say.BYE]
        assert [each.number for each in protocol.told] == [1, 2, 3, 4, 5, 6]


async def test_a_client_gives_up_a_silent_server() -> None:
    async with serving() as stage, stage.client(heartbeat_s=0.5) as client:
        await asyncio.sleep(1)
        stage.pipes.ends[-1][1].paused = True
        for end in stage.pipes.ends[-1]:
            end.write = lambda _: None
        await asyncio.sleep(3)
        assert client.connections == 2


async def test_a_connection_that_does_not_log_on_is_closed() -> None:
    async with serving(logon_s=2.0) as stage:
        protocol = Raw()
        await stage.pipes.connect(lambda: protocol)
        await asyncio.sleep(1.9)
        assert not protocol.lost.is_set()
        await asyncio.sleep(0.2)
        assert [each.reason for each in protocol.told] == [Fault.SILENT]
        assert not stage.server.sessions(0)


async def test_one_connection_too_many_is_told_so() -> None:
    async with serving(connections=1) as stage, stage.client():
        protocol = Raw()
        await stage.pipes.connect(lambda: protocol)
        await asyncio.sleep(0.1)
        assert [each.reason for each in protocol.told] == [Fault.FULL]


@pytest.mark.real_time
async def test_connections_whose_tls_fails_take_no_place_for_good(tmp_path: Path) -> None:
    authority = Authority.create("exchange.internal")
    for name in ("a", "b"):
        authority.give(name, tmp_path / name)
    here, there = (Identity(tmp_path / name, domain="exchange.internal") for name in ("a", "b"))
    async with (
        Reports(Slow()) as reports,
        BinaryServer(
            reports._sequencer,
            reports,
            identify,
            port=0,
            ssl=here.server(),
            bounds=Bounds(connections=1, logon_s=0.1),  # type: ignore[arg-type]
        ) as server,
    ):
        reader, stranger = await asyncio.open_connection("127.0.0.1", server.port)
        stranger.write(b"hello\r\n")
        await reader.read()
        stranger.close()
        assert server.is_full
        await asyncio.sleep(0.2)
        assert not server.is_full
        async with EntryClient("ann", over_tcp("127.0.0.1", server.port, ssl=there.client())) as client:
            assert client.account == ACCOUNTS["ann"]


FAULTY = {
    "a kind that is none": {"kind": 9},
    "what operators do": {"kind": Kind.DEPOSIT},
    "another account": {"account": 8},
    "a number of an order that is too high": {"id": 2**32},
    "no number of an order": {"id": 0},
    "something in spare": {"spare": 1},
}


@pytest.mark.parametrize("fields", FAULTY.values(), ids=FAULTY)
async def test_a_request_that_is_none_is_refused_and_the_others_done(fields: dict[str, int]) -> None:
    async with serving() as stage:
        protocol = await raw(stage)
        protocol.request(Command(Kind.NEW, 1, side=1, price=100, quantity=1), **fields)
        protocol.request(Command(Kind.NEW, 2, side=1, price=100, quantity=1), first=2)
        await asyncio.sleep(0.1)
        told = protocol.told[2:]
        assert kinds(told) == [Say.REFUSED, Told.ACCEPTED, Told.RESTED]
        assert (told[0].left, told[0].tag, told[0].reason) == (1, 1, Fault.MALFORMED)
        protocol.transport.close()


async def test_a_number_out_of_order_ends_the_connection() -> None:
    async with serving() as stage:
        protocol = await raw(stage)
        protocol.request(Command(Kind.NEW, 1, side=1, price=100, quantity=1), first=2)
        await asyncio.sleep(0.1)
        assert protocol.told[-1].reason == Fault.NUMBER
        assert len(stage.sequencer.venue) == 0


async def test_a_client_bounds_what_it_waits_for() -> None:
    async with serving() as stage, stage.client(unanswered=2) as client:
        answers = [client.submit(Command(Kind.MASS_CANCEL), book=1) for _ in range(2)]
        with pytest.raises(TooManyUnansweredError, match="2 requests have no answer yet"):
            client.submit(Command(Kind.MASS_CANCEL), book=1)
        await asyncio.gather(*answers)
        await client.mass_cancel(book=1)


async def test_a_server_that_stops_says_so_and_its_clients_come_back() -> None:
    async with serving() as stage, stage.client() as client:
        await stage.server.__aexit__(None, None, None)
        server = BinaryServer(stage.sequencer, stage.server.reports, identify, host=None)
        stage.pipes.server = server.connection
        assert (await client.new(book=1, side=Side.SELL, price=100, quantity=5)).kind == Told.ACCEPTED
        assert client.connections == 2
        async with server:
            pass


async def test_the_other_side_of_a_trade_is_not_told() -> None:
    async with serving() as stage:
        seen: list[Report] = []
        async with stage.client("ann", on_report=seen.append) as ann, stage.client("bob") as bob:
            await ann.new(book=1, side=Side.SELL, price=100, quantity=5)
            for _ in range(3):
                await bob.mass_cancel(book=1)
            await bob.new(book=1, side=Side.BUY, price=100, quantity=5)
            await asyncio.sleep(0.01)
        assert (seen[-1].kind, seen[-1].order, seen[-1].tag, seen[-1].left) == (Told.TRADED, 1, 0, 0)


async def test_an_account_that_trades_with_itself_is_told_of_both_sides() -> None:
    async with serving() as stage:
        seen: list[Report] = []
        async with stage.client(on_report=seen.append) as client:
            await client.new(book=1, side=Side.SELL, price=100, quantity=5)
            await client.new(book=1, side=Side.BUY, price=100, quantity=5)
            await asyncio.sleep(0.01)
        trades = [each for each in seen if each.kind == Told.TRADED]
        assert [(each.order, each.side) for each in trades] == [(2, Side.BUY), (1, Side.SELL)]
        assert trades[0].trade == trades[1].trade
        assert trades[0].position < trades[1].position


def test_records_have_the_offsets_that_are_documented() -> None:
    assert [LOGON.fields[name][1] for name in LOGON.names] == [0, 1, 2, 4, 6, 8, 12, 16, 24, 28, 32, 40]
    assert [REPORT.fields[name][1] for name in REPORT.names] == [0, 1, 2, 3, 4, 8, 16, 24, 32, 40, 48, 52, 56, 60, 62]
    assert LOGON.itemsize == REPORT.itemsize == COMMAND.itemsize == 64


async def test_reports_of_orders_entered_elsewhere_are_told_too() -> None:
    async with serving() as stage:
        seen: list[Report] = []
        async with stage.client(on_report=seen.append):
            found = rows_of([sell(order_id(7, 40), 5, 100, account=7)])
            found["book"] = 1
            await stage.sequencer.submit(found)
            await asyncio.sleep(0.01)
        assert [(each.order, each.tag) for each in seen] == [(40, 0), (40, 0)]


@pytest.mark.real_time
async def test_over_tcp() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    async with (
        Reports(sequencer) as reports,
        BinaryServer(sequencer, reports, identify, port=0) as server,
        EntryClient("ann", over_tcp("127.0.0.1", server.port)) as ann,
        EntryClient("bob", over_tcp("127.0.0.1", server.port)) as bob,
    ):
        await ann.new(book=1, side=Side.SELL, price=100, quantity=500)
        answers = [
            bob.submit(Command(Kind.NEW, bob.next_number(), side=Side.BUY, price=100, quantity=1), book=1)
            for _ in range(500)
        ]
        assert {each.kind for each in await asyncio.gather(*answers)} == {Told.ACCEPTED}
        assert len(sequencer.venue) == 0


NOT_LOOKED_AT = {
    Kind.NEW: {"side", "type", "tif", "flags", "stp", "price", "quantity", "display", "trigger"},
    Kind.CANCEL: set[str](),
    Kind.REPLACE: {"price", "quantity", "trigger"},
    Kind.MASS_CANCEL: {"side"},
}
"""What a request of a kind may say, beside kind, book, id, account and its own number."""


@pytest.mark.parametrize("kind", NOT_LOOKED_AT)
def test_each_field_that_a_request_must_leave_empty_makes_it_malformed(kind: Kind) -> None:
    names = [name for name in COMMAND.names or () if name not in {"kind", "account", "id", "book", "sequence"}]
    rows = np.zeros(len(names) + 1, COMMAND)
    rows["kind"], rows["book"], rows["sequence"], rows["account"] = kind, 2**32 - 1, 2**64 - 1, 7
    rows["id"] = kind != Kind.MASS_CANCEL
    for row, name in zip(rows, names, strict=False):
        row[name] = 1
    wrong = faulty(rows, 7)
    assert not wrong[-1]
    assert {name for name, is_wrong in zip(names, wrong, strict=False) if not is_wrong} == NOT_LOOKED_AT[kind]
    assert faulty(rows, 8).all(), "of another account"
