"""Clients: an object that is-a contract and whose methods call whoever implements it.

A client carries the caller's principal, deadline and trace with the call. It never waits longer than the caller
does, refuses to be called inside a transaction, and repeats what is safe to repeat: queries, and commands that have
a key. Outside of services the key is the one that the caller has entered in its `Call`; what a saga's step calls gets
keys derived from the step's own, so that a repeat of the step repeats them.
"""

from collections.abc import Callable, Coroutine
from functools import cache, wraps
from typing import Any, Final, TypeVar, cast

from archstone import context, world
from archstone.context import Call
from archstone.errors import BackendError, ConfigError, RejectedError
from archstone.resilience import OutOfTimeError, Retry
from archstone.services.compiler import MARK
from archstone.services.contract import operations
from archstone.services.errors import CallInTransactionError, StillRunningError
from archstone.services.nested import NestedKeys
from archstone.services.operation import Operation, Transport

__all__ = ["DEFAULT_RETRY", "DEFAULT_TIMEOUT_S", "client", "options"]

C = TypeVar("C")

DEFAULT_TIMEOUT_S: Final = 10.0
"""How long a call waits for its answer, unless its caller's deadline comes sooner."""
DEFAULT_RETRY: Final = Retry(3, on=(RejectedError, BackendError, StillRunningError))
"""How a query, or a command with a key, is repeated. Never beyond the deadline."""


class _Link:
    """Where the calls of a client go, and under which limits."""

    __slots__ = ("key", "retry", "timeout_s", "transport")

    def __init__(self, transport: Transport, *, timeout_s: float, retry: Retry | None, key: str | None) -> None:
        self.transport = transport
        self.timeout_s = timeout_s
        self.retry = retry
        self.key = key

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        caller = context.current()
        if caller.tx is not None and caller.tx.holds():
            raise CallInTransactionError(operation.full_name)
        principal, deadline_s, trace, key, correlation_id, causation_id, _, _ = caller
        now_s = world.monotonic()
        limit_s = now_s + self.timeout_s
        if deadline_s is not None and deadline_s < limit_s:
            limit_s = deadline_s
            if now_s >= limit_s:
                raise OutOfTimeError(operation.full_name, 0.0, begun=False)
        key = None if operation.kind == "query" else self.key or _key_for(operation, key)
        token = context.set_current(Call(principal, limit_s, trace, key, correlation_id, causation_id))
        try:
            if self.retry is None or (key is None and operation.kind == "command"):
                return await self.transport.call(operation, arguments)
            return await self.retry.call(self.transport.call, operation, arguments)
        finally:
            context.leave(token)


def client(
    contract: type[C],
    transport: Transport,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    retry: Retry | None = DEFAULT_RETRY,
) -> C:
    """Return a client of `contract` whose calls go through `transport`.

    Cancelling a call cancels a query; a command that has begun runs on to its deadline.

    Args:
        contract: A `Contract` class.
        transport: What carries the calls.
        timeout_s: Longest wait of one call, its retries included. Above 0.
        retry: How queries, and commands that have a key, are repeated. None: not at all.
    """
    if not timeout_s > 0:
        msg = f"client of {contract.__name__}: timeout_s={timeout_s!r} must be above 0"
        raise ConfigError(msg)
    made = _client_class(contract)()
    cast("Any", made)._archstone_link = _Link(transport, timeout_s=timeout_s, retry=retry, key=None)  # noqa: SLF001
    return cast("C", made)


_UNSET: Final = cast("Any", object())


def options(of: C, *, timeout_s: float = _UNSET, retry: Retry | None = _UNSET, key: str | None = _UNSET) -> C:
    """Return the same client with other limits, for one call: `options(self.inventory, timeout_s=1).reserve(...)`.

    Args:
        of: A client.
        timeout_s: Longest wait, in place of the client's own. Above 0.
        retry: How to repeat, in place of the client's own. None: not at all.
        key: Idempotency key of the command, in place of a derived one.
    """
    link = getattr(of, "_archstone_link", None)
    if not isinstance(link, _Link):
        msg = f"options of {of!r}: not a client; make one with client(Contract, transport)"
        raise ConfigError(msg)
    made = client(
        _contract_of(of),
        link.transport,
        timeout_s=link.timeout_s if timeout_s is _UNSET else timeout_s,
        retry=link.retry if retry is _UNSET else retry,
    )
    cast("Any", made)._archstone_link.key = link.key if key is _UNSET else key  # noqa: SLF001
    return made


def _contract_of(of: C) -> type[C]:
    return cast("type[C]", type(of).__mro__[1])


@cache
def _client_class(contract: type[C]) -> type[C]:
    found = operations(contract)
    if not found:
        msg = f"client of {contract.__name__}: it is no contract: class {contract.__name__}(Contract, version='1.0')"
        raise ConfigError(msg)
    methods: dict[str, object] = {operation.name: _method(operation) for operation in found}

    return cast("type[C]", type(f"{contract.__name__}Client", (contract,), methods))


def _method(operation: Operation) -> Callable[..., Coroutine[Any, Any, object]]:
    names = tuple(parameter.name for parameter in operation.parameters)
    count = len(names)
    bind = _binder(operation)

    async def call(self: Any, /, *positional: object, **named: object) -> object:
        if named or len(positional) != count:
            arguments = bind(positional, named)
        else:
            arguments = dict(zip(names, positional, strict=True))
        return await self._archstone_link.call(operation, arguments)

    made = wraps(cast("Callable[..., Any]", operation.function))(call)
    delattr(made, MARK)  # a client keeps the promise and makes none of its own
    return made


def _binder(operation: Operation) -> Callable[[tuple[object, ...], dict[str, object]], dict[str, object]]:
    """Return the slower binding of arguments: by name, with defaults, faults told as Python tells them."""
    names = tuple(parameter.name for parameter in operation.parameters)
    defaults = {each.name: each.default for each in operation.parameters if not each.required}
    known = frozenset(names)

    def bind(positional: tuple[object, ...], named: dict[str, object]) -> dict[str, object]:
        given = dict(zip(names, positional, strict=False))
        twice = given.keys() & named.keys()
        unknown = named.keys() - known
        given = {**defaults, **given, **named}
        missing = [name for name in names if name not in given]
        if len(positional) > len(names) or twice or unknown or missing:
            wrong = ", ".join(sorted(twice | unknown) or missing) or f"{len(positional)} positional"
            msg = f"{operation.full_name}({', '.join(names)}): wrong or missing arguments: {wrong}"
            raise TypeError(msg)
        return {name: given[name] for name in names}

    return bind


def _key_for(operation: Operation, key: str | None) -> str | None:
    """Return the key of a command that is called under `key`."""
    if isinstance(key, NestedKeys):
        return key.next(operation)
    if key is None and operation.key_required:
        # So that this client's own repeats are one effect. Nobody else can repeat it: nobody knows the key.
        return world.new_id()
    return key
