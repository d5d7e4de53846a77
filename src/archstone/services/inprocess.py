"""Calls within one process: handed over as they are, or encoded and decoded as between two."""

from archstone import context
from archstone.context import Call, Principal
from archstone.errors import ArchstoneError, ConfigError
from archstone.services.crossing import crossing, decode_failure, encode_failure
from archstone.services.operation import Operation, Transport

__all__ = ["InProcess"]


class InProcess:
    """A transport to a dispatcher of this process.

    What crosses is immutable, so that handing it over means the same as copying it. Encoding proves it: tests and
    simulations encode.
    """

    __slots__ = ("_as", "_callee", "_encode")

    def __init__(self, callee: Transport | None = None, *, encode: bool = False, as_: Principal | None = None) -> None:
        """Describe the way.

        Args:
            callee: The dispatcher. None: `connect` names it later, when services call each other in a circle.
            encode: Encode and decode arguments, answers and errors, both ways.
            as_: Who calls, in place of the principal of the running context.
        """
        self._callee: Transport | None = callee
        self._encode = encode
        self._as = as_

    def connect(self, callee: Transport) -> None:
        """Name the dispatcher that answers."""
        self._callee = callee

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Make the call; see `Transport.call`."""
        if self._as is not None:
            _, deadline_s, trace, key, correlation_id, causation_id, tx, step = context.current()
            call = Call(self._as, deadline_s, trace, key, correlation_id, causation_id, tx, step)
            token = context.set_current(call)
            try:
                return await self._call(operation, arguments)
            finally:
                context.leave(token)
        return await self._call(operation, arguments)

    async def _call(self, operation: Operation, arguments: dict[str, object]) -> object:
        callee = self._callee
        if callee is None:
            raise ConfigError(f"{operation.full_name}: nobody answers yet: connect the transport to a dispatcher first")
        if not self._encode:
            return await callee.call(operation, arguments)
        received = operation.decode_arguments(operation.encode_arguments(arguments))
        try:
            answer = await callee.call(operation, received)
        except ArchstoneError as error:
            raise decode_failure(operation, encode_failure(operation, error)) from error
        try:
            encoded = operation.encode_result(answer)
        except ValueError as error:
            raise crossing(operation, error) from error
        return operation.decode_result(encoded)
