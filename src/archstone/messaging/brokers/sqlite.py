"""A durable broker in one SQLite file, owned by one process.

Promise: what `send` has answered is on disk and is handed out until it is settled or buried, whatever dies. After a
crash everything that was not settled is handed out again, and each key goes on, in order, from some message that was
not settled.

A message costs one insert and one delete. Leases cost no write (see `lane`), and a first attempt is not recorded. So
that a message that kills its process cannot do so for ever, deliveries of *survivors* (messages that were in the file
when it was opened) are counted in the file before they begin, many with one commit. A message whose deliveries were
cut short by the death of the process `DEATH_LIMIT` times is buried instead of delivered: it has killed at most
`DEATH_LIMIT` + 1 processes. Innocent ones that were out beside it are counted too, but once: from then on such
suspects go out one at a time, and a delivery that comes to its end, well or badly, clears the count.

Do not use it where several processes consume: it is one process per file, and a second is refused by name.
"""

import asyncio
import contextvars
from collections.abc import Callable, Collection, Sequence
from typing import Final

import orjson

from archstone import world
from archstone.data import Database, Envelope
from archstone.messaging.broker import Backlog, Channel, DeadLetter, Delivery, UnderWay
from archstone.messaging.brokers import tables
from archstone.messaging.brokers.graveyard import Graveyard
from archstone.messaging.brokers.reader import Reader
from archstone.messaging.brokers.tables import Registered
from archstone.messaging.brokers.window import SLOT_BITS, Sizes, Window
from archstone.messaging.brokers.writer import Writer
from archstone.messaging.errors import BacklogFullError, BusClosedError
from archstone.messaging.lane import UNDER_WAY_LIMIT, Lane, Row

__all__ = ["AFTER_COUNT", "DEATH_LIMIT", "Sizes", "SqliteBroker"]

DEATH_LIMIT: Final = 5
"""Deliveries cut short by the death of the process, after which a message is buried."""

AFTER_COUNT: Final = world.declare_point(
    "messaging.after_count", "the delivery of a message that outlived a process is counted, its handler has not begun"
)

_ERROR_LIMIT: Final = 2000
_FORGET_CHUNK: Final = 2_000
"""Messages dropped with one statement: some milliseconds."""


