"""What one can still order, as the desk reckons it, is what the venue's checks would take."""

from random import Random

import pytest
from test_desk_board import order

from archstone.systems.exchange.desk.entry import Entry, Wish
from archstone.systems.exchange.desk.floor import Floor, rows
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Kind, Limit, Reason, Side
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue import risk as rules

MONEY = {7: 100_000_000, 8: 3_000_000, 9: 400_000}
"""Of accounts: one that limits hold, one that money holds, one that has next to none."""
LIMITS = {7: {Limit.QUANTITY: 1_500, Limit.ORDERS: 5}, 8: {Limit.POSITION: 60}, 9: {}}


def taken(venue: ReferenceVenue, account: int, wish: Wish, lots: int) -> Reason:
    """Return why the venue would refuse an order; NONE: it would take it."""
    state = venue.state
    market = state.markets[wish.about.book]
    price = wish.price or market.worst(wish.side, wish.trigger)
    asked = rules.Wish(wish.side, price, lots, wish.trigger)
    return rules.refusal(state.accounts[account], market, asked, state.markets)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_as_many_lots_as_it_says_are_taken_and_not_one_more(seed: int) -> None:
    venue, random, met = ReferenceVenue(), Random(seed), set[Reason]()
    books = [INSTRUMENTS.all[0], INSTRUMENTS.all[2]]
    async with Floor(MemorySequencer(venue), INSTRUMENTS) as floor:
        entry = Entry(floor)
        for account, cents in MONEY.items():
            await floor.open_account(account, cents)
            for which, to in LIMITS[account].items():
                await floor.submit(rows([Command(Kind.LIMIT, account=account, type=which, quantity=to)]))
        for about in books:  # until something has traded the venue asks for no margin
            for number, (account, side) in enumerate([(7, Side.SELL), (8, Side.BUY)], start=about.book):
                await floor.submit(rows([order(account, number, side, 1, about.opening)], book=about.book))
        for number in range(10, 160):
            about, account = random.choice(books), random.choice([*MONEY])
            last = floor.board.books[about.book].last
            side, price = random.choice([*Side]), last * random.randint(97, 103) // 100
            await floor.submit(rows([order(account, number, side, random.randint(1, 400), price)], book=about.book))
            if not number % 20:
                await floor.submit(rows([Command(Kind.MASS_CANCEL, account=account)], book=about.book))
            for who in MONEY:
                wish = Wish(about, random.choice([*Side]), random.choice([None, price]), 0)
                lots = entry.most(who, wish).lots
                assert lots == 0 or taken(venue, who, wish, lots) == Reason.NONE
                met.add(why := taken(venue, who, wish, lots + 1))
                assert why in {Reason.QUANTITY, Reason.VALUE, Reason.POSITION, Reason.CREDIT, Reason.ORDERS}
    assert met >= {Reason.QUANTITY, Reason.POSITION, Reason.CREDIT, Reason.ORDERS}, met


async def test_who_is_stopped_may_order_nothing() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        await floor.open_account(7)
        wish = Wish(INSTRUMENTS.all[0], Side.BUY, 10_000, 0)
        assert Entry(floor).most(7, wish).lots == 5_000
        for account in (7, 0):
            await floor.submit(rows([Command(Kind.KILL, account=account, type=1)]))
            assert Entry(floor).most(7, wish).lots == 0
            await floor.submit(rows([Command(Kind.KILL, account=account, type=0)]))


async def test_what_is_reserved_is_what_the_venue_reserves() -> None:
    venue = ReferenceVenue()
    async with Floor(MemorySequencer(venue), INSTRUMENTS) as floor:
        for account in (7, 8):
            await floor.open_account(account)
        await floor.submit(rows([order(7, 1, Side.BUY, 10, 9_990), order(8, 1, Side.SELL, 4, 9_990)], book=1))
        await floor.submit(rows([order(7, 2, Side.SELL, 30, 10_020)], book=1))
        money = Entry(floor).means(7).power
        assert money.reserved == venue.standing(7).reserved == 6 * 9_990
        margin = 26 * 9_990 * 2_000 // 10_000
        assert money.available == venue.standing(7).cash - money.reserved - margin
