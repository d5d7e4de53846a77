"""An asyncio event loop on virtual time.

When nothing is ready, the clock jumps to the next timer instead of waiting. With a seed, the callbacks that are
ready in one turn run in an order drawn from it, so one test body meets many interleavings and each can be had
again; without a seed they run in the order of arrival, as asyncio promises. There are no sockets, subprocesses,
signals or threads: asking for one raises `UnsupportedError`. `run_in_executor` runs the function on the loop, at a
later turn.

What it does not show: races between threads, and what a slow disk or network does. Faults are for later.
"""

import asyncio
import gc
import heapq
import random
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar

from archstone.simulation.errors import DeadlockError, LimitError, UnsupportedError
from archstone.simulation.task import NumberedFuture, NumberedTask, describe
from archstone.simulation.trace import Trace, callback_label

__all__ = ["VirtualLoop"]

T = TypeVar("T")

_COLLECT_EVERY_TURNS: Final = 5_000
_KEPT_CANCELLED_TIMERS: Final = 100
_REFUSED: Final = (
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "remove_reader",
    "remove_signal_handler",
    "remove_writer",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is virtual and whose order is decided by a seed."""

    # Set by asyncio's base class, read here.
    _stopping: bool
    _thread_id: int | None

    def __init__(
        self,
        *,
        seed: int | str | None = None,
        limit_s: float | None = None,
        limit_turns: int | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Make a loop at virtual time 0.

        Args:
            seed: Draws the order of callbacks that are ready together. None: order of arrival.
            limit_s: Virtual seconds after which `LimitError` is raised. None: no limit.
            limit_turns: Turns in a row at one instant after which `LimitError` is raised. None: no limit.
            trace: Told every callback that runs, and its instant. None: nobody is told.
        """
        super().__init__()
        self.trace = trace
        self._limit_s = limit_s
        self._limit_turns = limit_turns
        self._now_s = 0.0
        self._turns = 0
        self._turns_at_instant = 0
        self._count = 0
        self._soon: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._cancelled_timers = 0
        self._chance = None if seed is None else random.Random(f"order/{seed}")

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._now_s

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future whose hash is its number."""
        return NumberedFuture(self._next(), loop=self)

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        """Start a coroutine as a task whose hash is its number; a task factory that was set comes first."""
        if self.get_task_factory() is not None:
            return super().create_task(coro, name=name, context=context, **options)
        return NumberedTask(coro, self._next(), loop=self, name=None if name is None else str(name), context=context)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Run `callback` in the next turn."""
        self._check_open()
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run `callback` in the next turn. From another thread it raises: threads have no order to repeat."""
        if self._thread_id not in {None, threading.get_ident()}:
            raise UnsupportedError("call_soon_threadsafe from another thread")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` when `delay` virtual seconds have passed."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` at the virtual instant `when`; of timers at one instant the one set first runs first."""
        self._check_open()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self._next(), handle))
        return handle

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run `func` on the loop itself, in a later turn, whatever the executor."""
        del executor
        answer: asyncio.Future[T] = self.create_future()
        self.call_soon(_answer, answer, func, args)
        return answer

    def close(self) -> None:
        """Forget what is ready and every timer."""
        self._soon.clear()
        self._timers.clear()
        super().close()

    def settle(self, *, turns: int = 1_000) -> None:
        """Run what is ready, turn by turn, at most `turns` turns, without letting time pass; limits end here."""
        self._limit_s = self._limit_turns = None
        while self._soon and turns > 0:
            turns -= 1
            self.call_soon(self.stop)
            self.run_forever()

    def pending(self) -> list[str]:
        """Return the tasks that are not done, in the order they were made, each with the place where it waits."""
        return [describe(task) for task in sorted(asyncio.all_tasks(self), key=hash)]

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _check_open(self) -> None:
        if self.is_closed():
            message = "Event loop is closed"
            raise RuntimeError(message)  # the very error of asyncio's loops, which some libraries look for

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Drop the cancelled timers when they may be half of all (asyncio calls this at each cancellation)."""
        del handle
        self._cancelled_timers += 1
        if self._cancelled_timers > max(_KEPT_CANCELLED_TIMERS, len(self._timers) // 2):
            self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def _run_once(self) -> None:
        """Run one turn: what is ready now, after moving the clock if nothing was (asyncio calls this)."""
        soon = self._soon
        if not soon and not self._stopping:
            self._jump()
        self._wake_timers()
        self._count_turn()
        if self._chance is not None and len(soon) > 1:
            order = list(soon)
            self._chance.shuffle(order)
            soon.clear()
            soon.extend(order)
        trace = self.trace
        for _ in range(len(soon)):
            handle = soon.popleft()
            if handle.cancelled():
                continue
            if trace is not None:
                trace.add("callback", self._now_s, callback_label(handle))
            handle._run()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the one way to run a handle

    def _jump(self) -> None:
        """Move the clock to the next timer."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise DeadlockError(self._now_s, self.pending())
        when = timers[0][0]
        if self._limit_s is not None and when > self._limit_s:
            raise LimitError("virtual seconds", self._limit_s, self.pending())
        if when > self._now_s:
            self._now_s = when
            self._turns_at_instant = 0

    def _wake_timers(self) -> None:
        """Make every timer whose instant has come ready, in the order of instant, then of setting."""
        timers = self._timers
        while timers and timers[0][0] <= self._now_s:
            handle = heapq.heappop(timers)[2]
            if not handle.cancelled():
                self._soon.append(handle)

    def _count_turn(self) -> None:
        self._turns += 1
        self._turns_at_instant += 1
        if self._limit_turns is not None and self._turns_at_instant > self._limit_turns:
            raise LimitError(f"turns at the instant {self._now_s:g} s", self._limit_turns, self.pending())
        if self.trace is not None and self._turns % _COLLECT_EVERY_TURNS == 0:
            # A traced run keeps the collector off (see `run`): it would finalise at moments that depend on hashes.
            gc.collect()


def _answer(answer: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if answer.cancelled():
        return
    try:
        result = func(*args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  the future carries it to whoever awaits
        answer.set_exception(error)
    else:
        answer.set_result(result)


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*_args: object, **_options: object) -> NoReturn:
        raise UnsupportedError(f"loop.{name}")

    return refuse


for _name in _REFUSED:
    setattr(VirtualLoop, _name, _refusal(_name))
