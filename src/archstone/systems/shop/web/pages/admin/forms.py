"""What administrators type, checked."""

from pydantic import BaseModel, ConfigDict

from archstone.systems.shop.users.contract import Role
from archstone.systems.shop.values import Email

__all__ = ["RoleForm"]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True)


class RoleForm(_Form):
    """A role for somebody."""

    email: Email
    role: Role
