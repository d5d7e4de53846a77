"""One operation of a contract: what it is called, who may call it, and how it travels.

An `Operation` is made by `@query` or `@command` when a contract class is made, and everything that carries calls
works from it: dispatch, clients, HTTP routes, OpenAPI, the snapshot of contracts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from archstone.context import ANYONE, SIGNED_IN
from archstone.errors import DomainError
from archstone.services.codec import ArgumentCodec, Request, ResultCodec
from archstone.services.error_codec import ErrorCodec
from archstone.services.parameters import Parameter

__all__ = ["ANYONE", "SIGNED_IN", "UNDECLARED", "Codec", "Operation", "Transport"]

UNDECLARED: Final = ""
"""`requires` of a public operation that says nothing of it: nobody may call it, and no system starts with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """The compiled codecs of one operation."""

    arguments: ArgumentCodec
    result: ResultCodec
    errors: Mapping[str, ErrorCodec]
    """By code, each error that the operation declares."""
    result_type: object
    """The annotation of what the method returns."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A method of a contract, compiled."""

    contract: type
    contract_name: str
    version: str
    name: str
    kind: Literal["query", "command"]
    method: str
    """HTTP method."""
    path: str
    """HTTP path below the prefix, with parameters as `{name}`."""
    public: bool
    """Whether the gateway routes it."""
    requires: str
    """`ANYONE`, `SIGNED_IN`, a permission such as `orders:write`, the name of a role; or `UNDECLARED`."""
    raises: tuple[type[DomainError], ...]
    status: int
    """HTTP status of success."""
    record: bool
    """Whether the answer is kept with the key. False where it holds a secret."""
    key_required: bool
    """Whether the command is refused without an idempotency key."""
    summary: str | None
    docstring: str
    parameters: tuple[Parameter, ...]
    function: Callable[..., object]
    """The function in the contract class; services override it."""
    codec: Codec
    full_name: str
    """`Inventory.reserve`."""

    def __repr__(self) -> str:
        return f"<{self.kind} {self.full_name} {self.method} {self.path}>"

    def decode(
        self, path: Mapping[str, str], query: Mapping[str, Sequence[str]], body: bytes | None, *, strict: bool
    ) -> dict[str, object]:
        """Return the arguments of an HTTP request, defaults filled in, in declared order.

        Args:
            path: Text of each path parameter, unquoted.
            query: Texts of each query parameter, unquoted, at least one each.
            body: The JSON object; None or empty counts as `{}`.
            strict: Refuse unknown fields, nested ones too, and numbers or booleans written as JSON strings.

        Raises:
            RequestInvalidError: With all faults at once, at most 50.
        """
        return self.codec.arguments.decode(path, query, body, strict=strict)

    def encode_request(self, arguments: dict[str, object]) -> Request:
        """Return the path with query string, and the body, of the HTTP request for these arguments."""
        return self.codec.arguments.request(arguments)

    def encode_arguments(self, arguments: dict[str, object]) -> bytes:
        """Return the canonical JSON of all arguments: the fingerprint of the call, and what travels.

        Raises:
            RequestInvalidError: A value has not the type that the contract says.
        """
        return self.codec.arguments.encode(arguments)

    def decode_arguments(self, encoded: bytes) -> dict[str, object]:
        """Return the arguments that `encode_arguments` made into bytes; unknown fields are ignored."""
        return self.codec.arguments.decode_whole(encoded)

    def encode_result(self, value: object) -> bytes:
        """Return the JSON of an answer; a ResultError if it has not the type that the contract says."""
        return self.codec.result.encode(value)

    def decode_result(self, encoded: bytes) -> object:
        """Return the answer that `encode_result` made into bytes; unknown fields are ignored."""
        return self.codec.result.decode(encoded)

    def declares(self, error: BaseException) -> bool:
        """Return whether the contract declares exactly this class of error for this operation."""
        return type(error) in self.raises

    def encode_error(self, error: DomainError) -> bytes:
        """Return the JSON array of a declared error's constructor arguments."""
        return self.codec.errors[error.code].encode(error)

    def decode_error(self, code: str, encoded: bytes) -> DomainError:
        """Return the declared error with `code`, built again from its arguments.

        Raises:
            KeyError: The operation declares no error with this code.
        """
        return self.codec.errors[code].decode(encoded)

    def error_members(self, error: DomainError) -> dict[str, object]:
        """Return the arguments of a declared error by name, in JSON form, for a problem document."""
        return self.codec.errors[error.code].named(error)


class Transport(Protocol):
    """Carries calls to whoever implements the contract."""

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Make the call under `context.current()`: principal, deadline, key and trace travel with it.

        Args:
            operation: What to call.
            arguments: Every argument by name, defaults filled in, in declared order.

        Raises:
            DomainError: One that the operation declares.
            ArchstoneError: Refused, not reached in time, or failed (`RemoteError`).
        """
        ...
