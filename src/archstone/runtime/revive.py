"""The tiny parent of `archstone up --chaos`: runs a command, and again at once whenever it is killed.

    python -I -S revive.py LISTENER json|text COMMAND...

Promise: SIGTERM and SIGINT are passed on, the exit code is the command's, and the listener stays open in between, so
that who connects while nobody runs waits and is not refused. A command that is killed three times before it was ready
or within two seconds is not started a fourth time. When this process dies, the command notices (`chaos.py`).

Only the standard library, and little of it: this process does nothing but wait, and must be the last to be killed for
its memory. Not for operating a real system: there the init system or the orchestrator does this.
"""

import json
import os
import signal
import socket
import sys
import time
from datetime import UTC, datetime
from typing import Final

__all__ = ["KILLING", "LIFELINE", "READY", "Reviver", "main"]

LIFELINE: Final = "ARCHSTONE_LIFELINE"
"""Tells the command the descriptors of the socket to this process and of the listener, and how often it was killed."""
READY: Final = b"r"
"""The command says that requests are answered."""
KILLING: Final = b"k"
"""The command says that it kills itself because somebody asked for that; such a death is no sign of a fault."""
YOUNG_S: Final = 2.0
YOUNG_LIMIT: Final = 3
_BACKOFF_S: Final = (0.0, 0.5)
"""Before the start that follows the first and the second early death in a row."""
_AGAIN: Final = "killed: starting it again"
_GIVEN_UP: Final = (
    f"killed {YOUNG_LIMIT} times at its start: not started again; look at its log, and whether memory ran out"
)
_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


class Reviver:
    """Keeps one command alive until it ends by itself or is asked to end."""

    def __init__(self, listener: socket.socket, command: list[str], *, as_json: bool) -> None:
        self._listener = listener
        self._command = command
        self._as_json = as_json
        self._environ = dict(os.environ)
        self._stopping = False
        self._young = 0
        self._deaths = 0

    def run(self) -> int:
        """Run the command until it ends for good, and return the exit code for that; 128 and more is a signal."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while True:
            begun_s = time.monotonic()
            pid, link = self._spawn()
            code = self._wait(pid)
            said = _said(link)
            if code >= 0 or self._stopping:
                return code if code >= 0 else 128 - code
            early = READY not in said or time.monotonic() - begun_s < YOUNG_S
            self._young = self._young + 1 if early and KILLING not in said else 0
            self._deaths += 1
            given_up = self._young == YOUNG_LIMIT
            lived_s = round(time.monotonic() - begun_s, 1)
            self._tell(_GIVEN_UP if given_up else _AGAIN, signal=-code, pid=pid, lived_s=lived_s)
            if given_up:
                return 128 - code
            self._prepare(said)
            time.sleep(_BACKOFF_S[self._young - 1] if self._young else 0)

    def _prepare(self, said: bytes) -> None:
        # Armed once, a crash point would strike at every start; emptied once, the folder is not emptied again.
        self._environ.pop("ARCHSTONE_CRASH", None)
        if READY in said:
            self._command = [word for word in self._command if word != "--fresh"]

    def _spawn(self) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.set_inheritable(True)
            environ = {**self._environ, LIFELINE: f"{theirs.fileno()},{self._listener.fileno()},{self._deaths}"}
            pid = os.posix_spawn(self._command[0], self._command, environ, setsigmask=[])
        return pid, ours

    def _wait(self, pid: int) -> int:
        """Return the exit code of the process, negative for a signal, and pass on what comes meanwhile."""
        while True:
            number, told_by_terminal = _next_signal()
            if number == signal.SIGCHLD:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    return os.waitstatus_to_exitcode(status)
                continue
            self._stopping = True
            self._listener.close()  # who comes now is refused, and does not wait for nobody
            if not told_by_terminal:
                os.kill(pid, number)

    def _tell(self, event: str, **facts: object) -> None:
        if self._as_json:
            at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            line = json.dumps(
                {"timestamp": at, "level": "warning", "logger": "archstone.chaos", "event": event, **facts}
            )
        else:
            line = f"archstone: {event} ({', '.join(f'{name} {value}' for name, value in facts.items())})"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - there is nothing here but the standard library


def _next_signal() -> tuple[int, bool]:
    """Return the next signal, and whether the terminal has sent it to the command as well (ctrl-c)."""
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(_SIGNALS)
        return found.si_signo, found.si_signo == signal.SIGINT and found.si_code > 0
    number = signal.sigwait(_SIGNALS)
    return number, number == signal.SIGINT and sys.stdin.isatty()


def _said(link: socket.socket) -> bytes:
    with link:
        link.setblocking(False)  # noqa: FBT003 - the standard library's
        try:
            return link.recv(64)
        except BlockingIOError:
            return b""


def main(words: list[str]) -> int:
    """Run as a program: the descriptor of the listener, the form of the log, and the command."""
    listener = socket.socket(fileno=int(words[0]))
    return Reviver(listener, words[2:], as_json=words[1] == "json").run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
