"""Bytes of one FIX connection: messages in, bytes out, and what is bounded about them."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from archstone import world
from archstone.systems.exchange.entry.fix.codec import FieldError, Framer, FramingError, Message

__all__ = ["Come", "Wire"]

Come = Message | FieldError | FramingError
"""What comes: a message, what is wrong with one, or why nothing can follow."""
_CLOSE_S: Final = 5.0
_MUCH_BYTES: Final = 64 * 1024
"""What may wait to be taken before `taken` waits."""


class Wire(asyncio.Protocol):
    """One side of a connection, the server's."""

    def __init__(
        self, take: Callable[[Come], None], lost: Callable[[], None], *, message_bytes: int, unsent_bytes: int
    ) -> None:
        """Name who is given what comes, and who is told that nothing does any more, once or more often."""
        self.is_closed = False
        self.heard_s = self.sent_s = world.monotonic()
        """When bytes came, or went, last."""
        self._take, self._lost, self._unsent_bytes = take, lost, unsent_bytes
        self._framer = Framer(limit_bytes=message_bytes)
        self._transport: asyncio.Transport | None = None
        self._is_held = False
        self._taken = asyncio.Event()
        self._taken.set()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; who is one too many is closed already."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=min(_MUCH_BYTES, self._unsent_bytes // 4))
        if self.is_closed:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self.heard_s = world.monotonic()
        try:
            for each in self._framer.feed(data):
                if self.is_closed:
                    return
                self._take(each)
        except FramingError as error:
            self._take(error)

    def pause_writing(self) -> None:
        """Let `taken` wait."""
        self._taken.clear()

    def resume_writing(self) -> None:
        """Let it go on."""
        self._taken.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end()

    # What the session calls

    def write(self, data: bytes) -> None:
        """Send bytes. Who does not take them is closed; it gets the rest when it comes back."""
        if self.is_closed or self._transport is None:
            return
        self.sent_s = world.monotonic()
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._unsent_bytes:
            self._transport.abort()
            self._end()

    async def taken(self) -> None:
        """Let others have their turn, and wait until most of what was sent has been taken, or the connection ended."""
        await asyncio.sleep(0)
        await self._taken.wait()

    def hold(self, *, back: bool) -> None:
        """Read no more, or read again."""
        self._is_held = back
        if self._transport is None or self._transport.is_closing():
            return
        if back:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    @property
    def silent_s(self) -> float:
        """Seconds in which nothing came. Those in which nobody reads do not count."""
        now_s = world.monotonic()
        if self._is_held:
            self.heard_s = now_s
        return now_s - self.heard_s

    def close(self) -> None:
        """Send what was written, and close."""
        if self.is_closed:
            return
        self._end()
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(_CLOSE_S, self._transport.abort)

    def _end(self) -> None:
        self.is_closed = True
        self._taken.set()
        self._lost()
