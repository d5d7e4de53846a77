"""How a saga's step reaches what it calls: a client under a derived key, a method of the service in a transaction."""

from collections.abc import Awaitable, Callable
from contextvars import Token
from hashlib import sha256
from typing import Any, cast, get_type_hints

from archstone import context, world
from archstone.context import Call
from archstone.errors import DomainError
from archstone.sagas import Sagas, saga_mark
from archstone.sagas.atomic import Write
from archstone.services.codec import ResultCodec
from archstone.services.commands import Commands, Work
from archstone.services.keys import Slot
from archstone.services.nested import NestedKeys
from archstone.services.points import AFTER_COMMIT, BEFORE_RECORD

__all__ = ["LocalSteps", "saga_id"]

Function = Callable[..., Awaitable[object]]


def saga_id(*parts: str) -> str:
    """Return the id of the saga that a call with these parts starts: always the same."""
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


class LocalSteps:
    """Makes the calls of one service's steps and undos.

    A method of the service runs as a command does: in one transaction, once per step. A method that is itself a @saga
    runs as a saga of its own. Anything else, a client or a function, is called as it is.
    """

    def __init__(self, service: object, *, name: str, commands: Commands) -> None:
        self._service = service
        self._name = name
        self._commands = commands
        self._codecs: dict[str, ResultCodec] = {}
        self.sagas: Sagas | None = None

    async def __call__(self, function: Function, arguments: tuple[object, ...]) -> object:
        """Make the call under a key that counts the calls of this attempt."""
        token = _under_nested_keys()
        key = context.current().key
        try:
            if getattr(function, "__self__", None) is not self._service:
                return await function(*arguments)
            if self.sagas is not None and saga_mark(function) is not None:
                started = self.sagas.run(function, *arguments, id=saga_id(self._name, key or ""))
                return await cast("Awaitable[object]", started)
            return await self._once(function, arguments)
        finally:
            context.leave(token)

    def covers(self, function: Function) -> bool:
        """Whether `function` is a method of the service that runs in one transaction; see `sagas.atomic`."""
        return getattr(function, "__self__", None) is self._service and saga_mark(function) is None

    async def atomically(self, function: Function, arguments: tuple[object, ...], write: Write) -> object:
        """Run a method of the service and `write` its answer in the same transaction."""
        token = _under_nested_keys()

        async def run() -> object:
            answer = await function(*arguments)
            world.point(BEFORE_RECORD)
            return await write(context.current().tx, answer)

        try:
            answer = await self._commands.unrecorded(run)
        finally:
            context.leave(token)
        world.point(AFTER_COMMIT)
        return answer

    async def _once(self, function: Function, arguments: tuple[object, ...]) -> object:
        method = cast("Any", function).__name__
        call = context.current()

        def run() -> Any:
            return function(*arguments)

        if call.key is None:
            return await self._commands.unrecorded(run)
        codec = self._codecs.get(method)
        if codec is None:
            answer = get_type_hints(function, include_extras=True)["return"]
            codec = self._codecs[method] = ResultCodec(f"{self._name}.{method}", answer)
        key = str(call.key)
        # No fingerprint: the journal has the step's arguments and compares them itself.
        slot = Slot(call.principal.id, f"{self._name}.{method}", key)
        return await self._commands.once(
            Work(run, slot, key, b"", codec.encode, codec.decode, _nothing, _no_error, _no_error_again)
        )


def _under_nested_keys() -> Token[Call]:
    principal, deadline_s, trace, key, correlation_id, causation_id, tx, step = context.current()
    key = None if key is None else NestedKeys(key)
    return context.set_current(Call(principal, deadline_s, trace, key, correlation_id, causation_id, tx, step))


def _nothing(_error: BaseException) -> bool:
    return False


def _no_error(error: DomainError) -> bytes:
    raise error


def _no_error_again(code: str, _encoded: bytes) -> DomainError:
    raise LookupError(code)
