"""Who may do what at the exchange: `archstone roles exchange` prints it."""

from archstone.security import Role, Roles

__all__ = ["ROLES"]

TRADER = Role(
    "trader",
    may=("account:read", "account:write", "orders:read", "orders:write"),
    about="Whoever has an account: their own orders, positions and keys.",
)
WATCHER = Role("watcher", may=("risk:read",), above=(TRADER,), about="Sees all accounts, and changes nothing of them.")
ADMIN = Role(
    "admin",
    may=("risk:write", "accounts:grant"),
    above=(WATCHER,),
    about="Sets limits, halts and stops, and gives roles.",
)
ROLES = Roles(TRADER, WATCHER, ADMIN)
