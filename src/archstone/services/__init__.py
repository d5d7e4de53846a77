"""Contracts, services that keep them, and clients that call them."""

from archstone.services.client import client, options
from archstone.services.contract import Contract, command, operations, query
from archstone.services.errors import (
    CallInTransactionError,
    ForbiddenError,
    KeyMissingError,
    KeyReusedError,
    NotSignedInError,
    RequestInvalidError,
    StillRunningError,
)
from archstone.services.operation import ANYONE, SIGNED_IN, Codec, Operation, Transport

__all__ = [
    "ANYONE",
    "SIGNED_IN",
    "CallInTransactionError",
    "Codec",
    "Contract",
    "ForbiddenError",
    "KeyMissingError",
    "KeyReusedError",
    "NotSignedInError",
    "Operation",
    "RequestInvalidError",
    "StillRunningError",
    "Transport",
    "client",
    "command",
    "operations",
    "options",
    "query",
]
