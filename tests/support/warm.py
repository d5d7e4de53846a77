"""Processes that begin with Archstone imported: forks of one that has done nothing else.

A Python process imports the shop for two seconds of work, and a test that kills and starts it again does that three
times. What comes from here is a process like any other: its own memory, its own descriptors, killed by SIGKILL as a
whole; only its imports were done before. Two processes fork in turn, so that a process and its successor have
different seeds of hashes, as they would otherwise. Tests whose subject is how a process starts, how long that takes or
how much memory it has, start one with `sys.executable`.

    python warm.py DESCRIPTOR

is the process that forks: each byte on that socket brings the descriptors of a new child and of a connection, on which
it is told what to run, and tells the child's id at once and its exit code in the end.
"""

import atexit
import contextlib
import gc
import importlib
import itertools
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

IMPORTED = (
    "archstone.cli",
    "archstone.simulation",
    "archstone.systems.shop.system",
    "archstone.systems.shop.invariants",
)

Work = tuple[list[str], dict[str, str], str]
"""Words, environment and working folder."""


class Child:
    """A forked process, used as one of `subprocess.Popen` is."""

    def __init__(self, connection: socket.socket, arguments: Sequence[str]) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._connection = connection
        self._told = connection.makefile("r", encoding="ascii")
        first = self._told.readline()
        assert first, "the process that forks has ended: see what it has written"
        self.pid = int(first)

    def poll(self) -> int | None:
        """Return its exit code once it has ended; that of a signal is negative."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            TimeoutExpired: It runs on after `timeout` seconds.
        """
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def spawn(arguments: Sequence[str | Path], *, env: Mapping[str, str], stdout: IO[Any], stderr: IO[Any]) -> Child:
    """Run what `python ARGUMENTS` would: `-m`, a module and its arguments, or a file and its arguments.

    Nothing is read from its standard input. It works in the folder of this process.
    """
    words = [str(word) for word in arguments]
    mine, other = socket.socketpair()
    with other, Path(os.devnull).open("rb") as nothing:
        streams = [each.fileno() for each in (nothing, stdout, stderr)]
        socket.send_fds(_forker(next(_turns)), [b"!"], [*streams, other.fileno()])
    mine.sendall(json.dumps([words, dict(env), str(Path.cwd())]).encode() + b"\n")
    return Child(mine, words)


def run(
    arguments: Sequence[str | Path], *, env: Mapping[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run it to its end and return what it has printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = spawn(arguments, env=os.environ if env is None else env, stdout=out, stderr=err)
        try:
            code = child.wait(timeout_s)
        finally:
            child.kill()
            child.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(child.args, code, out.read(), err.read())


_turns = itertools.cycle(range(2))


@cache
def _forker(turn: int) -> socket.socket:
    """Return the socket of a process that forks, which ends with this one."""
    mine, other = socket.socketpair()
    with other:
        process = subprocess.Popen(
            [sys.executable, __file__, str(other.fileno())],
            pass_fds=[other.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def end() -> None:
        mine.close()
        process.wait(30)

    atexit.register(end)
    return mine


def main(descriptor: int) -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a module starts a thread when it is imported: its forks would lack it"
    gc.collect()
    gc.freeze()
    work = forked_for(socket.socket(fileno=descriptor))
    if work is not None:
        become(*work)


def forked_for(requests: socket.socket) -> Work | None:
    """Fork for each request; return what to run in each child, and None in the parent once nobody asks any more."""
    ended, woken = socket.socketpair()
    for each in (ended, woken):
        each.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno())
    told: dict[int, socket.socket] = {}
    while True:
        ready = select.select([requests, ended], [], [])[0]
        if ended in ready:
            ended.recv(1024)
            bury(told)
        if requests in ready:
            word, received, *_ = socket.recv_fds(requests, 1, 4)
            if not word:
                return None
            *streams, last = received
            connection = socket.socket(fileno=last)
            with connection.makefile("r", encoding="utf-8") as file:
                work: Work = json.loads(file.readline())
            pid = os.fork()
            if pid == 0:
                begin_anew(streams, [requests, ended, woken, connection, *told.values()])
                return work
            connection.sendall(f"{pid}\n".encode())
            told[pid] = connection
            for stream in streams:
                os.close(stream)


def begin_anew(streams: Sequence[int], sockets: Sequence[socket.socket]) -> None:
    """Keep nothing of the parent, and take the standard streams that were sent."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for each in sockets:
        each.close()


def bury(told: dict[int, socket.socket]) -> None:
    """Tell who waits for it of every child that has ended."""
    for pid in list(told):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with told.pop(pid) as connection, contextlib.suppress(BrokenPipeError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(words: list[str], env: dict[str, str], folder: str) -> None:
    """Run in this process what `python WORDS` would."""
    from archstone import world

    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    time.tzset()
    world._arm_from_environment()
    if words[0] == "-m":
        sys.argv, sys.path[0] = words[1:], folder
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]))
