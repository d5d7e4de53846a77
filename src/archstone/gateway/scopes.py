"""What a program may be given to do in somebody's name.

The scope of an operation is the permission that it requires, such as `orders:write`. One that names none belongs to its
contract: `carts:read` for the queries of `Carts`, `carts:write` for its commands. A scope is asked for at the front
door only: what an operation does inside, it does for the person.
"""

from collections.abc import Iterable

from archstone.context import NOBODY, Denied, Principal
from archstone.gateway.errors import ScopeError
from archstone.services import ANYONE, Access, Operation

__all__ = ["scope_of", "scoped", "scopes_of"]


def scope_of(operation: Operation) -> str:
    """Return the scope that a program needs to call an operation in somebody's name."""
    if ":" in operation.requires:
        return operation.requires
    return f"{operation.contract_name.lower()}:{'read' if operation.kind == 'query' else 'write'}"


def scopes_of(operations: Iterable[Operation]) -> frozenset[str]:
    """Return the scopes of all public operations."""
    return frozenset(scope_of(each) for each in operations if each.public)


def scoped(operation: Operation, principal: Principal, access: Access) -> Principal:
    """Return as whom an operation is called: the principal, if whoever asks in their name was given this.

    What needs nobody is called as nobody without its scope: a program that was given orders looks at the catalog, and
    not at its person's cart. A refusal is told to whoever keeps watch.

    Raises:
        ScopeError: It was not given, and the operation asks for somebody.
    """
    if principal.scopes is None or (scope := scope_of(operation)) in principal.scopes:
        return principal
    if operation.requires == ANYONE:
        return NOBODY
    access.tell(Denied(operation.full_name, scope, principal, "no scope"))
    raise ScopeError(operation.full_name, scope)
