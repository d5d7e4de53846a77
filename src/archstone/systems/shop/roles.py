"""Who may do what in the shop: `archstone roles shop` prints it.

Customers have what is theirs. Support sees everything that a customer might ask about and changes nothing. Who
administers the shop changes it. Services among themselves are the role `service`, which no person is given.
"""

from archstone.context import Principal
from archstone.security import Role, Roles, Rule

__all__ = ["CANCELLABLE_ORDER", "OWN_ORDER", "ROLES"]

CUSTOMER = Role(
    "customer",
    may=("account:read", "account:write", "carts:merge", "orders:place", "orders:read", "orders:cancel"),
    about="Whoever has registered: their own account, cart and orders.",
)
SUPPORT = Role(
    "support",
    may=("orders:read-any", "users:read", "stock:read", "catalog:review"),
    above=(CUSTOMER,),
    about="Looks up whatever a customer asks about, and changes nothing of it.",
)
ADMIN = Role(
    "admin",
    may=(
        *("orders:cancel-any", "orders:refund", "users:grant", "users:close", "stock:write"),
        *("catalog:write", "catalog:import", "analytics:read", "bank:drill"),
    ),
    above=(SUPPORT,),
    about="Changes products, stock, orders and accounts.",
)
ROLES = Roles(CUSTOMER, SUPPORT, ADMIN)


def _is(principal: Principal, customer_id: str) -> bool:
    return principal.id == customer_id


OWN_ORDER: Rule[str] = Rule("own order", _is, unless="orders:read-any")
"""To see it, its invoice, or a list of them; of the id of the customer who has placed it."""
CANCELLABLE_ORDER: Rule[str] = Rule("own order", _is, unless="orders:cancel-any")
"""To have it cancelled."""
