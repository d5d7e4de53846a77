"""What travels with a call: who asks, until when, under which trace and key, and the open transaction.

There is one ContextVar of it. A `Call` is immutable; to change something, `enter(call._replace(...))` for a block. From
which address a request came is apart (`whence`): the door sets it once, it is for records, and it gives no rights.
"""

import sys
from asyncio import AbstractEventLoop, Task, tasks
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, NamedTuple, cast

__all__ = [
    "ANYONE",
    "NOBODY",
    "SIGNED_IN",
    "Call",
    "Denied",
    "Principal",
    "Program",
    "Trace",
    "current",
    "enter",
    "leave",
    "new_tuple",
    "running_task",
    "set_current",
    "set_whence",
    "whence",
]


class Program(NamedTuple):
    """What acts in somebody's name: an API key, or an app that they let."""

    id: str
    """`key:<id>` or `client:<id>`."""
    per_minute: int | None = None
    """Requests a minute that it was given at most when it was made. None: as many as the front door lets a program."""


class Principal(NamedTuple):
    """Who asks. `id` is empty for somebody who has not signed in."""

    id: str = ""
    """User id, or `service:<name>` for a service that acts by itself."""
    roles: frozenset[str] = frozenset()
    """Names such as `customer`, `admin`, `service`."""
    scopes: frozenset[str] | None = None
    """What somebody else may do in their name at the front door, such as `orders:read`. None: they ask themselves."""
    by: Program | None = None
    """What acts in their name. None: they themselves. Behind the front door its id alone is sure to be known."""

    @property
    def signed_in(self) -> bool:
        """Whether this is anybody known."""
        return self.id != ""


NOBODY: Final = Principal()

ANYONE: Final = "anyone"
"""For `requires`: no login is needed."""
SIGNED_IN: Final = "signed-in"
"""For `requires`: any principal that is signed in, a service too."""


class Denied(NamedTuple):
    """Somebody was refused something: what whoever keeps watch is told."""

    what: str
    """The operation, page or function that was refused."""
    requires: str
    """The permission or scope that was missing, or the name of the rule that did not hold."""
    principal: Principal
    why: Literal["not signed in", "no permission", "no scope", "not theirs"]
    row: str | None = None
    """What is not theirs. None where a permission is missing."""
    correlation_id: str | None = None
    """Of the call that was refused."""


class Trace(NamedTuple):
    """The position in a distributed trace, as W3C trace context has it."""

    trace_id: int
    """128 bits, never zero."""
    span_id: int
    """64 bits, never zero: the span that is open here, the parent of the next."""
    sampled: bool = True


class Call(NamedTuple):
    """Everything that travels with a call. The default is a call from nobody, without limits."""

    principal: Principal = NOBODY
    deadline_s: float | None = None
    """Instant on `world.monotonic()` after which nobody waits for the answer. None: no limit."""
    trace: Trace | None = None
    key: str | None = None
    """Idempotency key of the command that runs, from which nested commands derive theirs."""
    correlation_id: str | None = None
    """The request, message or saga that all this belongs to."""
    causation_id: str | None = None
    """The message that led here directly."""
    tx: Any = None
    """The open transaction of this task, or None. A client call while one is open raises."""
    step: Any = None
    """The step recorder of the saga whose body runs here, or None."""


_EMPTY: Final = Call()
_call: ContextVar[Call] = ContextVar("archstone_call", default=_EMPTY)

current = _call.get
"""Return the call of the running context."""


set_current = _call.set
"""Make a call the current one; hand the token it returns to `leave`. For hot paths; others use `enter`."""

leave = _call.reset
"""Undo `set_current`."""


_whence: ContextVar[str] = ContextVar("archstone_whence", default="")

whence = _whence.get
"""Return the address that the running request came from, an IPv6 one as its /64; empty where it is not known."""

set_whence = _whence.set
"""Say where the running request came from. For whoever lets it in; what runs in its task and below sees it."""


@contextmanager
def enter(call: Call) -> Generator[Call]:
    """Make `call` the current one for the block, and for the tasks started in it."""
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


def _task_finder() -> Callable[[AbstractEventLoop], Task[Any] | None]:
    if sys.version_info >= (3, 12):
        return tasks.current_task
    # Before 3.12 `current_task` is written in Python; the table that it looks into answers in a tenth of its time.
    found: dict[AbstractEventLoop, Task[Any]] = getattr(tasks, "_current_tasks", {})
    return cast("Callable[[AbstractEventLoop], Task[Any] | None]", found.get)


running_task: Final = _task_finder()
"""Return the task that `loop` runs now, None outside of one: `asyncio.current_task(loop)` for hot paths."""

new_tuple: Final = cast("Callable[..., Any]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType] - typed by the cast
"""Make a NamedTuple from its class and a tuple of all its fields: 70 ns, by its constructor 180. For hot paths."""
