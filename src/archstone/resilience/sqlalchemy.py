"""A circuit and deadlines for a SQLAlchemy engine.

    guard(engine, Breaker(3, open_s=5.0).bind("orders database"))

New connections are calls of the circuit: while the database is away they are refused at once instead of waiting for a
time-out each. A connection that is lost in the middle counts as a failure too. A statement is not begun when the
deadline of the call (`within`, `Timeout`) has passed.

It takes an `Engine` or an `AsyncEngine`. A statement that runs is not cut: give the database a statement time-out.

Needs `archstone[sqlalchemy]`; nothing else in Archstone imports it.
"""

from typing import Any

from archstone.errors import ConfigError
from archstone.resilience.circuit import Circuit
from archstone.resilience.deadline import deadline_from_context

try:
    from sqlalchemy import Engine
    from sqlalchemy.engine import Dialect, ExceptionContext
    from sqlalchemy.event import listen
    from sqlalchemy.ext.asyncio import AsyncEngine
except ImportError as error:
    message = "archstone.resilience.sqlalchemy needs SQLAlchemy 2: pip install 'archstone[sqlalchemy]'"
    raise ConfigError(message) from error

__all__ = ["guard"]


def guard(engine: Engine | AsyncEngine, circuit: Circuit) -> None:
    """Put the connections of `engine` behind `circuit`, and its statements behind the deadlines of their calls."""
    guarded = engine.sync_engine if isinstance(engine, AsyncEngine) else engine

    def connect(dialect: Dialect, _record: object, args: list[Any], options: dict[str, Any]) -> Any:
        with circuit.admit():
            return dialect.connect(*args, **options)

    def failed(context: ExceptionContext) -> None:
        if context.is_disconnect and isinstance(context.original_exception, Exception):
            circuit.end(circuit.epoch, context.original_exception, 0.0)

    def begin(*_said: object) -> None:
        deadline = deadline_from_context()
        if deadline is not None:
            deadline.check(f"statement on {circuit.name}")

    listen(guarded, "do_connect", connect)
    listen(guarded, "handle_error", failed)
    listen(guarded, "before_cursor_execute", begin)
