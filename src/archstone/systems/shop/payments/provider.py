"""The port to whoever moves the money, and how another one is plugged in.

A provider is reached from a step of a saga, so its promise is about repeats: `key` names the payment, and a call that
comes again with the same key changes nothing and gives the same answer. After `refund` no charge of that key can
succeed any more, whether one had succeeded before or not: a charge that was given up may still be on its way.

A part can be given back before that, any number of times: `refund_part` is known by an id of its own, and the provider
refuses what would be more than is left.

A plug-in is an entry point of the group `archstone.payment_providers`: a function that takes the system's data folder
and options and gives an async context manager whose value is the provider. The option `payments=NAME` chooses it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import StringConstraints

from archstone.errors import BackendError, ConfigError, DomainError
from archstone.plugins import Implementations
from archstone.systems.shop.values import Money, Value

__all__ = [
    "GROUP",
    "Authorisation",
    "MakeProvider",
    "PaymentDeclinedError",
    "PaymentKey",
    "PaymentProvider",
    "PaymentToken",
    "ProviderUnreachableError",
    "Receipt",
    "RefundRefusedError",
    "find_provider",
]

GROUP: Final = "archstone.payment_providers"

PaymentKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""What names one payment at the provider: the id of the order."""
PaymentToken = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")]
"""What the provider's form gave the customer's browser for a card. The shop never sees the card."""


class Receipt(Value):
    """What the provider has done for a key."""

    key: PaymentKey
    state: Literal["captured", "refunded", "void"]
    """`void`: nothing was captured, and nothing will be."""
    amount: Money
    """What was captured, or given back by this call; zero when void or when nothing was left."""


class Authorisation(Value):
    """What the provider knows of a key, for people who look into a payment."""

    key: PaymentKey
    state: Literal["open", "declined", "captured", "refunded", "void"]
    """`open`: asked for, not answered yet; `void`: called off before anything was captured."""
    amount: Money
    """What was asked for."""
    reason: str
    """Why it was declined or called off; empty otherwise."""
    captured: Money
    refunded: Money
    """Given back so far."""
    at: datetime
    """When it was asked for."""


class PaymentDeclinedError(DomainError, code="payments.declined", status=402):
    """The provider will not take this payment. Asking again gives the same answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"payment declined: {self.reason}"


class RefundRefusedError(DomainError, code="payments.refund-refused", status=409):
    """The provider will not give so much back. Nothing was moved; asking again gives the same answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"refund refused: {self.reason}"


class ProviderUnreachableError(BackendError, code="payments.provider-unreachable"):
    """The provider did not answer. Ask again with the same key: it may have taken the money."""

    def __init__(self, provider: str, problem: str) -> None:
        super().__init__(provider, problem)
        self.provider = provider
        self.problem = problem

    def __str__(self) -> str:
        return f"payment provider {self.provider!r}: {self.problem}; ask again with the same key"


class PaymentProvider(Protocol):
    """Moves money. What moves it is idempotent by key, from any number of callers at once."""

    async def charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        """Authorise and capture `amount`, once per key. The money has moved when this returns.

        Raises:
            PaymentDeclinedError: refused, or the key was refunded before. Nothing is held.
            ProviderUnreachableError: no answer; the money may have moved.
        """
        ...

    async def refund(self, key: PaymentKey) -> Receipt:
        """Give back all that is left of what was captured for the key, and let nothing be captured for it any more.

        Raises:
            ProviderUnreachableError: no answer; the money may have moved.
        """
        ...

    async def refund_part(self, key: PaymentKey, refund_id: PaymentKey, amount: Money) -> Receipt:
        """Give back `amount` of what was captured for the key, once per `refund_id`.

        Raises:
            RefundRefusedError: that is more than is left, or nothing was captured. Nothing has moved.
            ProviderUnreachableError: no answer; the money may have moved.
        """
        ...

    async def look_up(self, key: PaymentKey) -> Authorisation | None:
        """Return what is known of a key. None: it was never heard of.

        Raises:
            ProviderUnreachableError: no answer.
        """
        ...


MakeProvider = Callable[[Path, Mapping[str, str]], AbstractAsyncContextManager[PaymentProvider]]
"""A plug-in: from the data folder and the system's options to a provider that opens and closes."""
_PROVIDERS: Final = Implementations[MakeProvider](GROUP, {})


def find_provider(name: str) -> MakeProvider:
    """Return the plug-in that is called `name`.

    Raises:
        ConfigError: none is installed under that name; the message lists those that are.
    """
    plug_in = _PROVIDERS.find(name)
    if plug_in is None:
        known = ", ".join(sorted({"bank", *_PROVIDERS.names()}))
        raise ConfigError(f"no payment provider {name!r}: install one that offers it, or choose from {known}")
    return plug_in
