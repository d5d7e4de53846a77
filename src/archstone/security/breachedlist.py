"""Whether a password is known from a breach, looked up in a file: nobody is asked.

    breached = BreachedList("/srv/pwned-passwords.txt")
    passwords = Passwords(breached=breached)

The file is what the downloader of Have I Been Pwned writes: a line for each password, `SHA-1 in hex:times seen`, in the
order of the hashes. A billion passwords are some forty gigabytes, of which a question reads about thirty lines.

Promise: nothing is read into memory, nothing leaves the machine; a file that is replaced by another is read from the
next question on. A file that cannot be read means "not known", and is counted and logged, as `PwnedPasswords` does; in
one that is not in order some are not found. Do not use it for a file on a slow network: each question waits for its
reads.
"""

import asyncio
import hashlib
import os
import unicodedata
from pathlib import Path
from typing import Final

from archstone.errors import ConfigError
from archstone.observability import get_logger
from archstone.security.breached import unanswered

__all__ = ["BreachedList"]

_LINE_BYTES: Final = 64
"""Longest line: forty digits, a colon, a count, the end of the line."""
_DIGITS: Final = 40
_log = get_logger("archstone.security.breached")


class BreachedList:
    """Passwords from breaches, in a sorted file."""

    def __init__(self, path: str | Path) -> None:
        """Say where the file is.

        Raises:
            ConfigError: It is not there, or does not begin as such a file does.
        """
        self._path = Path(path)
        try:
            with self._path.open("rb") as file:
                first = file.readline(_LINE_BYTES)
        except OSError as error:
            raise ConfigError(f"BreachedList {self._path}: {error.strerror}; name a file that can be read") from error
        if _entry(first) is None:
            raise ConfigError(f"BreachedList {self._path}: its first line is not SHA-1:COUNT; take the list by hashes")

    async def times_seen(self, password: str, /) -> int:
        """Return how often a password was found; see `BreachedPasswords.times_seen`."""
        plain = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
        digest = hashlib.sha1(plain, usedforsecurity=False).hexdigest().upper()
        try:
            return await asyncio.to_thread(self._found, digest.encode())
        except (OSError, ValueError) as error:
            unanswered.inc()
            _log.warning("the list of passwords from breaches cannot be read", reason=type(error).__name__)
            return 0

    def _found(self, wanted: bytes) -> int:
        with self._path.open("rb") as file:
            handle, low, high = file.fileno(), 0, os.fstat(file.fileno()).st_size
            # Invariant: a line that begins before `low` is below what is wanted, one that begins at `high` is not.
            while low < high:
                begins, line = _line_from(handle, (low + high) // 2, high)
                if not line:  # none begins in the upper half
                    high = (low + high) // 2
                    continue
                entry = _entry(line)
                if entry is None:
                    raise ValueError("a line is not SHA-1:COUNT")
                if entry[0] == wanted:
                    return entry[1]
                low, high = (begins + len(line), high) if entry[0] < wanted else (low, begins)
            return 0


def _line_from(handle: int, at: int, high: int) -> tuple[int, bytes]:
    """Return the first line that begins at `at` or later and before `high`, and where; an empty one: there is none."""
    before = os.pread(handle, _LINE_BYTES, at - 1) if at else b""
    if at and not before.startswith(b"\n"):
        end = before.find(b"\n", 1)
        if end < 0 and len(before) == _LINE_BYTES:
            raise ValueError("a line is longer than any of such a file")
        at = high if end < 0 else at + end
    if at >= high:
        return high, b""
    line, _, _ = os.pread(handle, _LINE_BYTES, at).partition(b"\n")
    return at, line + b"\n"


def _entry(line: bytes) -> tuple[bytes, int] | None:
    """Return the hash and the count of a line; None: it is none of such a file."""
    digest, _, count = line.strip().partition(b":")
    if len(digest) != _DIGITS or not count.isdigit():
        return None
    try:
        int(digest, 16)
    except ValueError:
        return None
    return digest.upper(), int(count)
