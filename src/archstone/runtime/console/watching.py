"""Who is told of a story when it changes: by the spans that begin and end in it, so nobody who watches costs nothing.

Promise: whoever watches gets the story at once, and again soon after it changed, never more often than ten times a
second. More watchers are told less often each, so that together they never take more than a part of the process. Ends
when the system drains.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from weakref import WeakSet, finalize

from archstone import world
from archstone.gateway.story import Story
from archstone.observability import SpanRecord, add_opening_recorder, add_recorder, remove_recorder
from archstone.runtime.console.errors import TooManyWatchersError

__all__ = ["StoryWatch", "Watches"]

_INTERVAL_S: Final = 0.1
_EACH_S: Final = 0.005
"""Time between two stories for each watcher: all together get at most 200 a second."""
_AFTERMATH_S: Final = 0.25
"""What follows the end of a span without one of its own (a settle, a burial, a last row of a journal) takes less."""

K = TypeVar("K")

Tell = Callable[[str], Awaitable[Story]]


class Watches:
    """All watches of one run."""

    def __init__(self, tell: Tell, *, limit: int = 200) -> None:
        self._tell = tell
        self._limit = limit
        # Weak: a page whose visitor is gone is cancelled in the middle of its loop, and closes nothing.
        self._open: WeakSet[StoryWatch] = WeakSet()
        self._by_ref: dict[str, WeakSet[StoryWatch]] = {}
        self._by_trace: dict[int, WeakSet[StoryWatch]] = {}
        self._told: dict[str, tuple[float, Story]] = {}
        self._closed = False

    def __len__(self) -> int:
        """Return how many watch."""
        return len(self._open)

    @property
    def interval_s(self) -> float:
        """Least time between two stories of one watch."""
        return max(_INTERVAL_S, _EACH_S * len(self._open))

    def open(self, ref: str) -> "StoryWatch":
        """Return a new watch.

        Raises:
            TooManyWatchersError: There are as many as may be.
        """
        if len(self._open) >= self._limit:
            raise TooManyWatchersError(self._limit)
        watch = StoryWatch(self, ref)
        if self._closed:
            watch.end()
            return watch
        if not self._open:
            add_recorder(self._happened, wants=self._wants)
            add_opening_recorder(self._happened)
        finalize(watch, self._tidy_up).atexit = False  # first made, so called last: when no set has it any more
        self._open.add(watch)
        self._by_ref.setdefault(ref, WeakSet()).add(watch)
        return watch

    def close(self) -> None:
        """End every watch, also those that are opened later."""
        self._closed = True
        for watch in list(self._open):
            watch.end()

    def leave(self, watch: "StoryWatch") -> None:
        """Forget a watch that has ended."""
        if watch not in self._open:
            return
        self._open.discard(watch)
        _take_out(self._by_ref, watch.ref, watch)
        for trace in watch.traces:
            _take_out(self._by_trace, trace, watch)
        self._tidy_up()

    def _tidy_up(self) -> None:
        """Forget what nobody watches any more."""
        for ref in [ref for ref, watches in self._by_ref.items() if not watches]:
            del self._by_ref[ref]
            self._told.pop(ref, None)
        for trace in [trace for trace, watches in self._by_trace.items() if not watches]:
            del self._by_trace[trace]
        if not self._open:
            remove_recorder(self._happened)

    async def story(self, watch: "StoryWatch", *, since_s: float) -> Story:
        """Return the story of a watch as it is, or was when another watch asked for it after `since_s`."""
        told = self._told.get(watch.ref)
        if told is not None and told[0] > since_s:
            story = told[1]
        else:
            began_s = world.monotonic()
            story = await self._tell(watch.ref)
            self._told[watch.ref] = (began_s, story)
        self._follow(watch, frozenset(int(trace.id, 16) for trace in story.traces))
        return story

    def _follow(self, watch: "StoryWatch", traces: frozenset[int]) -> None:
        if watch not in self._open:
            return
        for trace in watch.traces - traces:
            _take_out(self._by_trace, trace, watch)
        for trace in traces - watch.traces:
            self._by_trace.setdefault(trace, WeakSet()).add(watch)
        watch.traces = traces

    def _wants(self, trace_id: int) -> bool:
        return trace_id in self._by_trace

    def _happened(self, record: SpanRecord) -> None:
        for watch in list(self._by_trace.get(record.trace_id, ())):
            watch.touch()
        if record.ref is not None:
            for watch in list(self._by_ref.get(record.ref, ())):
                watch.touch()


class StoryWatch:
    """An asynchronous iterator of one story. Made by `Watches.open`."""

    def __init__(self, watches: Watches, ref: str) -> None:
        self.ref = ref
        self.traces: frozenset[int] = frozenset()
        """Traces of the last story."""
        self._watches = watches
        self._changed = asyncio.Event()
        self._changed.set()
        self._touched_s = -1.0
        self._told_s = float("-inf")
        self._mark: str | None = None
        self._aftermath: asyncio.TimerHandle | None = None
        self._ended = False

    def __aiter__(self) -> "StoryWatch":
        """Return itself."""
        return self

    async def __anext__(self) -> Story:
        """Return the next story. Cancelled, nothing is lost: the next call returns it."""
        while True:
            await self._changed.wait()
            await self._keep_interval()
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            try:
                story = await self._watches.story(self, since_s=self._touched_s)
            except BaseException:
                self._changed.set()
                raise
            self._told_s = world.monotonic()
            if story.mark != self._mark:
                self._mark = story.mark
                self._look_again()
                return story

    async def aclose(self) -> None:
        """Stop watching; who waits for the next story gets the end."""
        self.end()

    def end(self) -> None:
        """Stop watching."""
        self._ended = True
        self._watches.leave(self)
        if self._aftermath is not None:
            self._aftermath.cancel()
        self._changed.set()

    def touch(self) -> None:
        """Note that something happened."""
        self._touched_s = world.monotonic()
        self._changed.set()

    async def _keep_interval(self) -> None:
        wait_s = self._told_s + self._watches.interval_s - world.monotonic()
        if wait_s > 0 and not self._ended:
            await asyncio.sleep(wait_s)

    def _look_again(self) -> None:
        if self._aftermath is not None:
            self._aftermath.cancel()
        self._aftermath = asyncio.get_running_loop().call_later(_AFTERMATH_S, self.touch)


def _take_out(table: dict[K, WeakSet[StoryWatch]], key: K, watch: StoryWatch) -> None:
    found = table.get(key)
    if found is not None:
        found.discard(watch)
        if not found:
            del table[key]
