"""What people type into forms, checked: pages ask services in this process, which take what they are given.

What a contract allows is the contract's to say: the fields have its types.
"""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from archstone.systems.exchange.accounts.contract import Email, Name, NewPassword, OfferedPassword
from archstone.systems.exchange.desk.contract import Number, Symbol
from archstone.systems.exchange.desk.risk import LimitValue, Reason
from archstone.systems.exchange.desk.words import LimitWord, PhaseWord

__all__ = [
    "CancelForm",
    "KeyForm",
    "KillForm",
    "LimitForm",
    "LoginForm",
    "PasswordForm",
    "PhaseForm",
    "RegisterForm",
    "checked",
]

F = TypeVar("F", bound=BaseModel)


class LoginForm(BaseModel):
    """Of who has an account."""

    email: Email
    password: OfferedPassword


class RegisterForm(BaseModel):
    """Of who wants one."""

    email: Email
    password: NewPassword
    name: Name


class PasswordForm(BaseModel):
    """Of another password."""

    current: OfferedPassword
    new: NewPassword


class KeyForm(BaseModel):
    """Of an API key."""

    name: Name
    trades: bool = False


class CancelForm(BaseModel):
    """Of an order that is to go."""

    number: Number


class LimitForm(BaseModel):
    """Of a limit of an account."""

    limit: LimitWord
    to: LimitValue
    reason: Reason = ""


class KillForm(BaseModel):
    """Of a kill switch."""

    on: bool
    reason: Reason = ""


class PhaseForm(BaseModel):
    """Of an instrument that is to enter another phase."""

    symbol: Symbol
    phase: PhaseWord


def checked(kind: type[F], form: Mapping[str, str]) -> F | None:
    """Return what was typed. None: something in it is not allowed."""
    try:
        return kind.model_validate(form)
    except ValidationError:
        return None
