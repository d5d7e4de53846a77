"""Where circuits and limiters keep what several processes share, and how it is reached.

    async with SharedState("redis://localhost/0") as shared:
        limiter = RateLimit(10, burst=20).bind("api", store=shared)
        circuit = Breaker(5).bind("payments", store=shared)
        await limiter.take(principal.id)

A store decides in one step: it reads, decides by its own clock and writes, and nobody comes in between. It holds state
and no truth: what it loses lets some calls through too many, or refuses some too many, and nothing else.

`SharedState` bounds each question by `timeout_s`. After a store has failed it is left alone for `rest_s`, so that calls
do not wait for a dead store one after another; what is done meanwhile is for each limiter and circuit to say
(`without_store`).
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol, Self, TypeVar

from archstone.errors import BackendError, ConfigError
from archstone.plugins import Implementations
from archstone.resilience.breaker import Breaker
from archstone.resilience.check import check
from archstone.resilience.circuit import Circuit
from archstone.resilience.circuitstate import CircuitState, Refused, StateName
from archstone.resilience.errors import CircuitOpenError
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.signals import Signal, tell

__all__ = [
    "Begun",
    "SharedState",
    "Store",
    "StoreLostError",
    "Taken",
    "UnknownStoreError",
    "WithoutStore",
    "find_store",
]

T = TypeVar("T")

WithoutStore = Literal["allow", "refuse", "local"]
"""While the store cannot be reached: let every call through, refuse every call, or decide in this process alone."""

ENTRY_POINTS: Final = "archstone.resilience_stores"
"""Entry-point group: name is the URL scheme, value a callable that takes URL and limit of time, returns a `Store`."""


class StoreLostError(BackendError, code="resilience.store-lost", status=503):
    """The store of shared circuits and limiters did not answer. Whether it decided is not known."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(store, reason)
        self.store = store
        self.reason = reason

    def __str__(self) -> str:
        return f"the resilience store {self.store} did not answer: {self.reason}; look whether it runs and is reachable"


class UnknownStoreError(ConfigError, code="resilience.unknown-store"):
    """No store answers to the scheme of a URL."""

    def __init__(self, scheme: str, known: tuple[str, ...]) -> None:
        super().__init__(scheme, known)
        self.scheme = scheme
        self.known = known

    def __str__(self) -> str:
        known = ", ".join(self.known)
        return f"no resilience store answers to {self.scheme!r}: use one of {known}, or install its plug-in"


class Taken(NamedTuple):
    """What a limiter decided."""

    taken: bool
    wait_s: float
    """Taken: how long the caller must wait for its turn. Not taken: how long until the same take can work."""


class Begun(NamedTuple):
    """What a circuit decided about one call."""

    epoch: int
    """To be given to `end`, if the call may be made."""
    refused: Refused | None
    moved: StateName | None
    """Where this call moved the circuit. None: it did not."""


class Store(Protocol):
    """State of limiters and circuits, by name. Each verb is atomic among all users of the same state.

    It answers within its limit of time, or raises StoreLostError, as it does for any error of its driver.
    """

    async def open(self) -> None:
        """Get ready; state that is there stays."""
        ...

    async def close(self) -> None:
        """Let go of connections and files; state stays. Closing twice does nothing."""
        ...

    def take(self, limiter: str, policy: RateLimit, key: str, cost: float, max_wait_s: float) -> Awaitable[Taken]:
        """Take `cost` (in (0, burst]) for `key` if that works within `max_wait_s`; refused, it costs nothing."""
        ...

    def begin(self, circuit: str, policy: Breaker) -> Awaitable[Begun]:
        """Let one call through, or say why not. See `CircuitState.admit`."""
        ...

    def end(self, circuit: str, policy: Breaker, epoch: int, outcome: int) -> Awaitable[StateName | None]:
        """Count a call that `begin` let through; return where that moved the circuit. See `CircuitState.end`."""
        ...

    async def force(self, circuit: str, policy: Breaker, for_s: float | None) -> None:
        """Open the circuit for `for_s` seconds (infinite: until it is closed by hand), or close it (None)."""
        ...

    async def look(self, circuit: str, policy: Breaker) -> tuple[CircuitState, float]:
        """Return where the circuit stands, and the store's time; its window need not be filled."""
        ...


class SharedState:
    """A store that is asked with a limit of time, and left alone for a while after it has failed."""

    def __init__(self, url: "str | Store", *, timeout_s: float = 0.25, rest_s: float = 1.0) -> None:
        """Connect to nothing yet.

        Args:
            url: `redis://host/0`, `rediss://…`, `sqlite:///file.db`, `memory:`, or a store.
            timeout_s: Longest that one question takes; a ready store has a limit of its own. Above 0, finite.
            rest_s: How long a store that has failed is left alone. Above 0.
        """
        self.timeout_s = timeout_s
        self.rest_s = rest_s
        check(
            self,
            timeout_s=(0 < timeout_s < float("inf"), "above 0 and finite"),
            rest_s=(0 < rest_s < float("inf"), "above 0 and finite"),
        )
        self.store: Store = find_store(url, timeout_s) if isinstance(url, str) else url
        self._reach = Circuit(type(self.store).__name__, Breaker(1, open_s=rest_s, on=(StoreLostError,)))

    async def __aenter__(self) -> Self:
        """Open the store. One that cannot be reached now is found by later questions."""
        try:
            await self.store.open()
        except StoreLostError as error:
            tell(Signal("store-lost", "store", self._reach.name, error))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.store.close()

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T | None:
        """Return what the store answers; None: it does not answer, or is left alone for having failed."""
        reach = self._reach
        try:
            epoch = reach.epoch if reach.closed else reach.begin()
        except CircuitOpenError:
            return None
        try:
            answer = await question(self.store)
        except StoreLostError as error:
            reach.end(epoch, error, 0.0)
            tell(Signal("store-lost", "store", reach.name, error))
            return None
        except BaseException as error:
            reach.end(epoch, error, 0.0)
            raise
        if not reach.quiet:
            reach.end(epoch, None, 0.0)
        return answer


_STORES: Final = Implementations[Callable[[str, float], Store]](
    ENTRY_POINTS,
    {
        "memory": "archstone.resilience.stores.memory:MemoryStore",
        "redis": "archstone.resilience.stores.redis:RedisStore",
        "rediss": "archstone.resilience.stores.redis:RedisStore",
        "sqlite": "archstone.resilience.stores.sqlite:SqliteStore",
    },
)


def find_store(url: str, timeout_s: float) -> Store:
    """Return the store that `url` names, not yet open, with a limit of time for each question.

    Raises:
        UnknownStoreError: No store answers to the scheme.
    """
    scheme = url.partition(":")[0]
    make = _STORES.find(scheme)
    if make is None:
        raise UnknownStoreError(scheme, tuple(_STORES.names()))
    return make(url, timeout_s)
