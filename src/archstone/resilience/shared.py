"""Circuits and limiters whose state several processes share. See `store`."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import update_wrapper
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from archstone import world
from archstone.resilience.breaker import Breaker
from archstone.resilience.callables import is_coroutine_function, name_of, need_coroutine_function
from archstone.resilience.check import SettingsError
from archstone.resilience.circuit import CircuitStatistics, announce, outcome_of, refusal
from archstone.resilience.circuitstate import Outcome, Refused, StateName
from archstone.resilience.limiter import Turn, check_cost, limited, patience_s
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.store import Begun, SharedState, Store, WithoutStore

__all__ = ["SharedCircuit", "SharedLimiter"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NOT_THERE = Refused("without its store", 1.0)
_LET_THROUGH = -1
"""The epoch of a call that nobody counts."""


class SharedLimiter:
    """A `RateLimit` whose count is in a store."""

    def __init__(self, name: str, policy: RateLimit, shared: SharedState, without_store: WithoutStore) -> None:
        self.name = name
        self.policy = policy
        self.without_store = without_store
        self._shared = shared
        self._local = policy.bind(name)

    async def take(self, key: str, cost: float = 1.0, *, max_wait_s: float = 0.0) -> float:
        """Take `cost` (in (0, burst]) for `key`, now or at most `max_wait_s` from now. Cancelled, it may be taken.

        Returns:
            Seconds that the caller must wait for its turn; 0 unless `max_wait_s` is given.

        Raises:
            RateLimitedError: Too often; `retry_after_s` is when this take can work.
            SettingsError: The cost could never be taken.
        """
        return await self._take(key, cost, max_wait_s)

    async def turn(self, key: str, cost: float = 1.0) -> None:
        """Take `cost` for `key` and come back when its turn has come, at most `max_wait_s` later: `Limiter.turn`."""
        wait_s = await self._take(key, cost, patience_s(self.policy))
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def admit(self, key: str = "") -> Turn:
        """Return the block that begins when `turn` comes back: `async with limiter.admit(key):`."""
        return Turn(self, key)

    def statistics(self) -> None:
        """Return None: what is counted is in the store."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` behind this limiter."""
        inside = _need_coroutine_function("RateLimit", function)

        async def limited_coroutine(*args: Any, **kwargs: Any) -> Any:
            await self.turn(self.policy.key_of(args, kwargs))
            return await inside(*args, **kwargs)

        return cast("Callable[P, R]", update_wrapper(limited_coroutine, function))

    async def _take(self, key: str, cost: float, max_wait_s: float) -> float:
        check_cost(self.policy, cost)
        patience = max(0.0, max_wait_s)
        answer = await self._shared.ask(lambda store: store.take(self.name, self.policy, key, cost, patience))
        if answer is None:
            return self._without(key, cost, max_wait_s)
        if not answer.taken:
            raise limited(self.name, self.policy, key, answer.wait_s)
        return answer.wait_s

    def _without(self, key: str, cost: float, max_wait_s: float) -> float:
        if self.without_store == "refuse":
            raise limited(self.name, self.policy, key, self._shared.rest_s)
        return self._local.take(key, cost, max_wait_s=max_wait_s) if self.without_store == "local" else 0.0


class SharedPassage:
    """One call through a shared circuit: the `async with` block is the call."""

    def __init__(self, circuit: "SharedCircuit") -> None:
        self._circuit = circuit

    async def __aenter__(self) -> None:
        self._epoch = await self._circuit.begin()
        self._began_s = world.monotonic()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._circuit.end(self._epoch, error, world.monotonic() - self._began_s)


