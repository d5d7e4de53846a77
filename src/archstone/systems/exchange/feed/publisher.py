"""Market data out to everybody at once: numbered messages in packets, kept for a while for who has missed some.

Nothing waits for a reader. What was lost on the way is asked for (`Recovery`), or a snapshot is taken.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from archstone import disk, world
from archstone.systems.exchange.feed.feed import Feed
from archstone.systems.exchange.feed.packets import (
    PER_PACKET,
    Ask,
    Carries,
    Messages,
    messages_of,
    packed,
    snapshot_of,
)
from archstone.systems.exchange.feed.values import Changes, Level, Phased, Trade

__all__ = ["Publisher"]

_KEEP: Final = 65_536
_RESEND: Final = 10_000


class _Gathered:
    """What has changed since the last packet. A price counts once, however often it changed; trades all do."""

    def __init__(self) -> None:
        self.sequence = self.at_ns = 0
        self.levels: dict[tuple[int, int, int], Level] = {}
        self.trades: list[Trade] = []
        self.phases: list[Phased] = []

    def add(self, changes: Changes) -> None:
        self.sequence, self.at_ns = changes.sequence, changes.at_ns
        self.levels |= {(each.book, each.side, each.price): each for each in changes.levels}
        self.trades += changes.trades
        self.phases += changes.phases

    def taken(self) -> Changes:
        changes = Changes(self.sequence, self.at_ns, (*self.levels.values(),), (*self.trades,), (*self.phases,))
        self.levels, self.trades, self.phases = {}, [], []
        return changes


class Publisher:
    """Sends what changes as packets, and knows those of before."""

    def __init__(
        self,
        feed: Feed,
        send: Callable[[bytes], object],
        *,
        conflate_s: float | None = None,
        heartbeat_s: float = 1.0,
        keep: int = _KEEP,
        noted: Path | None = None,
    ) -> None:
        """Name what is sent; nothing is before it is entered, and the feed must be entered before.

        Args:
            feed: What changes.
            send: Takes a packet; must not raise or wait. What it cannot send is lost, and recovered by its readers.
            conflate_s: Gather changes for so long, above 0. None: each batch is sent at once.
            heartbeat_s: A packet without messages after so long without one.
            keep: Messages that can be sent again; the oldest make room.
            noted: A file for the session, so that the next one is higher even if the clock went back. None: there is
                none, and two within a second are the same to readers.
        """
        self.session = 0
        """Names this run of the publisher: numbers begin at 1 in each. Seconds since 1970 when it began, or more: it is
        above that of the run before."""
        self.next = 1
        """Number of the next message."""
        self._feed, self._send = feed, send
        self._conflate_s, self._heartbeat_s = conflate_s, heartbeat_s
        self._kept: deque[Messages] = deque()
        self._count, self._keep = 0, keep
        self._gathered = _Gathered()
        self._noted = noted
        self._sent_s = 0.0
        self._is_over = False
        self._snapshot: tuple[int, tuple[bytes, ...]] = (0, ())
        self._tasks: list[asyncio.Task[None]] = []
        self._unlisten: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to send."""
        self.session, self._is_over = _session(self._noted), False
        self._unlisten = self._feed.listen(self._take)
        self._tasks = [
            asyncio.create_task(self._beat(), name="market data heartbeat"),
            asyncio.create_task(self._end_with_feed(), name="market data end"),
        ]
        if self._conflate_s is not None:
            self._tasks.append(asyncio.create_task(self._gather(self._conflate_s), name="market data conflation"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is gathered, say that it is over, and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self._unlisten is not None:
            self._unlisten()
        self._end()

    async def _end_with_feed(self) -> None:
        """Tell readers when nothing comes any more: heartbeats would have them believe that nothing changes."""
        await self._feed.stopped.wait()
        self._end()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._flush()
            self._send(packed(Carries.OVER, self.session, self.next, sent_ns=world.now_us() * 1_000))

    def _take(self, changes: Changes) -> None:
        self._gathered.add(changes)
        if self._conflate_s is None:
            self._flush()

    async def _gather(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            self._flush()

    async def _beat(self) -> None:
        while True:
            rest_s = self._sent_s + self._heartbeat_s - world.monotonic()
            if rest_s <= 0:
                self._out(None)
                rest_s = self._heartbeat_s
            await asyncio.sleep(max(0.001, rest_s))

    def _flush(self) -> None:
        messages = messages_of(self._gathered.taken())
        for start in range(0, len(messages), PER_PACKET):
            self._out(messages[start : start + PER_PACKET])

    def _out(self, messages: Messages | None) -> None:
        self._sent_s = world.monotonic()
        now_ns = world.now_us() * 1_000
        self._send(packed(Carries.LIVE, self.session, self.next, sent_ns=now_ns, messages=messages))
        if messages is None:
            return
        self.next += len(messages)
        self._kept.append(messages)
        self._count += len(messages)
        while self._count - len(self._kept[0]) >= self._keep:
            self._count -= len(self._kept.popleft())

    # For those that missed something

    @property
    def oldest(self) -> int:
        """Number of the oldest message that can be sent again."""
        return self.next - self._count

    def answer(self, ask: Ask, session: int, number: int, count: int) -> tuple[bytes, ...]:
        """Return the packets that answer a request: messages from before, all books, or that they are gone.

        At most 10,000 messages are sent again at once; who needs more asks again.
        """
        if ask == Ask.SNAPSHOT:
            return self._whole()
        if session != self.session or not self.oldest <= number < self.next or not count:
            return (packed(Carries.GONE, self.session, self.oldest),)
        skipped = number - self.oldest
        found = np.concatenate(self._kept)[skipped : skipped + min(count, _RESEND)]
        return self._packets(Carries.RESENT, found, number)

    def _whole(self) -> tuple[bytes, ...]:
        if self._gathered.levels or self._gathered.trades or self._gathered.phases:
            self._flush()  # else a snapshot would hold what only later messages say
        if self._snapshot[0] != self.next or not self._snapshot[1]:
            messages = self._books()
            number = self.next
            whole = packed(Carries.WHOLE, self.session, number)
            self._snapshot = number, (*self._packets(Carries.SNAPSHOT, messages, number, same=True), whole)
        return self._snapshot[1]

    def _books(self) -> Messages:
        image = self._feed.image
        depths = [image.depth(book, 0) for book in image.books]
        levels = tuple(level for book in image.books for level in image.levels(book))
        phases = tuple(Phased(each.book, each.phase) for each in depths)
        changes = Changes(image.sequence, image.at_ns, levels, (), phases)
        return snapshot_of(changes, [(each.book, each.last) for each in depths])

    def _packets(self, kind: Carries, messages: Messages, number: int, *, same: bool = False) -> tuple[bytes, ...]:
        """Return messages in packets; the parts of a snapshot all have the `same` number."""
        return tuple(
            packed(
                kind, self.session, number if same else number + start, messages=messages[start : start + PER_PACKET]
            )
            for start in range(0, len(messages), PER_PACKET)
        )


def _session(noted: Path | None) -> int:
    """Return the number of a new session, and note it."""
    now_s = world.now_us() // 1_000_000 & 0xFFFFFFFF
    if noted is None:
        return now_s
    before = noted.read_text() if noted.exists() else ""
    session = max(now_s, int(before) + 1) if before.isdigit() else now_s
    disk.make_folder(noted.parent)
    disk.put(noted, b"%d" % session)
    return session
