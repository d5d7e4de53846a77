"""`archstone up --chaos`: a system that may be killed at any time, and is there again a second later.

The process that was typed becomes a tiny parent (`revive.py`) that holds the listener and starts the system as its
child, again and again. The child knows that it is one by its `Lifeline`: only then is there a way to kill it that
does not end it for good, so only then does the operator have the verb `kill`.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Final, NoReturn, Self

from archstone.runtime import revive
from archstone.runtime.revive import KILLING, LIFELINE, READY

__all__ = ["Lifeline", "become_parent"]

_GRACE_S: Final = 15.0
_FLUSHED_S: Final = 0.1


class Lifeline:
    """What connects the system to the parent that starts it again."""

    def __init__(self, link: socket.socket, listener: socket.socket, *, deaths: int = 0) -> None:
        self._link = link
        self.deaths = deaths
        """How often the system has been killed since it was first started."""
        self.listener = listener
        """Bound and listening; the same for every start."""

    @classmethod
    def found(cls, environ: MutableMapping[str, str] = os.environ) -> Self | None:
        """Return the lifeline that the parent has given this process; None if it has none. It can be found once."""
        told = environ.pop(LIFELINE, None)
        if told is None:
            return None
        *numbers, deaths = map(int, told.split(","))
        link, listener = (socket.socket(fileno=number) for number in numbers)
        for each in (link, listener):
            each.set_inheritable(False)
        return cls(link, listener, deaths=deaths)

    def watch(self, *, drain_s: float) -> None:
        """End this process when its parent dies: SIGTERM, and without mercy `drain_s` and 15 s later.

        A thread, so that it also holds before the loop runs, and while something blocks it.
        """
        threading.Thread(target=self._watch, args=(drain_s + _GRACE_S,), name="lifeline", daemon=True).start()

    def _watch(self, patience_s: float) -> None:
        with contextlib.suppress(OSError):
            self._link.recv(1)  # the parent says nothing, ever: this returns when it is gone
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(patience_s)  # nobody sets it: this only waits
        os._exit(1)

    def ready(self) -> None:
        """Tell the parent that requests are answered."""
        self._say(READY)

    def kill_soon(self) -> None:
        """Kill this process in a tenth of a second, when the answer to whoever asked for it is on its way."""
        asyncio.get_running_loop().call_later(_FLUSHED_S, self.kill)

    def kill(self) -> NoReturn:
        """Kill this process as a power cut does; the parent starts the next one."""
        self._say(KILLING)
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit(137)  # never reached: a signal that cannot be caught

    def _say(self, what: bytes) -> None:
        with contextlib.suppress(OSError):
            self._link.send(what)


def become_parent(listener: socket.socket, command: Sequence[str], *, as_json: bool) -> NoReturn:
    """Replace this process by the parent that runs `command` with this listener, and again when it is killed.

    Args:
        listener: Bound and listening.
        command: The program by its path, and its words.
        as_json: How the parent tells that it starts the command again: as a line of JSON, or for people.
    """
    listener.set_inheritable(True)
    program = [sys.executable, "-I", "-S", str(Path(revive.__file__))]
    os.execv(program[0], [*program, str(listener.fileno()), "json" if as_json else "text", *command])  # noqa: S606 - our own program, no shell
