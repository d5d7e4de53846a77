"""FIX with a client that others wrote: fixcore, which checks what it is sent by QuickFIX's dictionary of FIX 4.4."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from plain import PlainVenue, opened
from test_entry_binary import identify

from archstone.systems.exchange.entry import Reports
from archstone.systems.exchange.entry.fix import FixServer, Listed
from archstone.systems.exchange.sequencer import MemorySequencer

pytest.importorskip("simplefix")
fixcore = pytest.importorskip("fixcore")
pytestmark = pytest.mark.real_time

SETTINGS = """
[DEFAULT]
ConnectionType=initiator
HeartBtInt=1
ReconnectInterval=1
PersistMessages=N
UseDataDictionary=Y
DataDictionary=FIX44.xml
ValidateFieldsOutOfRange=Y
[SESSION]
BeginString=FIX.4.4
SenderCompID={name}
TargetCompID=ARCHSTONE
SocketConnectHost=127.0.0.1
SocketConnectPort={port}
"""


class Trader(fixcore.Application):
    """What a user of that library writes."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.admin: list[Any] = []
        self.on = asyncio.Event()

    def to_admin(self, message: Any, session_id: Any) -> None:
        if message.msg_type == "A":
            message[554] = self.password

    def on_logon(self, session_id: Any) -> None:
        self.on.set()

    def on_logout(self, session_id: Any) -> None:
        self.on.clear()

    def from_admin(self, message: Any, session_id: Any) -> None:
        self.admin.append(message)

    def from_app(self, message: Any, session_id: Any) -> None:
        self.told.put_nowait(message)

    async def next(self, *tags: int) -> list[str]:
        async with asyncio.timeout(5):
            message = await self.told.get()
        return [message.header.get(tag) if tag == 35 else message.get(tag) for tag in tags]

    async def send(self, kind: str, **fields: object) -> None:
        from fixcore.message import Message

        message = Message()
        message.header.set(35, kind)
        for tag, value in ({"_60": "20260101-00:00:00"} | fields).items():
            message[int(tag[1:])] = str(value)
        await self.session.send_app(message)


@asynccontextmanager
async def trading(name: str, port: int, *, password: str | None = None) -> AsyncGenerator[Trader]:
    from fixcore.session.session_settings import SessionSettings
    from fixcore.transport.initiator import SocketInitiator

    trader = Trader(password or name)
    initiator = SocketInitiator(SessionSettings.from_string(SETTINGS.format(name=name.upper(), port=port)), trader)
    async with initiator:
        (trader.session,) = initiator.sessions.values()
        async with asyncio.timeout(5):
            await trader.on.wait()
        yield trader
        await initiator.logout()
        async with asyncio.timeout(5):
            while trader.on.is_set():
                await asyncio.sleep(0.01)


ARC = {"_55": "ARC", "_40": 2}


async def test_two_traders_with_a_library_of_others() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    listed = [Listed("ARC", 1, tick=Decimal("0.05"), lot=10)]
    async with (
        Reports(sequencer) as reports,
        FixServer(sequencer, reports, identify, listed, port=0) as server,
        trading("ann", server.port) as ann,
        trading("bob", server.port) as bob,
    ):
        await ann.send("D", _11=1, _54=2, _38=50, _44="10.05", **ARC)
        assert await ann.next(35, 150, 39, 11) == ["8", "0", "0", "1"]
        await bob.send("D", _11=1, _54=1, _38=20, _44="10.10", **ARC)
        assert await bob.next(150, 39) == ["0", "0"]
        assert await bob.next(150, 39, 31, 32, 6) == ["F", "2", "10.05", "20", "10.05"]
        assert await ann.next(150, 39, 31, 32, 151) == ["F", "1", "10.05", "20", "30"]
        await ann.send("G", _11="up", _41=1, _54=2, _38=60, _44="11", **ARC)
        assert await ann.next(150, 39, 11, 41, 151) == ["5", "1", "up", "1", "40"]
        await ann.send("F", _11="away", _41="up", _54=2, _55="ARC")
        assert await ann.next(150, 39, 11, 41) == ["4", "4", "away", "up"]
        await ann.send("F", _11="again", _41="away", _54=2, _55="ARC")
        assert await ann.next(35, 434, 102) == ["9", "1", "1"]
        await bob.send("D", _11=2, _54=1, _38=20, _44="9", **ARC)
        assert await bob.next(150, 39) == ["0", "0"]
        await bob.send("q", _11="all", _530=1, _55="ARC")
        assert await bob.next(150, 39, 58) == ["4", "4", "MASS"]
        assert await bob.next(35, 531, 533) == ["r", "1", "1"]
        await bob.send("H", _11=2, _54=1, _55="ARC")
        assert await bob.next(35, 150, 39) == ["8", "I", "4"]
        assert not [each for each in ann.admin + bob.admin if each.msg_type == "3"]


async def test_a_client_that_lost_messages_gets_them_again() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    listed = [Listed("ARC", 1)]
    async with (
        Reports(sequencer) as reports,
        FixServer(sequencer, reports, identify, listed, port=0) as server,
        trading("ann", server.port) as ann,
    ):
        await ann.send("D", _11=1, _54=2, _38=5, _44=10, **ARC)
        assert await ann.next(150) == ["0"]
        kept = server.kept(7)
        (session,) = server.sessions(7)
        write, session.wire.write = session.wire.write, lambda data: None  # what is said now gets lost
        await ann.send("D", _11=2, _54=2, _38=5, _44=11, **ARC)
        while kept.orders.read is None or len(sequencer.venue) < 2:
            await asyncio.sleep(0.01)
        session.wire.write = write
        await ann.send("D", _11=3, _54=2, _38=5, _44=12, **ARC)
        assert {(await ann.next(11))[0] for _ in range(2)} == {"2", "3"}
        ann.on.clear()
        session.wire._transport.abort()
        async with asyncio.timeout(5):
            await ann.on.wait()
        await ann.send("F", _11="x", _41=3, _54=2, _55="ARC")
        assert await ann.next(150, 41) == ["4", "3"]
