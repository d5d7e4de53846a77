"""Who may do what at the exchange: `archstone roles exchange` prints it."""

from archstone.context import Principal
from archstone.security import Role, Roles, Rule

__all__ = ["OWN_ACCOUNT", "ROLES"]

TRADER = Role(
    "trader",
    may=("account:read", "account:write", "orders:read", "orders:write", "clearing:read"),
    about="Whoever has an account: their own orders, positions and keys.",
)
WATCHER = Role(
    "watcher",
    may=("risk:read", "clearing:read-any", "surveillance:read", "history:read"),
    above=(TRADER,),
    about="Sees all accounts, and changes nothing of them.",
)
ADMIN = Role(
    "admin",
    may=("risk:write", "accounts:grant", "clearing:correct", "surveillance:judge"),
    above=(WATCHER,),
    about="Sets limits, halts and stops, and gives roles.",
)
ROLES = Roles(TRADER, WATCHER, ADMIN)


def _is(principal: Principal, account: int) -> bool:
    return principal.id == str(account)


OWN_ACCOUNT: Rule[int] = Rule("own account", _is, unless="clearing:read-any")
"""To see its balances and statements; of its number."""
