"""The live view of `archstone up`: how the system does, redrawn twice a second, in the whole terminal.

The terminal is put back as it was however this ends: by a guard process (`guard.py`) where this one is killed. In a
pipe, under CI, and with --plain there is no view: log lines then.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any, Final, cast

from rich.console import Console
from rich.live import Live

from archstone import world
from archstone.cli import guard
from archstone.cli.frame import About, drawn, duration
from archstone.cli.journal import Journal
from archstone.runtime.embedded import Embedded
from archstone.runtime.pulse import Pulse, Vitals

__all__ = ["LiveView", "wants_view"]

_EVERY_S: Final = 0.5


def wants_view() -> bool:
    """Whether a person looks: not in a pipe, under CI, in the background, or where nothing can be redrawn."""
    terminal = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return terminal and not os.environ.get("CI") and _in_front()


def _in_front() -> bool:
    """Whether the terminal is ours to change: the shell stops what it runs in the background for trying that."""
    try:
        return os.tcgetpgrp(1) == os.getpgrp()
    except OSError:  # not the terminal that controls us, so that nobody minds
        return True


class LiveView:
    """Shows one system; `archstone.runtime.serve` gives it the log, and has it show."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._last: Vitals | None = None
        self._up_s = 0.0

    @property
    def log(self) -> IO[Any]:
        """Takes the log."""
        return cast("IO[Any]", self._journal)

    async def show(self, embedded: Embedded, url: str) -> None:
        """Redraw until cancelled. A key q is the signal to end."""
        self._journal.open(embedded.folder.path)
        about = _about(embedded, url, self._journal)
        console = Console(file=sys.__stdout__, highlight=False, emoji=False)
        begun_s = world.monotonic()
        pulse = Pulse(embedded)
        with _taken_over(), self._journal.instead_of_output(), _live(console) as live:
            while True:
                self._last, self._up_s = await pulse.take(), world.monotonic() - begun_s
                size = (console.size.width, console.size.height)
                live.update(drawn(about, self._last, self._journal.faults, up_s=self._up_s, size=size), refresh=True)
                await asyncio.sleep(_EVERY_S)

    def said(self) -> str | None:
        """Return what is to tell when it is over; None if it never began."""
        self._journal.finish()
        if self._last is None:
            return None
        faults = f", {self._journal.warnings:,} warnings and errors" if self._journal.warnings else ""
        log = "" if self._journal.path is None else f"; log {_short(self._journal.path)}"
        return f"stopped after {duration(self._up_s)}: {self._last.requests:,} requests{faults}{log}"


def _live(console: Console) -> Live:
    return Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def _about(embedded: Embedded, url: str, log: Journal) -> About:
    return About(
        system=embedded.system.name,
        called=embedded.system.called,
        addresses=[(url, "open this first"), (f"{url}/docs", "what can be asked"), (f"{url}/metrics", "every figure")],
        data=_short(embedded.folder.path),
        log=_short(log.path) if log.path is not None else "",
        pid=os.getpid(),
        deaths=None if embedded.lifeline is None else embedded.lifeline.deaths,
    )


def _short(path: Path) -> str:
    whole, here = path.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


@contextlib.contextmanager
def _taken_over() -> Generator[None]:
    """Have keys come at once and unseen, and put the terminal back after; by the guard, if this process is killed."""
    if not sys.stdin.isatty():
        with _guarded("[]\n[]\n"):
            yield
        return
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    ours = termios.tcgetattr(0)
    ours[6][termios.VSUSP] = b"\0"  # stopped by ctrl-z, a server would keep its clients waiting and the screen taken
    termios.tcsetattr(0, termios.TCSANOW, ours)
    try:
        with _guarded(f"{before!r}\n{ours!r}\n"):
            loop.add_reader(0, _on_key)
            yield
    finally:
        loop.remove_reader(0)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _on_key() -> None:
    keys = os.read(0, 64)
    if b"q" in keys or b"Q" in keys:
        os.kill(os.getpid(), signal.SIGTERM)
    elif not keys:  # the terminal is gone
        asyncio.get_running_loop().remove_reader(0)


@contextlib.contextmanager
def _guarded(facts: str) -> Generator[None]:
    command = [sys.executable, "-I", "-S", guard.__file__]
    # In a session of its own: what the terminal sends to everybody must not end it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:  # noqa: S603 - ours
        assert process.stdin is not None
        process.stdin.write(facts.encode())
        process.stdin.flush()
        try:
            yield
        finally:
            with contextlib.suppress(BrokenPipeError):  # somebody has killed the guard: then there is none
                process.stdin.write(guard.DONE.encode())
                process.stdin.flush()
