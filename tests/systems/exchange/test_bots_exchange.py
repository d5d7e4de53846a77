"""The exchange as `archstone up exchange` starts it: bots make a market in all that it trades."""

import asyncio
from pathlib import Path

from archstone.context import Principal
from archstone.runtime import running
from archstone.systems.exchange.desk.contract import Market
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.system import exchange


async def test_an_exchange_that_has_just_started_is_quoted_and_trades_in_all_books(tmp_path: Path) -> None:
    async with running(exchange, data=tmp_path, options={"bots": "on", "seed": "3"}) as run:
        await asyncio.sleep(30)
        market = run.client(Market, as_=Principal())
        for each in INSTRUMENTS.all:
            depth = await market.depth(each.symbol)
            assert depth.bids
            assert depth.asks
            assert abs(depth.bids[0].price - each.opening) < 0.06 * each.opening
            assert (await market.trades(each.symbol)).items, each.symbol
        venue = run.parts.provided[Floor].sequencer.venue
    assert len(venue) == 0, "what they had open is cancelled before the exchange ends"
