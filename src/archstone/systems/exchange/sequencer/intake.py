"""Commands that wait to be kept, and who waits for what comes of them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from archstone.systems.exchange.matching import COMMAND, Commands
from archstone.systems.exchange.sequencer.errors import FrameTooLargeError, SequencerFullError
from archstone.systems.exchange.sequencer.port import Batch
from archstone.systems.exchange.sequencer.recent import parts
from archstone.systems.exchange.sequencer.settings import SequencerSettings

__all__ = ["Intake", "Waiting", "answer", "fail"]

_RETRY_AFTER_S: Final = 0.05


class Waiting(NamedTuple):
    """Commands of one `submit`."""

    commands: Commands
    answer: asyncio.Future[Batch]


class Intake:
    """A bounded line, in the order of arrival."""

    def __init__(self, settings: SequencerSettings) -> None:
        """See `SequencerSettings.max_waiting` and `max_frame`."""
        self._settings = settings
        self._line: deque[Waiting] = deque()
        self._commands = 0
        self._some = asyncio.Event()
        self._closed = False

    def put(self, commands: Commands) -> Waiting:
        """Let commands wait. They are not to be changed before they are answered.

        Raises:
            FrameTooLargeError: More than fit into a frame, or none.
            SequencerFullError: Too many wait.
        """
        if commands.dtype is not COMMAND and commands.dtype != COMMAND:
            raise TypeError(f"commands have the dtype COMMAND, not {commands.dtype}")
        count, settings = len(commands), self._settings
        if not 1 <= count <= settings.max_frame:
            raise FrameTooLargeError(count, settings.max_frame)
        if self._line and self._commands + count > settings.max_waiting:
            raise SequencerFullError(self._commands, settings.max_waiting, _RETRY_AFTER_S)
        waiting = Waiting(commands, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._commands += count
        self._some.set()
        return waiting

    async def take(self) -> list[Waiting]:
        """Wait for commands, and return all that fit into one frame. Empty: closed, and nothing is left."""
        taken: list[Waiting] = []
        while not taken:
            await self._some.wait()
            taken = self._taken()
            if not self._line and not self._closed:
                self._some.clear()
            if self._closed and not self._line:
                return taken
        return taken

    def close(self) -> None:
        """Let `take` come to an end."""
        self._closed = True
        self._some.set()

    def refuse(self, error: Exception) -> None:
        """Answer all that wait with an error: nothing has happened."""
        fail(self._line, error)
        self._line.clear()
        self._commands = 0
        if not self._closed:
            self._some.clear()

    def _taken(self) -> list[Waiting]:
        taken: list[Waiting] = []
        room = self._settings.max_frame
        while self._line and len(self._line[0].commands) <= room:
            waiting = self._line.popleft()
            self._commands -= len(waiting.commands)
            if not waiting.answer.done():  # whoever asked has been cancelled: it does not happen
                room -= len(waiting.commands)
                taken.append(waiting)
        return taken


def answer(waiting: Sequence[Waiting], batch: Batch) -> None:
    """Tell each what came of its own commands."""
    for each, part in zip(waiting, parts(batch, [len(each.commands) for each in waiting]), strict=True):
        if not each.answer.done():
            each.answer.set_result(part)


def fail(waiting: Sequence[Waiting] | deque[Waiting], error: Exception) -> None:
    """Tell each that it went wrong."""
    for each in waiting:
        if not each.answer.done():
            each.answer.set_exception(error)