class SqliteBroker:
    """Keeps messages in one SQLite file, at most `backlog_limit` unsettled ones per channel."""

    def __init__(
        self,
        url: str | Database,
        *,
        backlog_limit: int = 1_000_000,
        sizes: Sizes = Sizes(),  # noqa: B008 - a frozen value
    ) -> None:
        """Describe a broker; nothing is opened.

        Args:
            url: `sqlite:///relative.db` or `sqlite:////absolute.db`; or a Database that its owner opens and closes.
            backlog_limit: Unsettled messages of one channel above which `send` refuses. At least 1.
            sizes: How much of one channel is in memory at once.
        """
        self.database = Database(url, name="bus") if isinstance(url, str) else url
        """The file's database, for backups."""
        self._owns = isinstance(url, str)
        self._backlog_limit = backlog_limit
        self._sizes = sizes
        self._windows: dict[Channel, Window] = {}
        self._by_topic: dict[str, list[Window]] = {}
        self._writer: Writer | None = None
        self._position = 0
        self._reader = Reader(self.database, boundary=0)
        self._graveyard = Graveyard(self.database)
        self._owed: list[dict[str, object]] = []
        self._registering = asyncio.Lock()

    def __repr__(self) -> str:
        return f"SqliteBroker({self.database.label})"

    async def open(self) -> None:
        """Open the file and find out what waits in it. Nothing is read into memory yet."""
        if self._owns:
            await self.database.__aenter__()
        try:
            await self.database.ensure(tables.SCHEMA)
            found = await self.database.all(Registered, tables.CHANNELS)
        except BaseException:
            await self._shut()
            raise
        self._windows.clear()
        self._by_topic.clear()
        for channel in found:
            window = self._add(channel)
            window.depth = channel.depth
            window.tail = 0 if channel.last is None else channel.last - window.base
        self._position = max((window.tail for window in self._windows.values()), default=0)
        self._reader = Reader(self.database, boundary=self._position)
        self._writer = Writer(self.database, contextvars.copy_context())

    async def close(self) -> None:
        """Write what is left to write and close the file. What is not settled is handed out after the next `open`."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
        await self._shut()

    async def _shut(self) -> None:
        if self._owns:
            await self.database.__aexit__(None, None, None)

    def _add(self, channel: Registered) -> Window:
        names = None if channel.names is None else frozenset[str](orjson.loads(channel.names))
        window = Window(Lane(Channel(channel.topic, channel.group_name), names), channel.number, sizes=self._sizes)
        self._windows[window.lane.channel] = window
        self._by_topic.setdefault(channel.topic, []).append(window)
        return window

    def _writing(self, what: str) -> Writer:
        if self._writer is None:
            raise BusClosedError(self.database.label, what)
        return self._writer

    async def declare(self, channel: Channel, *, names: Collection[str] | None) -> None:
        """Register the channel durably, or change the names that it wants."""
        async with self._registering:  # a group declared while it is being forgotten is declared after that
            await self._declare(channel, names)

    async def _declare(self, channel: Channel, names: Collection[str] | None) -> None:
        self._writing("declare")
        wanted = None if names is None else orjson.dumps(sorted(names)).decode()
        async with self.database.transaction() as tx:
            await tx.execute(tables.REGISTER, topic=channel.topic, group=channel.group, names=wanted, at=world.now_us())
            number = await tx.one(int, tables.CHANNEL_NUMBER, topic=channel.topic, group=channel.group)
        window = self._windows.get(channel)
        if window is None:
            window = self._add(Registered(number, channel.topic, channel.group, wanted, 0, None))
        window.lane.names = None if names is None else frozenset(names)
        if wanted is not None and window.depth and not window.loaded:
            first, last = window.base, window.base + window.tail
            window.depth -= await self.database.execute(tables.UNWANTED, first=first, last=last, names=wanted)

    async def send(self, envelopes: Sequence[Envelope]) -> None:
        """Keep one delivery per envelope and channel that wants it, all or none; durable when it returns."""
        writer = self._writing("send")
        by_topic, limit = self._by_topic, self._backlog_limit
        wanted: list[tuple[Window, Envelope]] = []
        for envelope in envelopes:
            for window in by_topic.get(envelope.topic, ()):
                names = window.lane.names
                if names is None or envelope.name in names:
                    if window.depth + len(envelopes) > limit:
                        raise BacklogFullError(*window.lane.channel, window.depth, limit)
                    wanted.append((window, envelope))
        if wanted:
            for window, envelope in wanted:
                self._keep(writer, window, envelope)
            await writer.written()

    def _keep(self, writer: Writer, window: Window, envelope: Envelope) -> None:
        self._position = position = self._position + 1
        window.depth += 1
        row = tables.columns(envelope)
        row["slot"] = window.base + position
        writer.rows(tables.INSERT).append(row)
        writer.arrives(window, Row(envelope, position))

    async def lease(self, channel: Channel, *, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Hand out up to `limit` messages that may go out now, from memory if they were sent just now."""
        window = self._windows[channel]
        if window.thirsty or window.hungry:
            await self._reader.fill(window)
        taken = window.lane.take(limit, lease_s=lease_s)
        if window.lane.charged:
            return await self._count(window, taken)
        return taken

    async def _count(self, window: Window, taken: list[Delivery]) -> Sequence[Delivery]:
        """Write down that survivors are about to be delivered, and bury those that have killed too often."""
        lane = window.lane
        charged, lane.charged = lane.charged, []
        writer = self._writing("lease")
        buried: set[int] = set()
        for delivery in taken:
            if delivery.token in charged:
                row = lane.leased[delivery.token]
                if row.deaths > DEATH_LIMIT:
                    buried.add(delivery.token)
                    self._bury(writer, window, delivery, f"the process died {row.deaths - 1} times while handling it")
                else:
                    count: dict[str, object] = {"slot": window.base + row.position, "deaths": row.deaths}
                    writer.rows(tables.COUNT_DEATHS).append(count)
        try:
            await writer.written()
        except BaseException:
            lane.release(taken)
            raise
        world.point(AFTER_COUNT)
        if buried:
            lane.wake()
        return [delivery for delivery in taken if delivery.token not in buried]

    async def extend(self, channel: Channel, deliveries: Sequence[Delivery], *, lease_s: float) -> Sequence[Delivery]:
        """Lease these for `lease_s` from now; return the lost ones."""
        return self._windows[channel].lane.extend(deliveries, lease_s=lease_s)

    async def settle(self, channel: Channel, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Forget these for good; return the refused ones.

        The next of a key goes out before this is durable. Deletes are committed in order, so after a crash a key goes
        on from some message, and never has a gap.
        """
        writer, window = self._writing("settle"), self._windows[channel]
        base, remove = window.base, window.lane.remove
        refused: list[Delivery] = []
        deletes: list[dict[str, object]] = []
        for delivery in deliveries:
            row = remove(delivery.token)
            if row is None:
                refused.append(delivery)
            else:
                window.gone(row)
                deletes.append({"slot": base + row.position})
        window.lane.wake()
        await self._delete(writer, deletes)
        return refused

    async def _delete(self, writer: Writer, deletes: list[dict[str, object]]) -> None:
        if not deletes:
            return
        if self._owed:
            deletes += self._owed
            self._owed = []
        writer.rows(tables.DELETE).extend(deletes)
        try:
            await writer.written()
        except Exception:
            # They are handled and out of memory, but still in the file: the next settle deletes them with its own.
            self._owed += deletes
            raise

    async def retry(self, channel: Channel, delivery: Delivery, *, delay_s: float) -> bool:
        """Hand it out again after `delay_s`; the attempt is counted durably."""
        writer, window = self._writing("retry"), self._windows[channel]
        row = window.lane.postpone(delivery.token, delay_s=delay_s)
        if row is None:
            return False
        due = world.now_us() + int(delay_s * 1_000_000)
        asyncio.get_running_loop().call_later(delay_s, window.lane.wake)
        writer.rows(tables.POSTPONE).append({"slot": window.base + row.position, "attempts": row.attempts, "due": due})
        await writer.written()
        return True

    async def bury(self, channel: Channel, delivery: Delivery, *, error: str) -> bool:
        """Move it to the dead letters; its key is free at once."""
        writer, window = self._writing("bury"), self._windows[channel]
        if not self._bury(writer, window, delivery, error):
            return False
        window.lane.wake()
        await writer.written()
        return True

    def _bury(self, writer: Writer, window: Window, delivery: Delivery, error: str) -> bool:
        row = window.lane.remove(delivery.token)
        if row is None:
            return False
        window.gone(row)
        writer.rows(tables.BURY).append(
            {
                **tables.columns(delivery.envelope),
                "number": window.base >> SLOT_BITS,
                "attempts": delivery.attempt,
                "error": error[:_ERROR_LIMIT],
                "buried": world.now_us(),
            }
        )
        writer.rows(tables.DELETE).append({"slot": window.base + row.position})
        return True

    async def release(self, channel: Channel, deliveries: Sequence[Delivery]) -> None:
        """Hand these back as if never leased."""
        writer, window = self._writing("release"), self._windows[channel]
        counted = [row for row in window.lane.release(deliveries) if row.survivor]
        window.lane.wake()
        if counted:
            writer.rows(tables.COUNT_DEATHS).extend(
                {"slot": window.base + row.position, "deaths": row.deaths} for row in counted
            )
            await writer.written()

    def listen(self, channel: Channel, wake: Callable[[], None]) -> None:
        """Call `wake` when there may be something to lease."""
        self._windows[channel].lane.wake = wake

    async def dead(self, *, group: str | None = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first."""
        return await self._graveyard.oldest(group=group, limit=limit)

    async def letters(
        self, *, group: str | None = None, key: str | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters, newest first."""
        return await self._graveyard.newest(group=group, key=key, before=before, limit=limit)

    async def drop(self, ids: Collection[int]) -> int:
        """Delete these for good."""
        return await self._graveyard.drop(ids)

    def under_way(self, key: str) -> Sequence[UnderWay]:
        """Return what is not settled of a key, as far as it is in memory."""
        return [each for window in self._windows.values() for each in window.lane.under_way(key)][:UNDER_WAY_LIMIT]

    def behind(self) -> frozenset[str]:
        """Return the groups whose backlog is larger than what is in memory of it."""
        return frozenset(each.lane.channel.group for each in self._windows.values() if each.depth > each.loaded)

    async def replay(self, ids: Collection[int]) -> int:
        """Send these to their channels again, in one transaction with their end as dead letters."""
        async with self._registering:  # a channel must not be forgotten between reading its letters and sending them
            letters = await self._graveyard.by_id(ids)
            if not letters:
                return 0
            writer = self._writing("replay")
            for letter in letters:
                self._keep(writer, self._windows[letter.channel], letter.envelope)
                writer.rows(tables.EXHUME).append({"dead_id": letter.id})
            await writer.written()
            return len(letters)

    async def backlogs(self) -> Sequence[Backlog]:
        """Return how far each channel is behind."""
        dead = await self._graveyard.counts()
        return [
            Backlog(channel, window.depth, len(lane.leased), lane.retrying, dead.get(window.base >> SLOT_BITS, 0))
            for channel, window in self._windows.items()
            for lane in (window.lane,)
        ]

    async def forget(self, channel: Channel) -> int:
        """Unregister the channel and drop what waits for it, in parts, so that others are not kept waiting."""
        async with self._registering:
            writer, window = self._writing("forget"), self._windows.get(channel)
            if window is None:
                return 0
            if window in self._by_topic[channel.topic]:
                self._by_topic[channel.topic].remove(window)  # first: nothing more is sent to it
            await writer.written()
            return await self._drop(window)

    async def _drop(self, window: Window) -> int:
        # The registration goes last: after a crash or an error on the way there is something to forget again.
        number, waited = window.base >> SLOT_BITS, window.depth
        last = window.base + (1 << SLOT_BITS) - 1
        execute, limit = self.database.execute, _FORGET_CHUNK
        while dropped := await execute(tables.DELETE_SOME, first=window.base, last=last, limit=limit):
            window.depth -= dropped
        while await execute(tables.FORGET_DEAD, number=number, limit=limit):
            pass
        await execute(tables.UNREGISTER, number=number)
        del self._windows[window.lane.channel]
        return waited

    async def sweep(self, *, dead_retention_s: float, dead_limit: int) -> int:
        """Drop dead letters that are too old or too many."""
        return await self._graveyard.sweep(retention_s=dead_retention_s, limit=dead_limit)
