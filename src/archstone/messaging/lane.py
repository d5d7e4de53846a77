"""The order of one channel in memory: which message may go out now, and who holds it.

Promise: of each key at most one message is out at a time, the oldest one; a key whose message waits for a retry is
blocked and others are not; a token that is not the present lease of a message does nothing.

Both embedded brokers are built on it: the memory broker is nothing else, the SQLite broker keeps the same messages in a
table. Leases can live in memory even there, because one process owns the file (an OS lock, trap T4):
no other process could hold a lease, and when this one dies, all of its leases die with it. So a lease costs no write.

A message is in exactly one place:

    arrive -> ready -> leased -> settled / buried (gone)
      |         ^        |-> later (waits for its retry) -> ready
      |         |        '-> ready (released, or its lease ran out)
      '-> behind its key ^ (moves on when the one before it is gone)

`suspects` is a second way into leased: messages that were running when the process died at least twice go out one at
a time, so that only the one that kills the process is blamed for its deaths.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Final

from archstone import world
from archstone.context import new_tuple
from archstone.data import Envelope
from archstone.messaging.broker import Channel, Delivery, UnderWay

__all__ = ["UNDER_WAY_LIMIT", "Lane", "Row"]

UNDER_WAY_LIMIT: Final = 100
"""Messages of one key that a broker tells of at most."""

_NEVER: Final = float("inf")


# One count for the whole process: a handler that outlives its bus must not settle what a reopened one has leased.
_tokens = count(1)


class Row:
    """One message of one channel that is not settled."""

    __slots__ = ("attempts", "deaths", "envelope", "key", "position", "survivor", "until_s")

    def __init__(self, envelope: Envelope, position: int) -> None:
        self.envelope = envelope
        key = envelope.key
        self.key = "" if key == envelope.id else key
        """Empty for a message that is alone in its order: data gives an event without a key its id as key."""
        self.position = position
        self.attempts = 0
        """Attempts that ended in failure or lost their lease."""
        self.deaths = 0
        """Deliveries that a process began and did not live to end; the present one, if a survivor's, is counted in."""
        self.survivor = False
        """Whether it has outlived the process it was sent in, so that its deliveries are counted before they begin."""
        self.until_s = 0.0
        """When its lease ends, on `world.monotonic()`."""


