"""Sends what transactions have published: from the outbox of a database to a bus.

    async with Relay(db, bus):
        ...

Promise: every event whose transaction committed is sent, at least once, in the order of its database; one whose
transaction did not commit is never sent. A crash between sending and deleting sends again, under the same id, which an
`Inbox` drops. An iteration that fails is tried again with backoff; one that hangs longer than `stall_s` is cancelled
and started anew. How far it is behind is a metric.

Run one relay per database and process: where several processes share the database, one of them sends, under a lease,
and another goes on within seconds of its death.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from archstone import context, world
from archstone.context import Call
from archstone.data import Database, Envelope, Lease, Outbox, OutboxRow
from archstone.errors import ArchstoneError
from archstone.messaging.headers import trace_of
from archstone.observability import Attribute, SpanRecord, counter, gauge, get_logger, record_span, recorders
from archstone.resilience import Exponential, check

__all__ = ["AFTER_DELETE", "AFTER_SEND", "BEFORE_SEND", "Relay", "RelayStatistics", "Sender"]

BEFORE_SEND: Final = world.declare_point(
    "messaging.before_send", "events are read from the outbox and still in it; none of them is on the bus"
)
AFTER_SEND: Final = world.declare_point(
    "messaging.after_send", "events are durably on the bus and still in the outbox: they will be sent again"
)
AFTER_DELETE: Final = world.declare_point("messaging.after_delete", "events are on the bus and out of the outbox")

_SIGNAL: Final = "outbox"

_relayed = counter("archstone_relay_sent", "Events sent from the outbox.", ("database",))
_restarts = counter("archstone_relay_restarts", "Iterations of the relay that died or stalled.", ("database",))
_lag = gauge("archstone_relay_lag_seconds", "Age of the oldest event that is not sent yet.", ("database",))

_log = get_logger("archstone.messaging")


class Sender(Protocol):
    """Where events go: a `Bus`."""

    async def send(self, *envelopes: Envelope) -> None:
        """Send all or none; durable when it returns."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatistics:
    """What a relay did since it was made."""

    sent: int
    """Events sent and deleted."""
    restarts: int
    """Iterations that died or stalled."""
    lag_s: float
    """Age of the oldest event known not to be sent, seconds; 0 when there is none."""
    error: str | None
    """What the last iteration died of. None once one has succeeded."""


