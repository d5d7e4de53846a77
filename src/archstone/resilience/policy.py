"""Layers put together, so that they can be read aloud.

    calm = Policy(Timeout(2.0), Retry(3, budget_ratio=0.1), Breaker(5), Bulkhead(50), Fallback(queue_for_later))

    charge = calm.bind("payments")(bank.charge)

"Two seconds, three attempts, a breaker, fifty at once; or else queue it for later." The order is the one in which they
are written, from the outside in: the first sees the call first and the answer last. `Fallback` alone is written last
and is the outermost: it answers for all the others.

A policy is a value. What is bound under one name by one policy is one thing: all functions behind it share its circuit,
its places, its budget. With a store (`bind(name, store=shared)`) breaker and limit share theirs with other processes.
Orders that make no sense are refused when the policy is made; `_nonsense` lists them.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Final, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

from archstone.resilience.adaptive import Adaptive
from archstone.resilience.breaker import Breaker
from archstone.resilience.bulkhead import Bulkhead
from archstone.resilience.check import SettingsError
from archstone.resilience.coalesce import Coalesce
from archstone.resilience.fallback import Fallback
from archstone.resilience.hedge import Hedge
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.retry import Retry
from archstone.resilience.shared import SharedCircuit
from archstone.resilience.shed import Shed
from archstone.resilience.store import SharedState, WithoutStore
from archstone.resilience.timeout import Timeout

__all__ = ["BoundLayer", "BoundPolicy", "Layer", "Policy"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class BoundLayer(Protocol):
    """A layer with its state. Those that can guard a block have `admit` too."""

    @property
    def name(self) -> str:
        """What its errors and metrics call it."""
        ...

    def statistics(self) -> object:
        """Return a frozen record of where it stands, or None."""
        ...

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with this layer around it."""
        ...


class Layer(Protocol):
    """The settings of a layer: a value. Anybody's own will do."""

    def bind(self, name: str) -> BoundLayer:
        """Return the layer with a state of its own."""
        ...


@runtime_checkable
class Guard(Protocol):
    """A bound layer that can guard a block."""

    def admit(self) -> AbstractAsyncContextManager[object]:
        """Return the block."""
        ...


_LAYERS: Final = (
    Timeout, Retry, Breaker, Bulkhead, RateLimit, Shed, Adaptive, Coalesce, Hedge, Fallback,
)  # fmt: skip
_SHAREABLE: Final = (Breaker, RateLimit)


