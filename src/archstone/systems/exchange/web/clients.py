"""Whom the pages and the stream ask: clients of the contracts, over the ways that the gateway is given.

They ask as their visitor. Only who a cookie belongs to they ask as themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from archstone.context import Principal
from archstone.services import Operation, Transport, client, operations
from archstone.systems.exchange.accounts.contract import Accounts, Browsers
from archstone.systems.exchange.clearing import Clearing
from archstone.systems.exchange.desk.contract import Quotes, Trading
from archstone.systems.exchange.desk.risk import Risk

__all__ = ["PAGES", "Clients", "clients_of"]

C = TypeVar("C")

PAGES: Final = Principal("service:pages", frozenset({"service"}))


class Clients(NamedTuple):
    """One client per contract."""

    accounts: Accounts
    browsers: Browsers
    market: Quotes
    trading: Trading
    risk: Risk
    clearing: Clearing


class _Routes:
    """A transport that hands every operation to the way that leads to it."""

    def __init__(self, ways: Mapping[str, Transport]) -> None:
        self._ways = ways

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Make the call; see `Transport.call`."""
        return await self._ways[operation.full_name].call(operation, arguments)


def clients_of(routes: Sequence[tuple[Operation, Transport]]) -> Clients:
    """Return clients over `routes`, which must hold every operation of the contracts above."""
    ways = {operation.full_name: transport for operation, transport in routes}

    def made(contract: type[C]) -> C:
        return client(contract, _Routes({each.full_name: ways[each.full_name] for each in operations(contract)}))

    return Clients(made(Accounts), made(Browsers), made(Quotes), made(Trading), made(Risk), made(Clearing))