class SharedCircuit:
    """A `Breaker` whose state is in a store: two questions for a call, one before and one after."""

    def __init__(self, name: str, policy: Breaker, shared: SharedState, without_store: WithoutStore) -> None:
        self.name = name
        self.policy = policy
        self.without_store = without_store
        self._shared = shared
        self._local = policy.bind(name)
        self._opened = self._rejected = 0

    async def begin(self) -> "int | tuple[int]":
        """Let one call through and return what `end` must be given, whatever happens; or CircuitOpenError.

        Cancelled, it gives back the place that the store may have given.
        """
        question: list[asyncio.Future[Begun]] = []

        def ask(store: Store) -> Awaitable[Begun]:
            question.append(asyncio.ensure_future(store.begin(self.name, self.policy)))
            return asyncio.shield(question[0])

        try:
            begun = await self._shared.ask(ask)
        except asyncio.CancelledError:
            for future in question:
                future.add_done_callback(self._give_back)
            raise
        if begun is None:
            return self._without()
        self._tell(begun.moved, None)
        if begun.refused is not None:
            self._rejected += 1
            raise refusal(self.name, begun.refused)
        return begun.epoch

    async def end(self, begun: "int | tuple[int]", error: BaseException | None, took_s: float) -> None:
        """Count a call that `begin` let through: `error` is what it raised, None if it answered."""
        if isinstance(begun, tuple):
            self._local.end(begun[0], error, took_s)
        elif begun != _LET_THROUGH:
            outcome = outcome_of(self.policy, error, took_s)
            moved = await self._shared.ask(lambda store: _boxed(store.end(self.name, self.policy, begun, outcome)))
            self._tell(moved[0] if moved else None, error)

    def admit(self) -> SharedPassage:
        """Return the block that is one call: `async with circuit.admit():`; it raises CircuitOpenError."""
        return SharedPassage(self)

    async def open(self, *, for_s: float = math.inf) -> None:
        """Refuse calls for `for_s` seconds (above 0), everywhere; infinite: until `close`. Or StoreLostError."""
        if not for_s > 0:
            raise SettingsError("SharedCircuit", (f"for_s={for_s!r} must be above 0",))
        await self._shared.store.force(self.name, self.policy, for_s)
        announce(self.name, "open", for_s)

    async def close(self) -> None:
        """Let calls through, with nothing counted, everywhere. Or StoreLostError."""
        await self._shared.store.force(self.name, self.policy, None)
        announce(self.name, "closed", None)

    async def statistics(self) -> CircuitStatistics:
        """Return where it stands; `opened` and `rejected` are those of this process. Or StoreLostError."""
        state, now_s = await self._shared.store.look(self.name, self.policy)
        wait_s = max(0.0, state.until_s - now_s) if state.name == "open" else 0.0
        failures, calls = state.failures + state.window.failures, state.window.calls
        return CircuitStatistics(state.name, failures, calls, self._opened, self._rejected, wait_s)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` behind this circuit."""
        inside = _need_coroutine_function("Breaker", function)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            async with SharedPassage(self):
                return await inside(*args, **kwargs)

        return cast("Callable[P, R]", update_wrapper(guarded, function))

    def _without(self) -> "int | tuple[int]":
        if self.without_store == "refuse":
            self._rejected += 1
            raise refusal(self.name, _NOT_THERE)
        return (self._local.begin(),) if self.without_store == "local" else _LET_THROUGH

    def _give_back(self, question: "asyncio.Future[Begun]") -> None:
        """Take back a call that was let through when its caller had gone."""
        if question.cancelled() or question.exception() is not None or question.result().refused is not None:
            return
        epoch = question.result().epoch
        task = asyncio.ensure_future(
            self._shared.ask(lambda store: _boxed(store.end(self.name, self.policy, epoch, Outcome.NEITHER)))
        )
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)

    def _tell(self, moved: StateName | None, error: BaseException | None) -> None:
        if moved is not None:
            self._opened += moved == "open"
            announce(self.name, moved, self.policy.open_s if moved == "open" else None, error)


def _need_coroutine_function(owner: str, function: Callable[..., object]) -> Callable[..., Awaitable[Any]]:
    """Return `function` if it is a coroutine function, or raise SettingsError that names the store as the reason."""
    if not is_coroutine_function(function):
        text = f"{name_of(function)!r} must be a coroutine function: the store is asked before it is called"
        raise SettingsError(owner, (f"{text}; leave `store` out for a plain one",))
    return need_coroutine_function(owner, function)


async def _boxed(answer: Awaitable[T]) -> tuple[T]:
    """Tell the answer None from no answer."""
    return (await answer,)


_under_way: set[asyncio.Future[Any]] = set()
"""Tasks that nobody waits for; the loop keeps them weakly."""
