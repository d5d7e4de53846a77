"""An open loop: each request is sent when it is due, whatever has come back so far, and timed from that instant.

Promise: a request's time begins when it was *due*. If the system stalls, those that had to wait for a connection count
their waiting, so that a stall of a second shows as a second and not as one slow answer (no coordinated omission).
Connections are bounded; what finds none free waits, and counts as `not_sent` once it has waited `send_within_s`.
Nothing is sent twice, except where a kept-alive connection ended before a byte of an answer, as browsers do.
Not for: finding out how much a system can do with a given number of clients; that is a closed loop.
Source: Gil Tene, "How not to measure latency" (2013), and wrk2.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from archstone import world
from archstone.lab.connection import Answer, Dial, Line, WireAnswer
from archstone.lab.http import request_bytes
from archstone.lab.record import SERVED, Outcome, Record, outcome_of
from archstone.lab.shot import Kept, Shot, Way
from archstone.resilience import check

__all__ = ["Limits", "Sender"]

_TICK_S: Final = 0.001
"""Shortest wait: loops do not know finer timers."""
_LONG_TICK_S: Final = 0.05
_DIALS: Final = 16
"""Connections being opened at once: hundreds in one instant measure how a kernel queues them, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the generator allows itself and the system."""

    connections: int = 256
    """Connections open at once. At least 1."""
    send_within_s: float = 1.0
    """Time within which a request that is due must find a connection. Above 0."""
    late_after_s: float = 1.0
    """Time from which an answer counts as late. Above 0."""
    timeout_s: float = 10.0
    """Time from which nobody waits for an answer. Above 0."""

    def __post_init__(self) -> None:
        check(
            self,
            connections=(self.connections >= 1, "at least 1"),
            send_within_s=(self.send_within_s > 0, "above 0"),
            late_after_s=(self.late_after_s > 0, "above 0"),
            timeout_s=(self.timeout_s > 0, "above 0"),
        )


class _Flight:
    """A shot that is under way."""

    __slots__ = ("again", "due_s", "line", "over", "shot")

    def __init__(self, shot: Shot, due_s: float) -> None:
        self.shot = shot
        self.due_s = due_s
        self.line: Line | None = None
        self.over = self.again = False


class Sender:
    """Sends shots over bounded connections and records what becomes of them. One run each."""

    def __init__(
        self,
        dial: Dial,
        *,
        host: str,
        senders: Sequence[bytes],
        record: Record,
        limits: Limits = Limits(),
        ways: Mapping[str, Way] = MappingProxyType({}),
    ) -> None:
        """Make it ready; nothing is opened.

        Args:
            dial: Opens a connection.
            host: What the header Host says.
            senders: Headers of each sender.
            record: Counts what becomes of each request.
            limits: Bounds.
            ways: Where shots go that name one; nothing there waits for a connection.
        """
        self._dial = dial
        self._ways = ways
        self._commons = [f"Host: {host}\r\n".encode() + each for each in senders]
        self._limits = limits
        self._record = record
        self._idle: list[Line] = []
        self._open = 0
        self._dialing: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Flight] = deque()
        self._flying: deque[_Flight] = deque()
        self._began_s = 0.0
        self._dial_again_s = 0.0
        self._left = 0
        self._done: asyncio.Future[None] | None = None
        self.kept: list[Kept] = []
        """Notes and bodies of good answers."""

    async def run(self, shots: Sequence[Shot], *, began: Callable[[float], None] | None = None) -> None:
        """Send everything, and return once each has been answered or given up.

        Args:
            shots: By time.
            began: Told the instant on `world.monotonic()` from which they are timed.
        """
        loop = asyncio.get_running_loop()
        self._left = len(shots)
        self._began_s = world.monotonic()
        if began is not None:
            began(self._began_s)
        self._done = loop.create_future()
        number = 0
        try:
            while self._left:
                number = self._offer_due(shots, number)
                self._give_up()
                until_s = self._began_s + shots[number].at_s if number < len(shots) else float("inf")
                wait_s = min(until_s - world.monotonic(), _LONG_TICK_S)
                await asyncio.wait((self._done,), timeout=max(wait_s, _TICK_S))
        finally:
            await self._close()

    def _offer_due(self, shots: Sequence[Shot], number: int) -> int:
        """Send what is due; return the number of the next."""
        now_s = world.monotonic() - self._began_s
        while number < len(shots) and shots[number].at_s <= now_s:
            shot = shots[number]
            self._offer(_Flight(shot, shot.at_s))
            number += 1
        return number

    def _offer(self, flight: _Flight) -> None:
        if flight.shot.way:
            self._send_on(self._ways[flight.shot.way], flight)
            return
        while self._idle:
            line = self._idle.pop()
            if line.alive:
                self._send(line, flight)
                return
            self._open -= 1
        self._waiting.append(flight)
        self._more_lines()

    def _more_lines(self) -> None:
        if self._open < self._limits.connections and len(self._dialing) < min(_DIALS, len(self._waiting)):
            if world.monotonic() < self._dial_again_s:
                return
            self._open += 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._dialing.add(task)
            task.add_done_callback(self._dialing.discard)

    async def _connect(self) -> None:
        try:
            line = await self._dial()
        except OSError:
            self._open -= 1
            self._dial_again_s = world.monotonic() + _LONG_TICK_S  # a flood of attempts would not help
            return
        self._free(line)
        if len(self._waiting) > len(self._dialing):
            self._more_lines()

    def _send(self, line: Line, flight: _Flight) -> None:
        shot, flight.line = flight.shot, line
        now_s = world.monotonic() - self._began_s
        self._record.lags.add(now_s - flight.due_s)
        data = request_bytes(shot.head, self._commons[shot.sender], shot.body)
        if not flight.again:
            self._flying.append(flight)
        line.send(data, self._answer(flight, line), want_body=shot.note is not None)

    def _send_on(self, way: Way, flight: _Flight) -> None:
        self._record.lags.add(world.monotonic() - self._began_s - flight.due_s)
        self._flying.append(flight)
        way.send(flight.shot.body, lambda answer: self._settle(flight, answer))

    def _answer(self, flight: _Flight, line: Line) -> Answer:
        def answered(answer: WireAnswer) -> None:
            self._answered(flight, line, answer)

        return answered

    def _answered(self, flight: _Flight, line: Line, answer: WireAnswer) -> None:
        if answer.status == 0 and not answer.begun and not flight.again and not flight.over:
            flight.again, flight.line = True, None
            self._free(line)
            self._offer(flight)
            return
        self._settle(flight, answer)
        self._free(line)

    def _settle(self, flight: _Flight, answer: WireAnswer) -> None:
        """Count an answer as what it is."""
        took_s = world.monotonic() - self._began_s - flight.due_s
        late_s = self._limits.late_after_s
        outcome = outcome_of(answer.status, took_s, late_after_s=late_s, retry_after=answer.retry_after)
        if outcome in SERVED and flight.shot.note is not None:
            self.kept.append((flight.shot.note, answer.body))
        self._end(flight, outcome, took_s)

    def _free(self, line: Line) -> None:
        """Give a line to whoever waits longest."""
        if not line.alive:
            self._open -= 1
            if self._waiting:
                self._more_lines()
            return
        now_s = world.monotonic() - self._began_s
        while self._waiting:
            flight = self._waiting.popleft()
            if not flight.over and now_s - flight.due_s <= self._limits.send_within_s:
                self._send(line, flight)
                return
            self._miss(flight, now_s)
        self._idle.append(line)

    def _give_up(self) -> None:
        """End what has waited too long, for a connection or for an answer."""
        now_s, limits = world.monotonic() - self._began_s, self._limits
        waiting = self._waiting
        while waiting and now_s - waiting[0].due_s > limits.send_within_s:
            self._miss(waiting.popleft(), now_s)
        if waiting:
            self._more_lines()
        flying = self._flying
        while flying and (flying[0].over or now_s - flying[0].due_s > limits.timeout_s):
            flight = flying.popleft()
            if not flight.over:
                if flight.line is not None:
                    flight.line.close()
                    self._open -= 1
                self._end(flight, "timeout", now_s - flight.due_s)

    def _miss(self, flight: _Flight, now_s: float) -> None:
        if not flight.over:
            self._end(flight, "broken" if flight.again else "not_sent", now_s - flight.due_s)

    def _end(self, flight: _Flight, outcome: Outcome, took_s: float) -> None:
        if flight.over:
            return
        flight.over = True
        self._record.add(flight.shot.kind, flight.due_s, outcome=outcome, took_s=took_s)
        self._left -= 1
        if not self._left and self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def _close(self) -> None:
        for task in tuple(self._dialing):
            task.cancel()
        if self._dialing:
            await asyncio.wait(self._dialing)
        for flight in self._flying:
            if not flight.over and flight.line is not None:
                flight.line.close()
        while self._idle:
            self._idle.pop().close()