class Relay:
    """Moves events from `db` to `bus` while it runs: `async with`, or a task on `run`."""

    def __init__(
        self,
        db: Database | Outbox,
        bus: Sender,
        *,
        batch: int = 500,
        poll_s: float = 5.0,
        stall_s: float = 30.0,
        backoff: Exponential = Exponential(0.1, cap_s=10.0),  # noqa: B008 - a frozen value
        lease_s: float = 5.0,
    ) -> None:
        """Describe a relay.

        Args:
            db: The database whose outbox it empties, open while the relay runs; or another `Outbox`, for one process.
            bus: Where the events go.
            batch: Events sent with one transaction of the bus. At least 1.
            poll_s: Seconds between two looks without a wake-up: a net, since commits wake it. Above 0.
            stall_s: Seconds that one iteration may take. Above 0.
            backoff: Seconds between an iteration that failed and the next.
            lease_s: Seconds after which another process takes over from one that has died. Above 0.
        """
        self.batch = batch
        self.poll_s = poll_s
        self.stall_s = stall_s
        self.lease_s = lease_s
        check(
            self,
            batch=(batch >= 1, "at least 1"),
            poll_s=(0 < poll_s < float("inf"), "above 0 and finite"),
            stall_s=(0 < stall_s < float("inf"), "above 0 and finite"),
            lease_s=(0 < lease_s < float("inf"), "above 0 and finite"),
        )
        self._outbox = db
        self._db = db if isinstance(db, Database) else None
        self._bus = bus
        self._backoff = backoff
        self._wake = asyncio.Event()
        self._oldest_us: int | None = None
        self._busy_since_s: float | None = None
        self._sent = self._restarts = self._failures = 0
        self._error: str | None = None
        self._lease: Lease | None = None
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self.run(), name=f"relay of {self._outbox.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop. What is not sent stays in the outbox."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])

    @property
    def lag_s(self) -> float:
        """Age in seconds of the oldest event known not to be sent; 0 when there is none."""
        return 0.0 if self._oldest_us is None else max(0.0, (world.now_us() - self._oldest_us) / 1_000_000)

    def statistics(self) -> RelayStatistics:
        """Return what happened so far."""
        return RelayStatistics(sent=self._sent, restarts=self._restarts, lag_s=self.lag_s, error=self._error)

    async def relay_once(self) -> int:
        """Send the oldest events, at most `batch`, delete them from the outbox, and return how many they were.

        Cancelled or failed, it leaves events in the outbox that may have been sent.
        """
        self._wake.clear()
        rows = await self._outbox.unsent(self.batch)
        if not rows:
            self._oldest_us = None
            return 0
        self._oldest_us = rows[0][-1]
        world.point(BEFORE_SEND)
        await self._bus.send(*[Envelope._make(row[1:]) for row in rows])
        world.point(AFTER_SEND)
        await self._outbox.forget([row[0] for row in rows])
        # Whatever was published meanwhile is younger than the last of these.
        self._oldest_us = rows[-1][-1] if self._wake.is_set() or len(rows) == self.batch else None
        _tell(rows, self._outbox.name)
        self._sent += len(rows)
        _relayed.labels(self._outbox.name).inc(len(rows))
        world.point(AFTER_DELETE)
        return len(rows)

    async def run(self) -> None:
        """Relay until cancelled. Nothing else ends it."""
        context.set_current(Call())
        self._outbox.outbox_ready.append(self._published)
        _lag.labels(self._outbox.name).watch(lambda: self.lag_s)
        try:
            if self._db is not None and self._db.shared:
                await self._run_shared(self._db)
            else:
                await self._run()
        finally:
            self._outbox.outbox_ready.remove(self._published)
            _lag.labels(self._outbox.name).watch(None)

    async def _run_shared(self, db: Database) -> None:
        """Relay while this process holds the lease, woken by whoever publishes."""
        deaf = db.listen(_SIGNAL, self._woken)
        try:
            while True:
                try:
                    async with Lease(db, "relay", ttl_s=self.lease_s) as self._lease:
                        await self._run()
                except ArchstoneError as error:  # the database was away when the lease was begun
                    self._failures += 1
                    self._error = f"{type(error).__name__}: {error}"
                    await asyncio.sleep(self._backoff.longest_s(self._failures))
        finally:
            self._lease = None
            deaf()

    async def _run(self) -> None:
        shifts: set[asyncio.Task[None]] = set()
        try:
            while True:
                shift = asyncio.create_task(self._work(), name=f"relay of {self._outbox.name}: shift")
                shifts.add(shift)
                shift.add_done_callback(shifts.discard)
                await self._watch(shift)
                self._restarts += 1
                self._failures += 1
                _restarts.labels(self._outbox.name).inc()
                _log.error("relay restarted", database=self._outbox.name, why=self._error, lag_s=self.lag_s)
                await asyncio.sleep(self._backoff.longest_s(self._failures))
        finally:
            for shift in shifts:
                shift.cancel()
            if shifts:
                await asyncio.wait(set(shifts), timeout=self.stall_s)

    def _published(self) -> None:
        if self._db is not None and self._lease is not None and self._lease.token is None:
            self._db.signal(_SIGNAL)  # it is for another process to send
            return
        self._woken()

    def _woken(self) -> None:
        waits = self._lease is not None and self._lease.token is None
        if self._oldest_us is None and not waits:  # who waits for the lease does not know what is sent
            self._oldest_us = world.now_us()
        self._wake.set()

    async def _work(self) -> None:
        """Relay for ever; whatever it raises ends the shift."""
        while True:
            if self._lease is not None and self._lease.token is None:
                self._oldest_us = None  # another process knows how far it is
                await self._lease.held()
            self._busy_since_s = world.monotonic()
            count = await self.relay_once()
            self._busy_since_s = None
            self._failures, self._error = 0, None
            if count < self.batch and not self._wake.is_set():
                timer = asyncio.get_running_loop().call_later(self.poll_s, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()

    async def _watch(self, shift: asyncio.Task[None]) -> None:
        """Return when the shift has died, or has been ended because it stalled."""
        while True:
            await asyncio.wait([shift], timeout=self.stall_s / 4)
            if shift.done():
                error = None if shift.cancelled() else shift.exception()
                self._error = "it was cancelled" if error is None else f"{type(error).__name__}: {error}"
                return
            since_s = self._busy_since_s
            if since_s is not None and world.monotonic() - since_s >= self.stall_s:
                self._error = f"it stalled for {self.stall_s:g} s"
                self._busy_since_s = None
                shift.cancel()
                # One that ignores its cancellation is left behind. Should it wake and send, receivers know the ids.
                await asyncio.wait([shift], timeout=self.stall_s)
                return


def _tell(rows: Sequence[OutboxRow], database: str) -> None:
    """Record for each event that was published in a sampled trace how long it lay in the outbox."""
    if not recorders():
        return
    now_us, chance = world.now_us(), world.random()
    for _, message_id, _, name, _, key, _, headers, at in rows:
        trace, _ = trace_of(headers)
        if trace is None or not trace.sampled:
            continue
        about: dict[str, Attribute] = {"message": name, "message_id": message_id}
        about |= {"published_us": at, "database": database}
        span_id, waited_us = chance.getrandbits(64) or 1, max(0, now_us - at)
        record_span(
            SpanRecord(
                trace.trace_id, span_id, trace.span_id, f"send {name}", "producer", at, waited_us, "ok", key, about
            )
        )
