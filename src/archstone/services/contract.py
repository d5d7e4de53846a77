"""What a service promises: a class of typed methods, each marked as a query or as a command.

A contract is checked and compiled when its class is made: annotations are resolved, what crosses must be deeply
immutable, codecs are built. All faults are told at once. Bodies are `...`; a `Service` keeps the promise, and a
client made by `client(Contract, transport)` has the same methods. mypy users switch off `empty-body` for the
modules of their contracts.

The first paragraph of a docstring, of a contract, a method or a type in it, is public: `/openapi.json` and `/docs` show
it. What stands below, such as why a command keeps no record, is for readers of the code.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, Literal, TypeVar

from archstone.errors import ConfigError, DomainError
from archstone.services.compiler import MARK, Marked, compile_operation
from archstone.services.operation import Operation

__all__ = ["Contract", "command", "operations", "query"]

Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, object]])

_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")


class Contract:
    """Subclass it with a version to make a contract: `class Inventory(Contract, version="1.0")`."""

    contract_version: ClassVar[str]
    contract_operations: ClassVar[tuple[Operation, ...]]

    def __init_subclass__(cls, *, version: str | None = None) -> None:
        super().__init_subclass__()
        marked = [each for each in vars(cls).values() if hasattr(each, MARK)]
        if version is None:
            if marked or Contract in cls.__bases__:
                msg = f"contract {cls.__name__} has no version: write class {cls.__name__}(Contract, version='1.0')"
                raise ConfigError(msg)
            return  # a service or a client: it keeps the promises of contracts and makes none of its own
        if not marked:
            msg = f"contract {cls.__name__} promises nothing: mark its methods with @query or @command"
            raise ConfigError(msg)
        faults: list[str] = []
        compiled = [compile_operation(cls, version, each, faults) for each in marked]
        if faults:
            raise ConfigError("\n".join(faults))
        cls.contract_version = version
        cls.contract_operations = tuple(each for each in compiled if each is not None)


def operations(contract: type) -> tuple[Operation, ...]:
    """Return the operations of a contract class, in the order of its methods."""
    return contract.__dict__.get("contract_operations", ())


def query(
    path: str,
    *,
    public: bool = False,
    requires: str | None = None,
    raises: tuple[type[DomainError], ...] = (),
    status: int = 200,
    summary: str | None = None,
) -> Callable[[Method], Method]:
    """Mark a method as a query: it reads, has no effect, and may be repeated and cancelled.

    Args:
        path: HTTP path; `{name}` stands for a parameter, the rest are given in the query string.
        public: Whether the gateway routes it.
        requires: Who may: `ANYONE`, `SIGNED_IN`, a permission such as `orders:write`, or the name of a role. None: of a
            public one nobody, so that no system starts before it is said; of others `SIGNED_IN`.
        raises: Declared errors; anything else becomes `RemoteError` for the caller.
        status: HTTP status of success.
        summary: One line for the documentation; by default the first of the docstring.
    """
    return _mark(
        Marked(
            kind="query", method="GET", path=path, public=public, requires=requires, raises=raises, status=status,
            summary=summary, record=False, key_required=False,
        )
    )  # fmt: skip


def command(  # noqa: PLR0913 - each is a word of the promise, read by name
    path: str,
    *,
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST",
    public: bool = False,
    requires: str | None = None,
    raises: tuple[type[DomainError], ...] = (),
    status: int = 200,
    summary: str | None = None,
    record: bool = True,
    key_required: bool | None = None,
) -> Callable[[Method], Method]:
    """Mark a method as a command: it has an effect, once per idempotency key, and runs on if its caller leaves.

    Args:
        path: HTTP path; `{name}` stands for a parameter, the rest form the JSON object of the body.
        method: HTTP method.
        public: Whether the gateway routes it.
        requires: Who may: `ANYONE`, `SIGNED_IN`, a permission such as `orders:write`, or the name of a role. None: of a
            public one nobody, so that no system starts before it is said; of others `SIGNED_IN`.
        raises: Declared errors, recorded with the key like an answer, their effect rolled back.
        status: HTTP status of success.
        summary: One line for the documentation; by default the first of the docstring.
        record: Keep the answer with the key for 24 h. False where it holds a secret: then a repeat runs again.
        key_required: Refuse a call without a key. None: required if public.
    """
    if method not in _METHODS:
        msg = f"command {path}: method {method!r} is none of {', '.join(_METHODS)}"
        raise ConfigError(msg)
    needed = public if key_required is None else key_required
    return _mark(
        Marked(
            kind="command", method=method, path=path, public=public, requires=requires, raises=raises, status=status,
            summary=summary, record=record, key_required=needed,
        )
    )  # fmt: skip


def _mark(promise: Marked) -> Callable[[Method], Method]:
    def mark(function: Method) -> Method:
        if not inspect.iscoroutinefunction(function):
            name = getattr(function, "__qualname__", repr(function))
            msg = f"@{promise.kind} on {name}: not a coroutine function: write async def"
            raise ConfigError(msg)
        setattr(function, MARK, promise)
        return function

    return mark
