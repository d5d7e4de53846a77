"""The port through which mounted applications see and steer the run behind them: `GatewayParts.console`.

    story = await parts.console.story(order_id)
    async for story in parts.console.watch(order_id): ...
    page = await parts.console.sagas(principal, status="stuck")

`runtime.console` implements it. Stories are for whoever may see the business id: the caller checks that. Every other
word takes the principal who asks, who must have the role `admin`, and every act is logged with who did what.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from archstone.context import Principal
from archstone.gateway.story import SagaStory, Story
from archstone.observability import Alert

__all__ = [
    "ADMIN",
    "Console",
    "Figures",
    "Letter",
    "LetterPage",
    "SagaCall",
    "SagaDetail",
    "SagaLine",
    "SagaPage",
    "StatusFilter",
    "Watch",
]

ADMIN: Final = "admin"
"""The role that operators have."""

StatusFilter = Literal["queued", "running", "stuck", "done", "failed"]


class Watch(Protocol):
    """Stories of one business id, each when something changed. Cancelling the wait for the next one loses nothing."""

    # Written out: before Python 3.13 a protocol cannot extend AsyncIterator.
    def __aiter__(self) -> AsyncIterator[Story]: ...
    def __anext__(self) -> Awaitable[Story]: ...

    async def aclose(self) -> None:
        """Stop watching. What waits for the next story gets the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaLine:
    """A saga in a list."""

    id: str
    service: str
    method: str
    status: StatusFilter
    began_us: int
    ended_us: int | None
    attempts: int
    why: str | None
    error: str | None
    """Why it failed, for one that did."""
    caused_by: str
    """Id of the principal that started it; empty when nobody is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaPage:
    """Some sagas, newest first."""

    items: tuple[SagaLine, ...]
    next: str | None
    """What `before` takes for the page after this. None: this is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCall:
    """What a step calls, as JSON text of at most 2,000 characters each."""

    step: str
    arguments: str
    undo: str | None
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaDetail:
    """A saga with everything that its journal holds. It may name people and secrets: for operators only."""

    saga: SagaStory
    caused_by: str
    correlation: str
    trace: str | None
    arguments: str
    """JSON array, at most 2,000 characters."""
    answer: str | None
    calls: tuple[SagaCall, ...]
    """One per step that is on disk, in the order of `saga.steps`."""
    can_resume: bool
    can_cancel: bool
    """Whether `cancel` would be tried; it may still be refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter: an event that a group gave up."""

    id: int
    group: str
    topic: str
    name: str
    key: str
    message: str
    """Id of the event."""
    attempts: int
    error: str
    died_us: int
    payload: str
    """JSON text, at most 2,000 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterPage:
    """Some dead letters, newest first."""

    items: tuple[Letter, ...]
    next: int | None
    """What `before` takes for the page after this. None: this is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How the system does: counts over the time that `over_s` says, and what is now.

    Requests are those of the operations and of mounted pages that count themselves. Times are seconds.
    """

    at_us: int
    alerts: Sequence[Alert] = ()
    """What somebody must hear of now, oldest first."""
    over_s: float
    """Seconds that the counts are over: 60 in a snapshot, 1 or 60 in a history; less when it has not run as long."""
    requests: Mapping[str, int]
    """By class of status: `2xx`, `3xx`, `4xx`, `5xx`."""
    p50_s: float | None
    """Half of the requests took at most so long. None: there were none."""
    p95_s: float | None
    p99_s: float | None
    errors: int
    """Requests answered with 500 or more, those not counted that were shed."""
    shed: int
    """Requests refused because the house was full."""
    limited: int
    """Requests refused because one asks too often."""
    sagas_started: int
    sagas_ended: int
    events_sent: int
    events_handled: int
    sagas_running: int
    sagas_stuck: int
    queued: int
    """Deliveries that wait or are at work."""
    dead: int
    """Dead letters."""
    unsent: int
    """Events in outboxes, at most five seconds old."""
    relay_lag_s: float
    """Age of the oldest event that is not sent."""
    loop_lag_s: float
    memory_bytes: int
    """Resident memory of the process; 0 where the platform does not tell."""
    watchers: int
    """Open watches of stories."""


class Console(Protocol):
    """What pages may know of the run behind them, and what an operator may do to it."""

    @property
    def chaos(self) -> bool:
        """Whether this process may be killed, because somebody starts it again."""
        ...

    async def story(self, ref: str, *, after: str | None = None, wait_s: float = 0.0) -> Story:
        """Return all that is known about a business id; one of which nothing is known has `found=False`.

        Args:
            ref: An order id, say.
            after: The mark of the story that the caller has: wait for another one. None: at once.
            wait_s: How long to wait for that, at most 60 seconds; then the story is what it was.
        """
        ...

    def watch(self, ref: str) -> Watch:
        """Return the story now and again whenever it changes, at most ten times a second, until the system drains.

        Raises:
            TooManyWatchersError: As many watch already as may.
        """
        ...

    async def sagas(
        self, who: Principal, *, status: StatusFilter | None = None, limit: int = 50, before: str | None = None
    ) -> SagaPage:
        """Return sagas of all services, newest first, at most `limit` (1 to 200)."""
        ...

    async def saga(self, who: Principal, saga: str) -> SagaDetail:
        """Return a saga; NotFoundError if there is none."""
        ...

    async def resume(self, who: Principal, saga: str) -> None:
        """Run a stuck saga again.

        Raises:
            NotFoundError: No stuck saga has this id.
        """
        ...

    async def cancel(self, who: Principal, saga: str) -> None:
        """Have a running or stuck saga undone; it ends failed, cancelled by `who`. Returns once that is durable.

        Raises:
            NotFoundError: There is none.
            SagaNotCancellableError: It has ended, goes back already, or nothing that it did can be undone.
        """
        ...

    async def dead(
        self, who: Principal, *, group: str | None = None, limit: int = 50, before: int | None = None
    ) -> LetterPage:
        """Return dead letters, newest first, at most `limit` (1 to 200); of all groups when `group` is None."""
        ...

    async def replay(self, who: Principal, *ids: int, group: str | None = None) -> int:
        """Deliver dead letters again, these and all of `group` (at most 10,000); return how many there were."""
        ...

    async def drop(self, who: Principal, *ids: int) -> int:
        """Delete dead letters for good; return how many there were."""
        ...

    async def figures(self, who: Principal) -> Figures:
        """Return how the system does now, with counts over the last minute."""
        ...

    def figures_history(self, who: Principal, minutes: float = 5.0) -> Sequence[Figures]:
        """Return figures of the past, oldest first: each second up to 10 minutes back, beyond each minute, to a day."""
        ...

    def kill(self, who: Principal) -> None:
        """Kill this process as a power cut would; somebody starts it again.

        Raises:
            ConfigError: Nobody would: `chaos` is false.
        """
        ...
