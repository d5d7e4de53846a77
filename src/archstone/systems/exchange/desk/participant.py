"""The exchange as whoever trades in this process sees it: what the floor has read, so that no venue need be here.

    async with Bots(markets).running(Participant(floor)):
        ...

Promise: what `submit` has answered is seen at once. Depth and standings are the venue's after the same command.
"""

from collections.abc import AsyncGenerator

from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.matching import Commands, Side
from archstone.systems.exchange.sequencer import Batch, Dump
from archstone.systems.exchange.venue import Standing

__all__ = ["Participant"]


class Participant:
    """Who trades by what all can see. A `Sequencer`, and an `Exchange` of bots."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    @property
    def venue(self) -> "Participant":
        """What may be looked at."""
        return self

    @property
    def last(self) -> int:
        """Number of the last command; see `Sequencer.last`."""
        return self._floor.sequencer.last

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done; see `Floor.submit`."""
        return await self._floor.submit(commands)

    def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give what comes after a command; see `Sequencer.follow`."""
        return self._floor.sequencer.follow(after)

    async def dump(self) -> Dump:
        """Return the venue as it is; see `Sequencer.dump`."""
        return await self._floor.sequencer.dump()

    def depth(self, book: int, side: Side, levels: int) -> list[tuple[int, int, int]]:
        """Return the best `levels` prices of a side: price, lots shown, orders. KeyError: no such book."""
        found = self._floor.feed.depth(book, levels=levels)
        return [*(found.buys if side == Side.BUY else found.sells)]

    def standing(self, account: int) -> Standing:
        """Return the cash and the positions of an account. KeyError: it was never opened."""
        found = self._floor.board.accounts[account]
        positions = {book: held.lots for book, held in found.positions.items() if held.lots}
        return Standing(account=account, cash=found.cash, positions=positions, killed=found.killed)
