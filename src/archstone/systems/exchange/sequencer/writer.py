"""The loop of whoever leads: gather, keep, do, answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from archstone import world
from archstone.systems.exchange.matching import joined
from archstone.systems.exchange.sequencer.errors import UnavailableError
from archstone.systems.exchange.sequencer.frames import Frame
from archstone.systems.exchange.sequencer.intake import Intake, answer, fail
from archstone.systems.exchange.sequencer.replica import Replica

__all__ = ["AFTER_DO", "AFTER_KEEP", "BEFORE_FRAME", "Keep", "write"]

BEFORE_FRAME: Final = world.declare_point("exchange.before_frame", "commands have their numbers, nothing is on disk")
AFTER_KEEP: Final = world.declare_point(
    "exchange.after_keep", "a frame is on every disk that it must be on, it is not done, and nobody has been answered"
)
AFTER_DO: Final = world.declare_point("exchange.after_do", "a frame is kept and done, and nobody has been answered")

Keep = Callable[[Frame], Awaitable[None]]
"""Puts a frame into the log and returns when it is on every disk that it must be on."""


async def write(replica: Replica, intake: Intake, keep: Keep) -> None:
    """Keep and do what comes, frame by frame, until the intake is closed and empty.

    Only one frame is under way, and all that comes meanwhile goes into the next one: the busier, the larger the frames.

    Raises:
        Whatever `keep` raises; those whose commands were in that frame are told that nobody knows.
    """
    while waiting := await intake.take():
        try:
            frame = replica.next_frame(joined(each.commands for each in waiting))
            world.point(BEFORE_FRAME)
            await keep(frame)
            world.point(AFTER_KEEP)
            batch = replica.do(frame.last)
        except BaseException as error:
            why = "this node has stopped" if isinstance(error, asyncio.CancelledError) else str(error)
            fail(waiting, UnavailableError(why))
            raise
        world.point(AFTER_DO)
        if batch is not None:
            answer(waiting, batch)
        replica.snapshot_if_due()
