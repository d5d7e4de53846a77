"""Between the shop and whoever moves its money: what keeps a provider that fails from taking the shop with it.

    charge      retry, under a budget > breaker > bulkhead > time limit > provider
    the others                          breaker > bulkhead > time limit > provider

All of them share one circuit, one compartment and one name. One layer tries again on each way, never two:

| what went wrong | who tries again |
| --- | --- |
| a charge was asked for and failed | the retry here: six attempts at most, a tenth more calls for all together |
| a charge was refused here, unasked: open circuit, no place | the step of its saga, which costs the provider nothing |
| money that must go back | the step or the undo of its saga: it only goes forward, for most of a day |
| a part that is to go back | the order's own saga, after pauses that grow to a day |
| a question (`look_up`) | nobody: whoever asked is told that there is no answer |

All that moves money is known by its key, so an attempt more never moves it twice. See decision 0026.
"""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from archstone.data import Database
from archstone.errors import BackendError, ConfigError
from archstone.observability import Alerts
from archstone.resilience import (
    Attempts,
    Breaker,
    Bulkhead,
    Circuit,
    Compartment,
    Exponential,
    Policy,
    Retry,
    Timeout,
)
from archstone.systems.shop.payments.provider import (
    Authorisation,
    PaymentKey,
    PaymentProvider,
    PaymentToken,
    Receipt,
)
from archstone.systems.shop.values import Money

__all__ = ["ANSWER_S", "GuardedProvider", "LineState"]

ANSWER_S: Final = 2.0
"""Seconds that the provider has for one answer."""
AGAIN: Final = Retry(
    6, backoff=Exponential(0.1, cap_s=1.0), on=(BackendError, ConnectionError, TimeoutError),
    budget_ratio=0.1, budget_burst=20.0,
)  # fmt: skip
"""Of a charge: one attempt more than failures that open the circuit, so that while the provider is away even a lone
order comes to an open circuit, where it waits, and is not given up. What was refused unasked is not for this retry."""
BREAKER: Final = Breaker(5, open_s=10.0)
"""Five failures in a row, then a trial every ten seconds."""
BULKHEAD: Final = Bulkhead(64, max_waiting=1_000, max_wait_s=1.0)
"""As many wait at most as sagas are awake."""
_LIMIT: Final = Timeout(ANSWER_S)
_TODO: Final = (
    "See whether the bank answers (/admin/bank). Nobody is charged twice: orders wait, and go on or are called off "
    "by themselves when it does."
)


class LineState(NamedTuple):
    """How the line to the provider is."""

    circuit: Literal["closed", "open", "half open"]
    failures: int
    """In a row, while it is closed."""
    opened: int
    """Times that it has opened."""
    refused: int
    """Calls that were not made because it was open."""
    trial_in_s: float
    """Seconds until one call is let through to try; 0: calls are let through."""
    in_flight: int
    waiting: int
    retried: int
    """Charges asked for again."""
    over_budget: int
    """Those that were not, for want of budget."""


class GuardedProvider:
    """A `PaymentProvider` behind one. `async with` opens and closes the other."""

    def __init__(self, provider: AbstractAsyncContextManager[PaymentProvider], *, name: str = "bank") -> None:
        """Guard who moves the money.

        Args:
            provider: Opens and closes it.
            name: In errors, metrics and the alert.
        """
        self._opened = provider
        self._provider: PaymentProvider | None = None
        self.name = name
        self._line = Policy(BREAKER, BULKHEAD, _LIMIT).bind(name)
        self._again: Attempts = AGAIN.bind(name)
        self._circuit = self._line.part(Circuit)
        self._places = self._line.part(Compartment)

    @property
    def provider(self) -> PaymentProvider:
        """Who moves the money.

        Raises:
            ConfigError: it is not open.
        """
        if self._provider is None:
            raise ConfigError(f"payment provider {self.name!r} is not open: use it inside `async with`")
        return self._provider

    @property
    def db(self) -> Database | None:
        """The provider's own database, which belongs into a backup. None: it has none."""
        found: object = getattr(self._provider, "db", None)
        return found if isinstance(found, Database) else None

    async def __aenter__(self) -> Self:
        self._provider = await self._opened.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, traceback)

    async def charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        """Authorise and capture `amount`, once per key; see `PaymentProvider.charge`.

        Raises:
            RejectedError: the provider was not asked now: the circuit is open, or there is no place.
        """

        async def once() -> Receipt:
            async with self._line.admit():
                return await self.provider.charge(key, amount, token)

        return await self._again.call(once)

    async def refund(self, key: PaymentKey) -> Receipt:
        """Give back all that is left, and take nothing more; see `PaymentProvider.refund`."""
        async with self._line.admit():
            return await self.provider.refund(key)

    async def refund_part(self, key: PaymentKey, refund_id: PaymentKey, amount: Money) -> Receipt:
        """Give back a part; see `PaymentProvider.refund_part`."""
        async with self._line.admit():
            return await self.provider.refund_part(key, refund_id, amount)

    async def look_up(self, key: PaymentKey) -> Authorisation | None:
        """Return what is known of a key; see `PaymentProvider.look_up`."""
        async with self._line.admit():
            return await self.provider.look_up(key)

    def state(self) -> LineState:
        """Return how the line is now."""
        circuit, places, again = self._circuit.statistics(), self._places.statistics(), self._again.statistics()
        return LineState(
            circuit.state, circuit.failures, circuit.opened, circuit.rejected, circuit.retry_after_s,
            places.in_flight, places.waiting, again.retried, again.over_budget,
        )  # fmt: skip

    def watched_by(self, alerts: Alerts) -> None:
        """Have somebody hear of it while the circuit is not closed."""
        alerts.watch(f"breaker of {self.name}", self._why, todo=_TODO)

    def _why(self) -> str | None:
        state = self.state()
        if state.circuit == "closed":
            return None
        trial = f"the next trial is in {state.trial_in_s:.0f} s" if state.trial_in_s else "the next call is a trial"
        return f"the circuit is {state.circuit}, {state.refused} calls were refused; {trial}"
