"""Whom the pages ask: clients of the shop's contracts, over the ways that the gateway is given.

The pages ask as their visitor. Only what nobody else may ask, who a cookie belongs to, they ask as themselves.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from archstone.context import Principal
from archstone.services import Operation, Transport
from archstone.systems.pages import Ways
from archstone.systems.shop.analytics.contract import Analytics
from archstone.systems.shop.carts.contract import Carts
from archstone.systems.shop.catalog.administration import CatalogAdmin
from archstone.systems.shop.catalog.contract import Catalog
from archstone.systems.shop.inventory.administration import StockAdmin
from archstone.systems.shop.inventory.contract import Inventory
from archstone.systems.shop.orders.administration import OrderAdmin
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.payments.drill import BankDrill
from archstone.systems.shop.users.contract import BrowserSessions, UserAdmin, UserWrite
from archstone.systems.shop.users.emails import EmailChanges
from archstone.systems.shop.users.joining import SignUps
from archstone.systems.shop.users.proving import Factors, Recovery

__all__ = ["PAGES", "Clients", "clients_of"]

PAGES: Final = Principal("service:pages", frozenset({"service"}))


class Clients(NamedTuple):
    """One client per contract."""

    browsers: BrowserSessions
    carts: Carts
    catalog: Catalog
    inventory: Inventory
    orders: Orders
    users: UserWrite
    factors: Factors
    recovery: Recovery
    emails: EmailChanges
    sign_ups: SignUps
    roles: UserAdmin
    analytics: Analytics
    stock: StockAdmin
    order_admin: OrderAdmin
    products: CatalogAdmin
    bank: BankDrill


def clients_of(routes: Sequence[tuple[Operation, Transport]]) -> Clients:
    """Return clients over `routes`, which must hold every operation of the contracts above."""
    made = Ways(routes).client
    return Clients(
        browsers=made(BrowserSessions),
        carts=made(Carts),
        catalog=made(Catalog),
        inventory=made(Inventory),
        orders=made(Orders),
        users=made(UserWrite),
        factors=made(Factors),
        recovery=made(Recovery),
        emails=made(EmailChanges),
        sign_ups=made(SignUps),
        roles=made(UserAdmin),
        analytics=made(Analytics),
        stock=made(StockAdmin),
        order_admin=made(OrderAdmin),
        products=made(CatalogAdmin),
        bank=made(BankDrill),
    )
