"""The console of one run: `archstone.gateway.Console`, put together from its parts."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from archstone import world
from archstone.context import Principal
from archstone.errors import ConfigError
from archstone.gateway.console import Figures
from archstone.gateway.story import Story
from archstone.observability import SpanRecord, get_logger, record_span
from archstone.runtime.console.acts import Acts, check_operator
from archstone.runtime.console.meters import Meters
from archstone.runtime.console.telling import Teller
from archstone.runtime.console.watching import StoryWatch, Watches
from archstone.runtime.wiring import Parts

if TYPE_CHECKING:
    from archstone.runtime.embedded import Embedded

__all__ = ["RunConsole"]

_LONGEST_WAIT_S: Final = 60.0
_STARTS: Final = "archstone:start"
"""The business id of spans that tell of a start: a lost life is seen by the start of the next."""
_log = get_logger("archstone.audit")


class RunConsole:
    """What pages may know of one run, and what an operator may do to it. It acts between `start` and `drain`."""

    def __init__(self, embedded: "Embedded", parts: Parts) -> None:
        """Describe it.

        Args:
            embedded: The run. Its lifeline says whether somebody starts this process again when it is killed.
            parts: Its services.
        """
        self._spans = embedded.spans
        self._system = embedded.system.name
        self._lifeline = embedded.lifeline
        self._teller = Teller(embedded.system, parts, spans=embedded.spans, bus=embedded.bus)
        self._watches = Watches(self._teller.tell)
        self._acts = Acts(self._teller, embedded.bus)
        self._meters = Meters(embedded, watchers=lambda: len(self._watches))
        self._work: asyncio.Task[None] | None = None
        self.sagas = self._acts.sagas
        self.saga = self._acts.saga
        self.resume = self._acts.resume
        self.cancel = self._acts.cancel
        self.dead = self._acts.dead
        self.replay = self._acts.replay
        self.drop = self._acts.drop

    @property
    def chaos(self) -> bool:
        """Whether this process may be killed."""
        return self._lifeline is not None

    def start(self) -> None:
        """Begin to measure, and note this start for stories of the next life."""
        now_us, chance = world.now_us(), world.random()
        known = self._spans.about(_STARTS, max_traces=1_000)
        trace_id, span_id = chance.getrandbits(128) or 1, chance.getrandbits(64) or 1
        name = f"start {self._system}"
        record_span(SpanRecord(trace_id, span_id, None, name, "internal", now_us, 0, "ok", _STARTS, {}))
        self._spans.flush()
        self._teller.starts_us = (*(span.start_us for span in known), now_us)
        self._work = asyncio.create_task(self._meters.run(), name="archstone console: figures")

    async def drain(self) -> None:
        """End every watch, and measure no more."""
        self._watches.close()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.wait([work])

    async def story(self, ref: str, *, after: str | None = None, wait_s: float = 0.0) -> Story:
        """Return all that is known about a business id."""
        story = await self._teller.tell(ref)
        if after is None or story.mark != after or not wait_s > 0:
            return story
        watch = self._watches.open(ref)
        with contextlib.suppress(TimeoutError, StopAsyncIteration):
            async with contextlib.aclosing(watch), asyncio.timeout(min(wait_s, _LONGEST_WAIT_S)):
                while story.mark == after:
                    story = await anext(watch)
        return story

    def watch(self, ref: str) -> StoryWatch:
        """Return the story now and again whenever it changes."""
        return self._watches.open(ref)

    async def figures(self, who: Principal) -> Figures:
        """Return how the system does now."""
        check_operator(who)
        return await self._meters.now()

    def figures_history(self, who: Principal, minutes: float = 5.0) -> Sequence[Figures]:
        """Return figures of the past, oldest first."""
        check_operator(who)
        return self._meters.history(minutes)

    def kill(self, who: Principal) -> None:
        """Kill this process as a power cut would, in a tenth of a second: the answer to who asks is on its way then."""
        check_operator(who)
        if self._lifeline is None:
            raise ConfigError(f"nobody would start system {self._system!r} again: run it with `up --chaos`")
        _log.warning("an operator acted", act="kill the process", by=who.id)
        self._lifeline.kill_soon()