class Policy:
    """Layers from the outside in, `Fallback` last."""

    __slots__ = ("_bound", "layers")

    def __init__(self, *layers: Layer) -> None:
        """Check the order.

        Raises:
            SettingsError: There is no layer, or the order makes no sense; every fault at once.
        """
        faults = _nonsense(layers)
        if faults:
            raise SettingsError("Policy", tuple(faults))
        self.layers = layers
        self._bound: dict[tuple[str, SharedState | None, WithoutStore], BoundPolicy] = {}

    def bind(
        self, name: str, *, store: SharedState | None = None, without_store: WithoutStore = "local"
    ) -> "BoundPolicy":
        """Return this policy with its state; under one name (and store) always the same.

        Args:
            name: In errors and metrics. Circuits and limiters of one name in one store are one.
            store: Where `Breaker` and `RateLimit` keep their state, for all processes that use it; the other layers
                keep theirs here. Then only coroutine functions and blocks can be guarded. None: all in this process.
            without_store: What breaker and limit do while the store cannot be reached.

        Raises:
            SettingsError: A store is given, and no layer has a state that could be shared.
        """
        key = (name, store, without_store)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = BoundPolicy(name, self, store=store, without_store=without_store)
        return bound

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with this policy around it, with a state of its own."""
        return BoundPolicy(getattr(function, "__qualname__", "function"), self)(function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and self.layers == other.layers

    def __hash__(self) -> int:
        return hash(self.layers)

    def __repr__(self) -> str:
        return f"Policy({', '.join(map(repr, self.layers))})"

    def __str__(self) -> str:
        """Return the order in which a call passes the layers: `Fallback > Timeout > Retry > call`."""
        return " > ".join([*(type(layer).__name__ for layer in self.outside_in()), "call"])

    def outside_in(self) -> tuple[Layer, ...]:
        """Return the layers in the order in which a call passes them."""
        last = self.layers[-1]
        return (last, *self.layers[:-1]) if isinstance(last, Fallback) else self.layers


class BoundPolicy:
    """A `Policy` with its state."""

    __slots__ = ("name", "parts", "policy")

    def __init__(
        self, name: str, policy: Policy, *, store: SharedState | None = None, without_store: WithoutStore = "local"
    ) -> None:
        """See `Policy.bind`."""
        self.name = name
        self.policy = policy
        layers = policy.outside_in()
        if store is not None and not any(isinstance(layer, _SHAREABLE) for layer in layers):
            text = f"{name!r} has nothing to keep in a store: only Breaker and RateLimit can share, and it is {policy}"
            raise SettingsError("Policy", (text,))
        self.parts: tuple[BoundLayer, ...] = tuple(
            layer.bind(name, store=store, without_store=without_store)
            if store is not None and isinstance(layer, _SHAREABLE)
            else layer.bind(name)
            for layer in layers
        )
        """The bound layers, in the order in which a call passes them."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with this policy around it. A plain function suits only layers that need not wait."""
        guarded = function
        for part in reversed(self.parts):
            guarded = part(guarded)
        return guarded

    def admit(self) -> "PolicyBlock":
        """Return a block behind all layers: `async with bound.admit():`.

        Raises:
            SettingsError: A layer must call what it guards (again, or once for many), which a block cannot give.
        """
        unfit = [type(part).__name__ for part in self.parts if not isinstance(part, Guard)]
        if unfit:
            text = f"{self.name!r} cannot guard a block: {', '.join(unfit)} must call a function; decorate one"
            raise SettingsError("Policy", (text,))
        return PolicyBlock(cast("tuple[Guard, ...]", self.parts))

    def part(self, kind: type[T]) -> T:
        """Return the part of this class: `bound.part(Circuit).open()`; LookupError if there is none."""
        for part in self.parts:
            if isinstance(part, kind):
                return part
        raise LookupError(f"policy {self.name!r} has no {kind.__name__}: it is {self.policy}")

    def statistics(self) -> dict[str, object]:
        """Return the records of the parts that keep any here, by the name of the layer, outside in.

        A shared circuit is not among them: `await bound.part(SharedCircuit).statistics()` asks its store.
        """
        layers = self.policy.outside_in()
        found = {
            type(layer).__name__: part.statistics()
            for layer, part in zip(layers, self.parts, strict=True)
            if not isinstance(part, SharedCircuit)
        }
        return {name: record for name, record in found.items() if record is not None}


class PolicyBlock:
    """One `async with` block behind several guards."""

    __slots__ = ("_parts", "_stack")

    def __init__(self, parts: tuple[Guard, ...]) -> None:
        self._parts = parts

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part.admit())
            self._stack = stack.pop_all()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, where)


def _nonsense(layers: tuple[Layer, ...]) -> list[str]:
    """Return what is wrong with an order."""
    if not layers:
        return ["layers=() must have at least one"]
    strange = [repr(layer) for layer in layers if isinstance(layer, type) or not hasattr(layer, "bind")]
    if strange:
        return [f"{layer} must be a layer, such as Timeout(2.0)" for layer in strange]
    place = {type(layer): at for at, layer in reversed([*enumerate(layers)])}
    faults = [
        f"{kind.__name__} must be there once: two would count the same calls twice"
        for kind in _LAYERS
        if kind is not Timeout and sum(isinstance(layer, kind) for layer in layers) > 1
    ]
    if place.get(Fallback, len(layers) - 1) != len(layers) - 1:
        faults.append("Fallback must be last: it answers for all other layers, which would not see a failure inside it")
    if Retry in place and place.get(Breaker, len(layers)) < place[Retry]:
        faults.append("Breaker must come after Retry: outside it counts one failure for all attempts, and stops none")
    if Hedge in place and place.get(Coalesce, -1) > place[Hedge]:
        faults.append("Coalesce must come before Hedge: inside it the second call would join the first")
    return faults + _wrong_times(layers)


def _wrong_times(layers: tuple[Layer, ...]) -> list[str]:
    """Return the limits of time that can never be reached."""
    faults: list[str] = []
    outer: Timeout | None = None
    again = False
    for layer in layers:
        if isinstance(layer, Timeout):
            if outer is not None and not again:
                faults.append("Timeout must be there once, or once before and once after Retry or Hedge")
            elif outer is not None and layer.seconds >= outer.seconds:
                faults.append(f"Timeout({layer.seconds:g}) must be shorter than Timeout({outer.seconds:g}) around it")
            outer, again = layer, False
        elif isinstance(layer, Retry | Hedge):
            again = True
            if isinstance(layer, Retry) and outer is not None and (layer.total_s or 0) >= outer.seconds:
                text = f"Retry(total_s={layer.total_s:g}) must be shorter than Timeout({outer.seconds:g}) around it"
                faults.append(text)
    return faults
