"""What a client sends with each call, whatever carries it: target, headers, body."""

from typing import NamedTuple

from archstone.context import Call
from archstone.errors import InvalidError
from archstone.observability import format_traceparent
from archstone.services.http.principal import PrincipalCodec
from archstone.services.operation import Operation

__all__ = ["Outgoing", "Sender", "one_line"]

Pairs = list[tuple[str, str]]


class Outgoing(NamedTuple):
    """One request, as far as the call decides it."""

    target: str
    """Path and query string."""
    headers: Pairs
    body: bytes | None


class Sender:
    """Writes calls as requests."""

    __slots__ = ("_fixed", "_prefix", "_principals")

    def __init__(self, *, prefix: str, principals: PrincipalCodec | None, token: str | None) -> None:
        self._prefix = prefix
        self._principals = principals
        self._fixed: Pairs = [] if token is None else [("authorization", f"Bearer {one_line(token, 'token')}")]

    def write(self, operation: Operation, arguments: dict[str, object], call: Call, left_s: float) -> Outgoing:
        """Return the request for a call that is waited for `left_s` seconds more.

        Raises:
            InvalidError: An argument has not the type that the contract says, or a value cannot stand in a header.
        """
        encoded = operation.encode_request(arguments)
        body = encoded.body
        headers = [*self._fixed, ("archstone-deadline-ms", str(int(left_s * 1000)))]
        if call.key is not None and operation.kind == "command":
            headers.append(("idempotency-key", one_line(call.key, "idempotency key")))
        if call.trace is not None:
            headers.append(("traceparent", format_traceparent(call.trace)))
        if call.correlation_id is not None:
            headers.append(("archstone-correlation-id", one_line(call.correlation_id, "correlation id")))
        if self._principals is not None and call.principal.signed_in:
            headers.append(("archstone-principal", one_line(self._principals.encode(call.principal), "principal")))
        if body is not None:
            headers.append(("content-type", "application/json"))
        if operation.method != "GET":
            # A method that may have a body says that it has none, or the other side waits for one.
            headers.append(("content-length", str(len(body or b""))))
        return Outgoing(self._prefix + encoded.target, headers, body)


def one_line(value: str, what: str) -> str:
    """Return the value of a header; refuse what would begin another header."""
    if value.isascii() and value.isprintable():
        return value
    raise InvalidError(f"{what} {value[:80]!r} cannot stand in a header: use printable ASCII")
