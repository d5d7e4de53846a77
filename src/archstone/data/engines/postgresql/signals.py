"""Words from process to process, by LISTEN and NOTIFY: wake-ups, never data. One that is lost costs a poll."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from archstone import context, world
from archstone.context import Call
from archstone.data.engines.postgresql.link import Link
from archstone.data.engines.postgresql.translate import FAULTS

__all__ = ["Signals"]

CHANNEL: Final = "archstone"
_AGAIN_S: Final = 1.0
"""Pause before the connection that listens is made again."""
_LAST_WORDS_S: Final = 1.0
_PENDING_LIMIT: Final = 1_000


class Signals:
    """What one process says to the others that have the same database open, and hears from them.

    Args:
        connect: Opens a connection for listening.
        say: Runs `pg_notify` with a payload, on whatever connection.
        heard: Is called with each word of another process; with None after a time in which some may have been missed.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Link]],
        say: Callable[[str, str], Awaitable[object]],
        heard: Callable[[str | None], None],
    ) -> None:
        self._connect = connect
        self._say = say
        self._heard = heard
        self._me = world.new_id()
        self._pending: set[str] = set()
        self._sender: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None

    def send(self, word: str) -> None:
        """Tell the others, soon; said again before it has left it is said once."""
        if len(self._pending) < _PENDING_LIMIT:
            self._pending.add(word)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send(), name="signals of a database")

    async def _send(self) -> None:
        context.set_current(Call())
        while self._pending:
            words, self._pending = self._pending, set()
            for word in sorted(words):
                try:
                    await self._say(CHANNEL, f"{self._me} {word}")
                except Exception:  # noqa: BLE001 - a wake-up that is lost costs a poll, nothing else
                    return

    def listen(self) -> None:
        """Hear the others from now on."""
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="listener of a database")

    async def _listen(self) -> None:
        context.set_current(Call())
        while True:
            with suppress(*FAULTS):
                await self._hear()
            await asyncio.sleep(_AGAIN_S)

    async def _hear(self) -> None:
        link = await self._connect()
        try:
            gone = asyncio.Event()
            await link.connection.add_listener(CHANNEL, self._received)
            link.connection.add_termination_listener(lambda _: gone.set())
            self._heard(None)
            await gone.wait()
        finally:
            link.end()

    def _received(self, _: object, pid: int, channel: str, payload: str) -> None:
        sender, _, word = payload.partition(" ")
        if sender != self._me:
            self._heard(word)

    async def close(self) -> None:
        """Say what was to be said, if that goes quickly, and hear no more."""
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=_LAST_WORDS_S)
        tasks = [task for task in (self._sender, self._listener) if task is not None]
        self._sender = self._listener = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