class Lane:
    """The messages of one channel, in the order of their keys."""

    __slots__ = (
        "_alone",
        "_first_end_s",
        "_held",
        "_later",
        "_ready",
        "_suspects",
        "channel",
        "charged",
        "leased",
        "names",
        "wake",
    )

    def __init__(self, channel: Channel, names: frozenset[str] | None) -> None:
        self.channel = channel
        self.names = names
        self.leased: dict[int, Row] = {}
        """Token to message, of everything that is out."""
        self.charged: list[int] = []
        """Leases that have just counted one more death ahead: whoever called `take` writes the count down first."""
        self.wake: Callable[[], None] = _nobody
        self._ready: deque[Row] = deque()
        self._suspects: deque[Row] = deque()
        self._alone: Row | None = None
        self._later: list[tuple[float, int, Row]] = []
        self._held: dict[str, deque[Row] | None] = {}
        self._first_end_s = _NEVER

    def wants(self, name: str) -> bool:
        """Whether messages of this name are for this channel."""
        return self.names is None or name in self.names

    @property
    def retrying(self) -> int:
        """How many messages wait out the delay before another attempt."""
        return len(self._later)

    def waiting(self, key: str) -> int:
        """Return how many messages wait behind the one of `key` that goes first."""
        followers = self._held.get(key)
        return len(followers) if followers else 0

    def under_way(self, key: str) -> list[UnderWay]:
        """Return the messages of `key` in order, that which goes first with its state. Free for a key without any."""
        if not key or key not in self._held:
            return []
        first = [UnderWay(self.channel, row.envelope, "running", row.attempts) for row in self.leased.values()
                 if row.key == key]  # fmt: skip
        if not first:
            later = [row for _, _, row in self._later if row.key == key]
            ready = [row for row in (*self._ready, *self._suspects) if row.key == key]
            first = [UnderWay(self.channel, row.envelope, "retrying", row.attempts) for row in later]
            first += [UnderWay(self.channel, row.envelope, "waiting", row.attempts) for row in ready]
        behind = self._held[key] or ()
        return [*first, *(UnderWay(self.channel, row.envelope, "waiting", row.attempts) for row in behind)]

    def arrive(self, row: Row, *, due_s: float | None = None) -> None:
        """Put a message behind those of its key. With `due_s` it goes out at that instant, not before."""
        key = row.key
        if key:
            if key in self._held:
                followers = self._held[key]
                if followers is None:
                    self._held[key] = deque((row,))
                else:
                    followers.append(row)
                return
            self._held[key] = None
        if due_s is None:
            self._ready.append(row)
        else:
            heappush(self._later, (due_s, row.position, row))

    def take(self, limit: int, *, lease_s: float) -> list[Delivery]:
        """Lease up to `limit` messages that may go out now."""
        now_s = world.monotonic()
        if self._first_end_s <= now_s:
            self._expire(now_s)
        while self._later and self._later[0][0] <= now_s:
            self._ready.append(heappop(self._later)[2])
        ready = self._ready
        until_s = now_s + lease_s
        taken: list[Delivery] = []
        while ready and len(taken) < limit:
            row = ready.popleft()
            if row.deaths:
                if self._alone is not None:
                    self._suspects.append(row)
                    continue
                self._alone = row
            token = next(_tokens)
            if row.survivor:
                row.deaths += 1
                self.charged.append(token)
            row.until_s = until_s
            self.leased[token] = row
            taken.append(new_tuple(Delivery, (row.envelope, row.attempts + 1, token)))
        if taken and until_s < self._first_end_s:
            self._first_end_s = until_s
        return taken

    def extend(self, deliveries: Sequence[Delivery], *, lease_s: float) -> list[Delivery]:
        """Lease these for `lease_s` from now; return those that are no longer theirs."""
        until_s = world.monotonic() + lease_s
        lost: list[Delivery] = []
        for delivery in deliveries:
            if (row := self.leased.get(delivery.token)) is None:
                lost.append(delivery)
            else:
                row.until_s = until_s
        return lost

    def remove(self, token: int) -> Row | None:
        """Take the message of this lease out for good and let the next of its key go; None if the lease is lost."""
        row = self.leased.pop(token, None)
        if row is None:
            return None
        if row.deaths:
            self._next_suspect(row)
        if row.key:
            followers = self._held[row.key]
            if followers:
                self._ready.append(followers.popleft())
            else:
                del self._held[row.key]
        return row

    def postpone(self, token: int, *, delay_s: float) -> Row | None:
        """Count a failure and keep the message, and its key, back for `delay_s`; None if the lease is lost."""
        row = self.leased.pop(token, None)
        if row is None:
            return None
        if row.deaths:
            self._next_suspect(row)
        # A handler that came to its end, even a bad one, is not what kills the process.
        row.deaths, row.survivor = 0, False
        row.attempts += 1
        heappush(self._later, (world.monotonic() + delay_s, row.position, row))
        return row

    def release(self, deliveries: Iterable[Delivery]) -> list[Row]:
        """Put these back in front, as if never leased; return those whose lease was still theirs."""
        rows = [row for delivery in deliveries if (row := self.leased.pop(delivery.token, None)) is not None]
        self._put_back(rows)
        return rows

    def _expire(self, now_s: float) -> None:
        lost = [token for token, row in self.leased.items() if row.until_s <= now_s]
        rows = [self.leased.pop(token) for token in lost]
        for row in rows:
            row.attempts += 1
        self._put_back(rows)
        self._first_end_s = min((row.until_s for row in self.leased.values()), default=_NEVER)

    def _put_back(self, rows: list[Row]) -> None:
        for row in sorted(rows, key=lambda row: row.position, reverse=True):
            if row.survivor:
                self._next_suspect(row)
                row.deaths -= 1  # it did not die of this delivery
            self._ready.appendleft(row)

    def _next_suspect(self, row: Row) -> None:
        """Let the next suspect go, now that `row`, if it was the one that is out alone, is back."""
        if self._alone is row:
            self._alone = None
            if self._suspects:
                self._ready.appendleft(self._suspects.popleft())


def _nobody() -> None:
    """Stand in for a consumer that has not come yet."""
