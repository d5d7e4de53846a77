"""Whom the pages and the stream ask: clients of the contracts, over the ways that the gateway is given.

They ask as their visitor. Only who a cookie belongs to they ask as themselves.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from archstone.context import Principal
from archstone.services import Operation, Transport
from archstone.systems.exchange.accounts.contract import Accounts, Browsers
from archstone.systems.exchange.clearing import Clearing
from archstone.systems.exchange.desk.contract import Quotes, Trading
from archstone.systems.exchange.desk.risk import Risk
from archstone.systems.pages import Ways

__all__ = ["PAGES", "Clients", "clients_of"]

PAGES: Final = Principal("service:pages", frozenset({"service"}))


class Clients(NamedTuple):
    """One client per contract."""

    accounts: Accounts
    browsers: Browsers
    market: Quotes
    trading: Trading
    risk: Risk
    clearing: Clearing


def clients_of(routes: Sequence[tuple[Operation, Transport]]) -> Clients:
    """Return clients over `routes`, which must hold every operation of the contracts above."""
    made = Ways(routes).client
    return Clients(made(Accounts), made(Browsers), made(Quotes), made(Trading), made(Risk), made(Clearing))
