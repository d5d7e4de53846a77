"""The readers as parts of a system: what they are given, who may ask, and all of it after one start."""

import pytest
from clearing_stream import eventually

from archstone.context import Principal
from archstone.runtime import running
from archstone.security import Role, Roles
from archstone.services import ForbiddenError, System
from archstone.systems.exchange.clearing import Clearing, ClearingService, FeeSchedule, differences
from archstone.systems.exchange.matching import Command, Kind, Limit, Side, Type
from archstone.systems.exchange.sequencer import MemorySequencer, Sequencer
from archstone.systems.exchange.surveillance import Market, Surveillance, SurveillanceService
from archstone.systems.exchange.tape import Symbols, TapeService
from archstone.systems.exchange.venue import ReferenceVenue, order_id
from archstone.systems.exchange.venue.flows import rows

TRADER = Role("trader", may=("clearing:read",))
WATCHER = Role("watcher", may=("clearing:read-any", "surveillance:read"), above=(TRADER,))
ADMIN = Role("admin", may=("clearing:correct", "surveillance:judge"), above=(WATCHER,))
ANN, ROOT = Principal("ann", frozenset({"trader"})), Principal("root", frozenset({"admin"}))
FREE = FeeSchedule(maker_ppm=0, taker_ppm=0, auction_ppm=0)


def exchange(sequencer: MemorySequencer) -> System:
    return System(
        "floor",
        services=[TapeService, ClearingService, SurveillanceService],
        provide={
            Sequencer: lambda _: sequencer,
            FeeSchedule: lambda _: FREE,
            Symbols: lambda _: Symbols({1: "ACME"}),
        },
        roles=Roles(TRADER, WATCHER, ADMIN),
    )


def order(account: int, number: int, side: Side, lots: int, price: int) -> tuple[int, Command]:
    return 1, Command(Kind.NEW, order_id(account, number), account, side, Type.LIMIT, price=price, quantity=lots)


FOUNDED = [
    (1, Command(Kind.OPEN, type=1, price=10, quantity=1_000)),
    *[(0, Command(Kind.LIMIT, account=account, type=limit, quantity=10**9)) for account in (2, 3) for limit in Limit],
    *[(0, Command(Kind.DEPOSIT, account=account, quantity=10**6)) for account in (2, 3)],
]


async def test_an_order_that_trades_is_in_the_ledger_and_in_the_candles(tmp_path):
    venue = ReferenceVenue()
    sequencer = MemorySequencer(venue)
    async with running(exchange(sequencer), data=tmp_path) as run:
        await sequencer.submit(rows(FOUNDED))
        await sequencer.submit(rows([order(3, 1, Side.SELL, 5, 100)]))
        await sequencer.submit(rows([order(2, 1, Side.BUY, 3, 101)]))
        clearing, market = run.client(Clearing, as_=ROOT), run.client(Market)

        async def there() -> bool:
            return bool(await market.trades("ACME")) and (await clearing.balances(2)).through == sequencer.last

        await eventually(there)
        cash, lots = (await clearing.balances(2)).balances
        assert (cash.settled, cash.pending, lots.asset, lots.pending) == (10**6, -3 * 100 * 10, "1", 3)
        assert [(each.price, each.lots) for each in await market.trades("ACME")] == [(100, 3)]
        assert (await market.candles("ACME")).candles[-1].close == 100
        assert (await run.client(Surveillance, as_=ROOT).alerts()).items == ()
        db = run.parts.services["clearing"].database
        standings = [venue.standing(account) for account in (2, 3)]
        assert await differences(db, standings, sequence=sequencer.last) == []
        with pytest.raises(ForbiddenError):
            await run.client(Surveillance, as_=ANN).alerts()
        assert (await run.client(Clearing, as_=ANN).balances(2)).balances == ()


async def test_a_sequencer_that_begins_anew_is_told_to_whoever_must_hear(tmp_path):
    for orders in (3, 1):
        sequencer = MemorySequencer(ReferenceVenue())
        async with running(exchange(sequencer), data=tmp_path) as run:
            await sequencer.submit(rows(FOUNDED[:orders]))
            if orders == 3:
                await eventually(lambda: read(run, 3))
                continue

            async def told() -> bool:
                return any("the stream ends at" in alert.why for alert in run.alerts.firing())

            await eventually(told)
            assert await read(run, 3)


async def read(run, last: int) -> bool:
    return await run.parts.services["tape"].database.one(int, "SELECT last FROM progress") == last
