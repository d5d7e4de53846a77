"""Puts a terminal in order again when the process that took it over is killed.

    python -I -S guard.py < pipe > terminal

The pipe brings what the terminal was like and what was made of it, and `done` when all has been put back. If it ends
without that word, the process was killed: then this one does what it could not. Only the standard library.
"""

import ast
import contextlib
import os
import sys
import termios
from typing import Any, Final

__all__ = ["DONE", "RESTORE", "main"]

DONE: Final = "done"
RESTORE: Final = b"\x1b[?1049l\x1b[?25h\x1b[0m"
"""Leaves the alternate screen, shows the cursor, takes back colours."""


def main() -> None:
    """Run as a program: wait for the end of the pipe, then see to the terminal if nobody has."""
    told = sys.stdin.read()
    if told.rstrip().endswith(DONE):
        return
    with contextlib.suppress(OSError, termios.error, ValueError, SyntaxError):  # the terminal may be gone, too
        os.write(1, RESTORE)
        before, ours = (ast.literal_eval(line) for line in told.splitlines()[:2])
        # A shell that has the terminal again may have set it for itself: that is not ours to change.
        if _alike(termios.tcgetattr(1), ours):
            termios.tcsetattr(1, termios.TCSANOW, before)


def _alike(one: list[Any], other: list[Any]) -> bool:
    return one[:6] == other[:6]


if __name__ == "__main__":
    main()
