"""Contracts, services that keep them, and clients that call them.

    Contract, query, command          what a service promises
    Service, on, every                who keeps it, and what it does unasked
    client, options                   the contract again, as somebody to call
    Dispatcher, InProcess             runs a service's operations, in this process
    event_routes, periodic            what the bus and the clock call
    System, Option, Environment       services wired together, as a value
    check_contracts, ...               what a change breaks, and for whom

`archstone.services.http` serves contracts over HTTP and calls them there.
"""

from archstone.services.access import BY_ROLE, Access, RoleTable, RowRule, Watcher, access_faults, check_allowed
from archstone.services.client import client, options
from archstone.services.contract import Contract, command, operations, query
from archstone.services.crossing import crossing, decode_failure, encode_failure
from archstone.services.dispatch import Dispatcher
from archstone.services.errors import (
    CallInTransactionError,
    ForbiddenError,
    KeyMissingError,
    KeyReusedError,
    NotSignedInError,
    RequestInvalidError,
    ResultError,
    StillRunningError,
)
from archstone.services.events import EventRoute, EventUnreadableError, Periodic, event_routes, periodic
from archstone.services.inprocess import InProcess
from archstone.services.operation import ANYONE, SIGNED_IN, Codec, Operation, Transport
from archstone.services.option import Option, option_fault, option_values
from archstone.services.service import Field, Service, ServiceInfo
from archstone.services.snapshot import check_contracts, contracts_snapshot, differences, write_contracts
from archstone.services.subscribing import every, on
from archstone.services.system import Environment, FrontDoor, Provider, System
from archstone.services.tx import NoTransactionError, Tx

__all__ = [
    "ANYONE",
    "BY_ROLE",
    "SIGNED_IN",
    "Access",
    "CallInTransactionError",
    "Codec",
    "Contract",
    "Dispatcher",
    "Environment",
    "EventRoute",
    "EventUnreadableError",
    "Field",
    "ForbiddenError",
    "FrontDoor",
    "InProcess",
    "KeyMissingError",
    "KeyReusedError",
    "NoTransactionError",
    "NotSignedInError",
    "Operation",
    "Option",
    "Periodic",
    "Provider",
    "RequestInvalidError",
    "ResultError",
    "RoleTable",
    "RowRule",
    "Service",
    "ServiceInfo",
    "StillRunningError",
    "System",
    "Transport",
    "Tx",
    "Watcher",
    "access_faults",
    "check_allowed",
    "check_contracts",
    "client",
    "command",
    "contracts_snapshot",
    "crossing",
    "decode_failure",
    "differences",
    "encode_failure",
    "event_routes",
    "every",
    "on",
    "operations",
    "option_fault",
    "option_values",
    "options",
    "periodic",
    "query",
    "write_contracts",
]
