"""How a saga comes into being: its row, and what to do when there is one already."""

from collections.abc import Awaitable, Callable
from typing import Final

from archstone import context, world
from archstone.data import headers_of
from archstone.sagas.codec import same_arguments
from archstone.sagas.errors import SagaExistsError, StepCodecError
from archstone.sagas.queue import Wish, ticket_of
from archstone.sagas.rows import Execute, First
from archstone.sagas.run import Awake
from archstone.sagas.saga import SagaMark, saga_mark
from archstone.sagas.shared import Shared

__all__ = ["LONGEST_ID", "check_id", "insert", "make"]

_NO_WISH: Final = Wish()
LONGEST_ID: Final = 200
"""Characters of the id of a saga."""


def check_id(what: str, saga: str) -> None:
    """Raise StepCodecError if this cannot be the id of a saga."""
    if not 1 <= len(saga) <= LONGEST_ID:
        raise StepCodecError(what, f"the id of a saga must have 1 to {LONGEST_ID} characters")


def make(
    shared: Shared,
    method: Callable[..., Awaitable[object]],
    arguments: tuple[object, ...],
    *,
    saga: str,
    wish: Wish | None = None,
) -> Awake:
    """Return a saga that is not on disk yet, caused by the call that runs here.

    Args:
        shared: Of its engine.
        method: A function that is a saga.
        arguments: Its arguments.
        saga: Its id.
        wish: How it is to be started. None: at once, whatever queue its function has.
    """
    operation = shared.versions.of(method)
    mark = saga_mark(method) or SagaMark(1)
    check_id(operation.name, saga)
    made = Awake(shared, saga)
    made.fresh = True
    if made.worker and not shared.kin.room:  # where nobody shares them there is no one to leave it to
        made.worker = 0
    made.method, made.version = operation.name, mark.version
    made.arguments = operation.codec.arguments_json(arguments)
    shared.check_size(f"saga {saga}", "the arguments", len(made.arguments))
    made.started_us = world.now_us()
    if wish is not None and (mark.queue is not None or wish != _NO_WISH):
        made.ticket = ticket_of(operation.name, mark.queue, wish, engine=shared.table.engine)
    call = context.current()
    made.headers = headers_of(call)
    made.trace = call.trace
    made.causation_id = call.causation_id
    if call.correlation_id is not None:
        made.correlation_id = call.correlation_id
    return made


async def insert(saga: Awake, *, execute: Execute, first: First) -> bool:
    """Write the row of a new saga, one with a ticket in a transaction; False if the same saga has one already.

    Raises:
        SagaExistsError: The id belongs to another saga.
    """
    if saga.ticket is None:
        added = await saga.insert(execute=execute)
    else:
        added = await saga.shared.queues.insert(saga.row(), saga.ticket, execute=execute, first=first)
    if added:
        return True
    table = saga.shared.table
    row = await table.same(first, saga.id)
    if row is None or row.engine != table.engine or row.method != saga.method:
        raise SagaExistsError(saga.id, "another saga" if row is None else row.method, saga.method)
    codec = saga.shared.versions.find(saga.method, saga.version).codec
    if not same_arguments(codec, saga.arguments, row.arguments):
        raise SagaExistsError(saga.id, row.method, saga.method)
    return False
