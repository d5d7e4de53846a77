"""Who may call an operation: asked by the gateway, and again by the service, since not every caller comes through it.

`requires` names a permission or a role. What permissions a role has says a table: `archstone.security.Roles` is one.
Without a table a principal may do what is named like one of its roles.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from archstone.context import ANYONE, SIGNED_IN, Denied, Principal
from archstone.errors import ForbiddenError, NotSignedInError
from archstone.services.operation import UNDECLARED, Operation

__all__ = ["BY_ROLE", "Access", "ByRole", "RoleTable", "RowRule", "Watcher", "access_faults", "check_allowed"]


class RowRule(Protocol):
    """Whose a thing is: `archstone.security.Rule`."""

    @property
    def name(self) -> str:
        """How a refusal calls it: `own order`."""
        ...

    @property
    def unless(self) -> str | None:
        """The permission with which it need not hold. None: it always must."""
        ...

    def holds(self, principal: Principal, row: object, /) -> bool:
        """Return whether the thing is theirs."""
        ...


class Access(Protocol):
    """Says who may, and tells of those who may not."""

    def check(self, what: str, requires: str, principal: Principal) -> None:
        """Refuse who may not.

        Raises:
            NotSignedInError: Nobody is signed in.
            ForbiddenError: The principal has not the permission.
        """
        ...

    def allows(self, what: str, rule: RowRule, row: object, principal: Principal, *, name: str) -> bool:
        """Return whether a thing may be touched: by the rule, or by the permission that stands above it."""
        ...

    def tell(self, denied: Denied, /) -> None:
        """Tell whoever keeps watch of a refusal that somebody else has decided, such as the front door by a scope."""
        ...


@runtime_checkable
class Watcher(Protocol):
    """Is told of refusals: whatever a system provides that has this method, such as an audit log."""

    def denied(self, denied: Denied, /) -> None:
        """Take note of a refusal, without waiting. What it raises is logged, and the refusal stands."""
        ...


class RoleTable(Protocol):
    """What roles there are, and what they may: `archstone.security.Roles`."""

    def holders(self, requires: str) -> Sequence[str]:
        """Return the roles that have a permission; of a role, its own name. Empty: none has."""
        ...

    def guard(self, *, on_denied: Callable[[Denied], None] = ...) -> Access:
        """Return what decides by this table, and tells of each refusal; by default the log."""
        ...


class ByRole:
    """An `Access` without a table: a permission is held by the role of the same name."""

    def check(self, what: str, requires: str, principal: Principal) -> None:
        """Refuse who has not the role."""
        if not principal.id:
            raise NotSignedInError(what)
        if requires != SIGNED_IN and requires not in principal.roles:
            raise ForbiddenError(what, requires)

    def allows(self, what: str, rule: RowRule, row: object, principal: Principal, *, name: str) -> bool:
        """Return whether the rule holds, or the principal has the role that stands above it."""
        return rule.holds(principal, row) or (rule.unless is not None and rule.unless in principal.roles)

    def tell(self, denied: Denied, /) -> None:
        """Do nothing: nobody keeps watch."""


BY_ROLE: Final = ByRole()


def check_allowed(operation: Operation, principal: Principal, access: Access) -> None:
    """Refuse who may not call an operation; of one that says nothing of it, everybody.

    Raises:
        NotSignedInError: It asks for somebody, and nobody is signed in.
        ForbiddenError: It asks for a permission that the principal has not.
    """
    requires = operation.requires
    if requires != ANYONE:
        access.check(operation.full_name, requires, principal)


def access_faults(operations: Sequence[Operation], table: RoleTable | None) -> list[str]:
    """Return what keeps operations from being reached as was meant: nothing said of one, or a name that no role has."""
    silent = [each.full_name for each in operations if each.requires == UNDECLARED]
    faults: list[str] = []
    if silent:
        faults.append(
            f"{', '.join(silent)}: public, and nothing says who may call it, so nobody may: add requires=, such as "
            "ANYONE, SIGNED_IN or a permission"
        )
    if table is not None:
        faults += [
            f"{each.full_name} requires {each.requires!r}, which no role has: give it to one, or mend it"
            for each in operations
            if each.requires not in {ANYONE, SIGNED_IN, UNDECLARED} and not table.holders(each.requires)
        ]
    return faults
