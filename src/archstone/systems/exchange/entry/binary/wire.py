"""Bytes of one connection: messages of 64 bytes in and out, heartbeats, and what is bounded about them."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np

from archstone import world
from archstone.systems.exchange.entry.binary.messages import Fault, Say, said
from archstone.systems.exchange.entry.reports import Rows

__all__ = ["Wire"]

_READ_BYTES: Final = 64 * 1024
_CLOSE_S: Final = 5.0
_SILENT: Final = 3
_LEAST_S: Final = 0.001
"""Of a timer: a shorter one could be over before the clock has moved."""


class Wire(asyncio.BufferedProtocol):
    """One side of a connection, the server's. What comes is given to `take` as a view of whole messages.

    `take` returns how many bytes it has used; it is called again when more are there. It must not keep the view.
    """

    def __init__(self, take: Callable[[memoryview], int], lost: Callable[[], None], *, unsent_bytes: int) -> None:
        """Name who reads, and who is told that the connection has ended."""
        self.is_closed = False
        self._take, self._lost, self._unsent_bytes = take, lost, unsent_bytes
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(_READ_BYTES)
        self._filled = 0
        self._is_held = self._is_paused = False
        self._number = 0
        self._taken = asyncio.Event()
        self._taken.set()
        self._heard_s = self._sent_s = world.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; nothing, if it has been given up by then."""
        self._transport = cast("asyncio.Transport", transport)
        if self.is_closed:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=min(_READ_BYTES, self._unsent_bytes // 4))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where bytes may be put."""
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Give what has come to who reads."""
        self._filled += nbytes
        self._heard_s = world.monotonic()
        self.read()
        self._gate()

    def read(self) -> None:
        """Have what has come read, as far as it can be now."""
        while self._filled and not self.is_closed:
            with memoryview(self._buffer)[: self._filled] as view:
                used = self._take(view)
            if not used:
                return
            self._filled -= used
            self._buffer[: self._filled] = self._buffer[used : used + self._filled]
        if self.is_closed:
            self._filled = 0  # nobody reads any more

    def pause_writing(self) -> None:
        """Let `taken` wait."""
        self._taken.clear()

    def resume_writing(self) -> None:
        """Let it go on."""
        self._taken.set()

    def eof_received(self) -> bool:
        """Close: who does not send any more cannot say that it is there."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that it has ended."""
        self.is_closed = True
        self._stop_timer()
        self._taken.set()
        self._lost()

    # What the session calls

    def hold(self, *, back: bool) -> None:
        """Read no more, or read again."""
        self._is_held = back
        self._gate()

    def _gate(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._is_paused = self._is_held or self._filled == len(self._buffer)
        if self._is_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def send(self, rows: Rows) -> None:
        """Send messages, each with the next number of this connection. Who does not take them is closed as SLOW."""
        if self.is_closed or self._transport is None:
            return
        numbered = rows.copy()
        numbered["number"] = np.arange(self._number + 1, self._number + 1 + len(rows), dtype=np.uint32)
        self._number += len(rows)
        self._sent_s = world.monotonic()
        self._transport.write(numbered.tobytes())
        if self._transport.get_write_buffer_size() > self._unsent_bytes:
            self.close(Fault.SLOW)

    async def taken(self) -> None:
        """Wait until most of what was sent has been taken, or the connection has ended."""
        await self._taken.wait()

    def say(self, kind: int, **fields: Any) -> None:
        """Send one message of the server."""
        self.send(said(kind, **fields))

    def close(self, fault: Fault) -> None:
        """Say BYE and why, and close; at once if it does not read.

        A connection that never came about, such as one whose TLS failed, is over by this alone: nobody tells its end.
        """
        if self.is_closed:
            return
        if fault != Fault.SLOW:
            self.say(Say.BYE, reason=fault)
        self.is_closed = True
        self._stop_timer()
        self._lost()
        if self._transport is None:
            return
        if fault == Fault.SLOW:
            self._transport.abort()
            return
        self._transport.close()
        asyncio.get_running_loop().call_later(_CLOSE_S, self._transport.abort)

    def beat(self, interval_s: float) -> None:
        """From now on, say something at least every `interval_s`, and close when nothing comes for three of them."""
        now_s = world.monotonic()
        if self._is_paused:
            self._heard_s = now_s  # whatever it says, nobody reads it now
        if now_s - self._heard_s > _SILENT * interval_s:
            self.close(Fault.SILENT)
            return
        if now_s - self._sent_s >= interval_s:
            self.say(Say.HEARTBEAT)
        until_s = max(_LEAST_S, self._sent_s + interval_s - now_s)
        self._timer = asyncio.get_running_loop().call_later(until_s, self.beat, interval_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
