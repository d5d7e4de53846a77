"""What all sagas of one engine have in common."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, Protocol

from archstone.context import Principal
from archstone.sagas.errors import StepTooLargeError
from archstone.sagas.operations import Invoke, Operations
from archstone.sagas.places import Places
from archstone.sagas.settings import SagaSettings
from archstone.sagas.table import Table

if TYPE_CHECKING:
    from archstone.sagas.atomic import Atomic
    from archstone.sagas.effect import Effect
    from archstone.sagas.queue_rows import QueueRows
    from archstone.sagas.run import Awake
    from archstone.sagas.signals import Signals
    from archstone.sagas.versions import Versions

__all__ = ["Kin", "Shared"]


class Kin(Protocol):
    """What the runs of an engine say to it, of themselves and of each other."""

    def crowded(self, saga: str) -> None:
        """Put a saga that waits to sleep on disk: too many wait in memory."""
        ...

    def parked(self, saga: str) -> None:
        """Tell those who wait for a saga that it goes on when the engine opens again."""
        ...

    def happened(self, saga: str, *, woken: bool) -> None:
        """Have a saga look whether what it waits for has happened; `woken`: it slept on disk, and goes on."""
        ...

    @property
    def room(self) -> bool:
        """Whether a new saga would soon run here."""
        ...

    def listen(self, saga: "Awake") -> Callable[[], None] | None:
        """Have a saga stirred when another process tells it something; return what ends that."""
        ...

    def admit(self, saga: "Awake", *, awaited: bool = False) -> None:
        """Run a saga that is on disk now, or leave it in the table until there is a place."""
        ...

    async def take_back(self, saga: str, *, by: str) -> None:
        """Have a saga undone, whatever it came to; returns when that is durable, before it is undone."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Shared:
    """Settings and counters of an engine, as its runs see them."""

    table: Table
    operations: Operations
    versions: "Versions"
    principal: Principal
    places: Places
    sleepers: Places
    invoke: Invoke | None
    atomic: "Atomic | None" = None
    """The same, if it can make calls in one transaction with the journal."""
    settings: SagaSettings
    lag: Callable[[], float]
    """Lag of the loop, seconds."""
    signals: "Signals"
    queues: "QueueRows"
    kin: "Kin" = field(init=False)
    """The engine."""
    failing: "dict[Effect, float]" = field(default_factory=dict["Effect", float])
    """Steps and undos of which an attempt has failed and another is to follow, with when the first of them failed:
    seconds of the world's monotonic clock, oldest first."""
    effects: int = 0
    """Effects in flight."""
    quiet: list[asyncio.Future[None]] = field(default_factory=list[asyncio.Future[None]])
    """Told when the last effect in flight has ended."""

    @property
    def draining(self) -> bool:
        """Whether no more steps begin."""
        return self.table.draining

    def check_size(self, step: str, what: str, size_bytes: int) -> None:
        """Raise StepTooLargeError if the journal does not take so many bytes."""
        if size_bytes > self.settings.limit_bytes:
            raise StepTooLargeError(step, what, size_bytes, self.settings.limit_bytes)

    async def park(self, saga: str) -> NoReturn:
        """Stay here until the engine closes and cancels this task; who waits for the saga's answer need not."""
        self.kin.parked(saga)
        await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    def effect_ended(self) -> None:
        """Count one effect less."""
        self.effects -= 1
        if not self.effects and self.quiet:
            for waiter in self.quiet:
                if not waiter.done():
                    waiter.set_result(None)
            self.quiet.clear()
