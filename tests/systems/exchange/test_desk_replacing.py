"""A replace that crosses a fill: who asked did not know of it, and gets no more than they would have with it known."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pipes import Pipes

import pytest
from test_desk_board import order
from test_desk_floor import Late

from archstone.systems.exchange.desk.entry import Entry
from archstone.systems.exchange.desk.floor import Floor, rows
from archstone.systems.exchange.entry.fix import FixServer, Listed
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.venue import ReferenceVenue

ANN, BOB = 7, 8


@asynccontextmanager
async def selling_ten() -> AsyncGenerator[Floor]:
    """A floor that comes to know of everything a second late, where Ann sells ten lots and that is known."""
    async with Floor(Late(ReferenceVenue()), INSTRUMENTS) as floor:
        for account in (ANN, BOB):
            await floor.open_account(account)
        await floor.submit(rows([order(ANN, 1, Side.SELL, 10, 10_000)], book=1))
        yield floor


async def buy(floor: Floor, lots: int) -> None:
    """Have Bob buy without anybody knowing yet."""
    await floor.sequencer.submit(rows([order(BOB, 1, Side.BUY, lots, 10_000)], book=1))


@pytest.mark.parametrize(("bought", "left"), [(0, 10), (4, 6)])
async def test_over_the_desk(bought: int, left: int) -> None:
    async with selling_ten() as floor:
        if bought:
            await buy(floor, bought)
        assert floor.board.accounts[ANN].live[1].left == 10
        _, replaced = await Entry(floor).replace(ANN, 1, quantity=10, price=10_010)
        assert (replaced.price, replaced.left, replaced.filled, replaced.quantity) == (10_010, left, bought, 10)
        assert floor.feed.depth(1).sells == ((10_010, left, 1),)


@pytest.mark.parametrize(("bought", "left"), [(0, 10), (4, 6)])
async def test_over_fix(bought: int, left: int) -> None:
    pytest.importorskip("simplefix")
    from test_entry_fix import Fix

    async def identify(credential: str) -> int:
        return ANN

    listed = [Listed("ACME", 1, tick=Decimal("0.01"))]
    async with selling_ten() as floor, FixServer(floor.sequencer, floor.reports, identify, listed, host=None) as server:
        ann = Fix("ANN")
        await Pipes(server.connection).connect(lambda: ann)
        ann.say("A", (98, 0), (108, 30), (554, "ann"))
        await asyncio.sleep(2)
        assert ann.last(35, 150, 11, 151) == ["8", "0", "1", "10"]
        if bought:
            await buy(floor, bought)
        ann.say("G", (11, "dearer"), (41, 1), (55, "ACME"), (54, 2), (38, 10), (40, 2), (44, "100.10"), (60, "now"))
        await asyncio.sleep(3)
        assert ann.last(150, 11, 44, 38, 14, 151) == ["5", "dearer", "100.1", "10", str(bought), str(left)]
        assert floor.feed.depth(1).sells == ((10_010, left, 1),)
        ann.transport.close()
