"""A queue in front of sagas: how many of them run at once, of each key and in all, and how fast they begin."""

from dataclasses import KW_ONLY, dataclass
from typing import Final, NamedTuple

from archstone import world
from archstone.resilience import check
from archstone.sagas.errors import StepCodecError

__all__ = ["Queue", "Ticket", "Wish", "ticket_of"]

_LONGEST_KEY: Final = 200
_MOST: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Queue:
    """What `@saga(queue=...)` says. Sagas of several functions share a queue if they share this value.

    Sagas leave it by priority, the highest first; of one priority the keys take turns, and those of one key come in the
    order in which they were started. It is on disk: what waits in it costs no memory.
    """

    name: str
    """Tells the queues of one engine apart."""
    _: KW_ONLY
    per_key: int | None = None
    """Sagas of one key that may have begun and not ended at once, stuck ones included. At least 1. None: any number."""
    max_running: int | None = None
    """Sagas of the queue that run at once. At least 1. None: as many as the engine lets."""
    starts_per_s: float | None = None
    """Sagas that leave it in a second, in all processes together. Above 0. None: no limit."""
    max_waiting: int = 100_000
    """Sagas in it from which on `Sagas.check_room` refuses more. At least 1."""

    def __post_init__(self) -> None:
        check(
            self,
            name=(0 < len(self.name) <= _LONGEST_KEY, f"1 to {_LONGEST_KEY} characters"),
            per_key=(self.per_key is None or self.per_key >= 1, "at least 1"),
            max_running=(self.max_running is None or self.max_running >= 1, "at least 1"),
            starts_per_s=(self.starts_per_s is None or self.starts_per_s > 0, "above 0"),
            max_waiting=(self.max_waiting >= 1, "at least 1"),
        )


class Wish(NamedTuple):
    """How somebody wants a saga to be started."""

    key: str | None = None
    priority: int = 0
    delay_s: float = 0.0


class Ticket(NamedTuple):
    """The place of one saga in a queue, as its row has it."""

    queue: str | None
    """Name of engine and queue. None: it merely begins later."""
    key: str = ""
    """Empty: none, and no limit of a key holds for it."""
    priority: int = 0
    per_key: int | None = None
    due_us: int | None = None
    """When it joins. None: at once."""


def ticket_of(saga: str, queue: Queue | None, wish: Wish, *, engine: str) -> Ticket | None:
    """Return the ticket of a saga that is started now; None if nothing keeps it from beginning.

    Raises:
        StepCodecError: The wish cannot be fulfilled.
    """
    key, priority, delay_s = wish
    if queue is None and (key is not None or priority):
        raise StepCodecError(saga, "has no queue for a key or a priority; write @saga(queue=Queue(...))")
    if key is not None and not 0 < len(key) <= _LONGEST_KEY:
        raise StepCodecError(saga, f"key={key!r} must have 1 to {_LONGEST_KEY} characters")
    if not -_MOST <= priority <= _MOST:
        raise StepCodecError(saga, f"priority={priority} must be within {_MOST} of 0")
    if not 0 <= delay_s < float("inf"):
        raise StepCodecError(saga, f"delay_s={delay_s} must be at least 0 and finite")
    due_us = world.now_us() + int(delay_s * 1_000_000) if delay_s else None
    if queue is not None:
        return Ticket(f"{engine}/{queue.name}", key or "", priority, queue.per_key, due_us)
    return None if due_us is None else Ticket(None, due_us=due_us)
