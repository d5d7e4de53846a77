"""Who trades by what the floor has read sees what the venue would say."""

import pytest
from test_desk_board import order

from archstone.systems.exchange.desk.floor import Floor, rows
from archstone.systems.exchange.desk.participant import Participant
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Kind, Side
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue


async def test_depth_and_standings_are_those_of_the_venue_after_each_answer() -> None:
    venue = ReferenceVenue()
    async with Floor(MemorySequencer(venue), INSTRUMENTS) as floor:
        seen = Participant(floor)
        for account in (7, 8):
            await floor.open_account(account)
        for number in range(1, 40):
            account, side = 7 + number % 2, Side.BUY if number % 3 else Side.SELL
            await seen.submit(rows([order(account, number, side, number, 10_000 + number % 5)], book=1))
            for each in Side:
                assert seen.venue.depth(1, each, 3) == venue.depth(1, each, 3)
            for each in (7, 8):
                ours, theirs = seen.venue.standing(each), venue.standing(each)
                held = {book: lots for book, lots in theirs.positions.items() if lots}
                assert (ours.cash, ours.positions) == (theirs.cash, held)
        assert seen.last == floor.board.sequence


async def test_nobody_stands_who_was_never_opened() -> None:
    venue = ReferenceVenue()
    async with Floor(MemorySequencer(venue), INSTRUMENTS) as floor:
        await floor.submit(rows([Command(Kind.CANCEL, 9 << 32 | 1, 9)], book=1))
        for looks in (venue, Participant(floor).venue):
            with pytest.raises(KeyError):
                looks.standing(9)
        with pytest.raises(KeyError):
            Participant(floor).venue.depth(99, Side.BUY, 1)
