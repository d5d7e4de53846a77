"""Whoever reads market data: the books as they are, made of packets that may be lost, repeated, or come out of order.

A gap is waited out for a moment, since packets overtake each other; then what is missing is asked for; what is gone by
then is replaced by a snapshot of all books. `is_live` says whether all that is known to be sent has come.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from archstone import world
from archstone.systems.exchange.feed.packets import Ask, Carries, Message, Messages, Packet, PacketError, read_packet
from archstone.systems.exchange.feed.recovery import Recover
from archstone.systems.exchange.feed.values import Depth, Trade
from archstone.systems.exchange.matching import Side

__all__ = ["MarketClient"]

_ASK: Final = 10_000
_AGAIN_S: Final = 0.2


class _Book:
    def __init__(self) -> None:
        self.phase = self.last = self.sequence = self.at_ns = 0
        self.sides: dict[int, dict[int, tuple[int, int]]] = {Side.BUY: {}, Side.SELL: {}}

    def best(self, side: Side, levels: int | None) -> tuple[tuple[int, int, int], ...]:
        found = sorted(self.sides[side].items(), reverse=side == Side.BUY)
        return tuple((price, *rest) for price, rest in found[:levels])


class MarketClient:
    """Books, kept up to date. Give `receive` each packet that comes, such as through `multicast.join`."""

    def __init__(
        self,
        recover: Recover,
        *,
        patience_s: float = 0.01,
        keep: int = 4_096,
        far: int = 20_000,
        silence_s: float = 3.0,
    ) -> None:
        """Name where to ask for what is missing; nothing is asked before it is entered.

        Args:
            recover: Asks for messages and snapshots.
            patience_s: How long a gap may close by itself.
            keep: Packets that are held while something before them is missing; beyond it a snapshot is taken.
            far: Messages that may be missing before a snapshot is taken instead of them.
            silence_s: After so long without a packet it is not live any more.
        """
        self.session = self.number = 0
        """Of the publisher, and of the next message; 0: nothing is known yet."""
        self.trades: deque[Trade] = deque(maxlen=1_000)
        """The newest. What was traded before a snapshot is not among them."""
        self.damaged = self.resent = self.snapshots = 0
        """Packets that were none, messages that came late because they were asked for, snapshots taken."""
        self.is_whole = True
        """What happened at once has come as a whole; between two of its packets it has not."""
        self.on_messages: Callable[[Messages], None] | None = None
        """Called with messages, in order and each once, when they are in the books; it must not raise."""
        self._recover, self._patience_s, self._keep, self._far = recover, patience_s, keep, far
        self._silence_s = silence_s
        self._books: dict[int, _Book] = {}
        self._early: list[tuple[int, int, Packet]] = []
        """Packets that came before what is before them, as a heap: number of the first message, order of arrival."""
        self._arrived = 0
        self._known = 0
        self._over_at: int | None = None
        self._heard_s: float | None = None
        self._lacking = asyncio.Event()
        self._live = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin: a snapshot is asked for."""
        self._lacking.set()
        self._task = asyncio.create_task(self._mend(), name="market data client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop asking; the books stay as they are."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    # What can be asked

    @property
    def is_live(self) -> bool:
        """Whether nothing that is known of is missing, and packets come."""
        heard = self._heard_s is not None and world.monotonic() - self._heard_s <= self._silence_s
        return heard and not self._is_lacking and not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the publisher has said that it stops, and all before that has come."""
        return self._over_at is not None and 0 < self._over_at <= self.number

    @property
    def books(self) -> tuple[int, ...]:
        """The books that are known."""
        return tuple(self._books)

    def depth(self, book: int, *, levels: int | None = 10) -> Depth:
        """Return the best prices of a book; None: all. KeyError: it is not known."""
        found = self._books[book]
        buys, sells = (found.best(side, levels) for side in (Side.BUY, Side.SELL))
        return Depth(book, found.sequence, found.at_ns, found.phase, found.last, buys, sells)

    async def caught_up(self) -> None:
        """Wait until nothing that is known of is missing."""
        while self._is_lacking:
            await self._live.wait()

    # Packets

    def receive(self, data: bytes) -> None:
        """Take a packet. What is none is counted and dropped."""
        try:
            packet = read_packet(data)
        except PacketError:
            self.damaged += 1
            return
        if packet.kind not in {Carries.LIVE, Carries.OVER} or packet.session < self.session:
            return
        self._heard_s = world.monotonic()
        if packet.session > self.session:
            self._begin(packet.session)
        self._known = max(self._known, packet.number + len(packet.messages))
        if packet.kind == Carries.OVER:
            self._over_at = packet.number
        self._take(packet)
        self._tell()

    def _begin(self, session: int) -> None:
        self.session, self.number, self._known, self._over_at = session, 0, 0, None
        self._early.clear()

    def _take(self, packet: Packet) -> None:
        if self.number and packet.number <= self.number:
            self._apply(packet)
            self._take_early()
        elif len(self._early) < self._keep:
            self._arrived += 1
            heapq.heappush(self._early, (packet.number, self._arrived, packet))

    def _take_early(self) -> None:
        while self._early and self._early[0][0] <= self.number:
            self._apply(heapq.heappop(self._early)[-1])

    def _apply(self, packet: Packet) -> None:
        fresh = packet.messages[self.number - packet.number :]
        if not len(fresh):
            return
        for row in fresh.tolist():
            self._note(row)
        self.number += len(fresh)
        self.is_whole = bool(fresh["last"][-1])
        if self.on_messages is not None:
            self.on_messages(fresh)

    def _note(self, row: tuple[Any, ...]) -> None:
        kind, side, _, _, name, sequence, at_ns, price, quantity, more = row
        book = self._books.setdefault(name, _Book())
        book.sequence, book.at_ns = sequence, at_ns
        match kind:
            case Message.LEVEL if side in book.sides:
                book.sides[side][price] = (quantity, more)
                if not more:
                    del book.sides[side][price]
            case Message.TRADE:
                book.last = price
                self.trades.append(Trade(sequence, more, at_ns, name, price, quantity, side))
            case Message.PHASE:
                book.phase = quantity
            case Message.LAST:
                book.last = price
            case _:
                pass  # of a later version of the format: it says nothing that we know how to show

    # What is missing

    @property
    def _is_lacking(self) -> bool:
        return not self.number or self._known > self.number

    def _tell(self) -> None:
        if self._is_lacking:
            self._live.clear()
            self._lacking.set()
        else:
            self._lacking.clear()
            self._live.set()

    async def _mend(self) -> None:
        while True:
            await self._lacking.wait()
            if self.number:
                await asyncio.sleep(self._patience_s)
            if not self._is_lacking:
                continue
            try:
                await self._ask()
            except (OSError, EOFError, TimeoutError, PacketError):
                await asyncio.sleep(_AGAIN_S)
            self._tell()

    async def _ask(self) -> None:
        missing = min([self._known, *(each[0] for each in self._early[:1])]) - self.number
        if self.number and missing <= self._far and len(self._early) < self._keep:
            first, session = self.number, self.session
            packets = await self._recover(Ask.RESEND, session, first, min(missing, _ASK))
            if packets[0].kind != Carries.GONE:
                if self.session == session:
                    before = self.number
                    for packet in packets:
                        self._take(packet)
                    self.resent += self.number - before
                return
        await self._snapshot()

    async def _snapshot(self) -> None:
        *parts, whole = await self._recover(Ask.SNAPSHOT, 0, 0, 0)
        if whole.session < self.session or (whole.session == self.session and whole.number < self.number):
            raise PacketError("a snapshot from before what is known")
        if whole.session > self.session:
            self._begin(whole.session)
        self.snapshots += 1
        self._books.clear()
        for part in parts:
            for row in part.messages.tolist():
                self._note(row)
        self.number, self._known = whole.number, max(self._known, whole.number)
        self.is_whole = True
        self._take_early()
