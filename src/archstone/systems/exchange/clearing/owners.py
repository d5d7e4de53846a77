"""Who may see the account of whom: the desk knows which account belongs to whom who is signed in."""

from typing import Final, Protocol

from archstone.context import Principal
from archstone.services import RowRule

__all__ = ["STAFF_ONLY", "AccountRule"]


class AccountRule(RowRule, Protocol):
    """A rule on the number of an account, such as `Rule[int]("own account", ..., unless="clearing:read-any")`."""


class _StaffOnly:
    name = "own account"
    unless = "clearing:read-any"

    def holds(self, principal: Principal, row: object, /) -> bool:
        return False


STAFF_ONLY: Final[AccountRule] = _StaffOnly()
"""Where nobody has said whose accounts are: who may read any account."""
