"""Runs a page of documentation as a reader would: files written, commands typed, outputs compared.

What a block is for stands in a comment before it, which readers do not see:

    file: NAME            the reader makes this file
    server                the reader starts this in the first terminal
    run                   the reader types this in the second terminal
    output                what that printed; `in any order` compares the lines as a set
    script                the same, of commands that take several lines
    stop                  the reader presses ctrl-c in the first terminal (no block follows)
    not run: REASON       shown only
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Self

import httpx

_BLOCK = re.compile(r"^<!-- (?P<what>[^>\n]*?) -->\n(?:```\w*\n(?P<text>.*?)^```$)?", re.MULTILINE | re.DOTALL)
_MOMENT_S = 0.3
"""A reader takes a moment before typing, in which handlers and the span store do what they do soon after an answer."""
_FENCE = re.compile(r"^```", re.MULTILINE)
# What differs from run to run, and what stands for it when two outputs are compared.
_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z|…)?"), "<time>"),
    (re.compile(r"\b[\d.]+ (us|ms|s)\b"), "<duration>"),
    (re.compile(r"[·█]{8,}"), "<bar>"),
    (re.compile(r" +"), " "),
)


class Block(NamedTuple):
    """A block of a page and what it is for."""

    what: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the marked blocks of a page, in order; a block of code without a mark is an error."""
    found = [Block(match["what"], match["text"] or "") for match in _BLOCK.finditer(page)]
    fences = len(_FENCE.findall(page))
    assert fences == 2 * sum(1 for block in found if block.text), "a block of code on the page has no mark"
    return found


def alike(output: str, *, in_any_order: bool = False) -> object:
    """Return an output without what differs from run to run."""
    for pattern, stand_in in _VARIABLE:
        output = pattern.sub(stand_in, output)
    lines = [line.strip() for line in output.strip().splitlines()]
    return sorted(lines) if in_any_order else lines


class Reader:
    """Somebody in front of two terminals in an empty folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self._port = port
        self._server: subprocess.Popen[bytes] | None = None
        self.printed = ""
        """What the last command printed, on both channels."""
        bin_folder = str(Path(sys.executable).parent)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ARCHSTONE_")},
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "ARCHSTONE_PORT": str(port),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "120",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def follow(self, block: Block) -> None:
        """Do what a block asks for; outputs are for the caller to compare."""
        what, _, rest = block.what.partition(": ")
        match what:
            case "file":
                (self.folder / rest).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / rest).write_text(block.text, encoding="utf-8")
            case "server":
                self._start(block.text)
            case "run":
                # Each on a line of its own: a terminal shows the prompt between answers, which end without a new line.
                self._run("".join(f"{line}\necho\n" for line in block.text.strip().splitlines()))
            case "script":
                self._run(block.text)
            case "stop":
                self._stop()
            case _:
                assert what in {"not run", "output", "output in any order"}, block.what

    def _start(self, command: str) -> None:
        if self._server is not None:  # the page has killed it
            self._server.wait(timeout=10)
        # exec, so that the process that is signalled is the system and no shell.
        words = re.sub(r"(?=\barchstone up)", "exec ", command.strip(), count=1)
        self._server = subprocess.Popen(["bash", "-c", words], cwd=self.folder, env=self._environment)
        until = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self._port}/health/ready", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert self._server.poll() is None, f"{command}: ended with {self._server.returncode}"
            assert time.monotonic() < until, f"{command}: not ready after 60 s"
            time.sleep(0.05)

    def _stop(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGINT)
        assert self._server.wait(timeout=20) == 0
        self._server = None

    def _run(self, commands: str) -> None:
        time.sleep(_MOMENT_S)
        commands = re.sub(r"(localhost|127\.0\.0\.1):8080", f"127.0.0.1:{self._port}", commands)
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=self.folder, env=self._environment, timeout=60, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        self.printed = "\n".join(line for line in done.stdout.splitlines() if line.strip())
