"""Look up the addresses of a host without letting a slow name server hold up anything else.

The loop's own `getaddrinfo` shares its threads with all other work of the process, and a process waits for them at
its end. A name server that does not answer would hold them for half a minute each. Here every look-up has a thread
that nobody waits for.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from archstone.security.outgoing.errors import OutgoingError

__all__ = ["Names", "Resolve"]

MOST_ASKED: Final = 8
"""Names that are being looked up, those included for which nobody waits any more."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the IP addresses of a host, the best first; raises OutgoingError if there are none."""


class Names:
    """A `Resolve` that asks the system."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(MOST_ASKED)

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses. Cancelled: its thread ends by itself, and what it finds is dropped."""
        if not self._room.acquire(blocking=False):
            raise OutgoingError("unreachable", "too many names are being looked up", host)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def look() -> None:
            try:
                told = _look_up(host, port)
            except OSError as error:
                told = error
            finally:
                self._room.release()
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_settle, found, told)

        threading.Thread(target=look, name="outgoing-names", daemon=True).start()
        try:
            return await found
        except OSError as error:
            raise OutgoingError("unreachable", "its name leads nowhere", host, dead=True) from error


def _look_up(host: str, port: int) -> list[str]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long
        raise OSError(str(error)) from error
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def _settle(found: asyncio.Future[list[str]], told: list[str] | OSError) -> None:
    if found.done():
        return
    if isinstance(told, OSError):
        found.set_exception(told)
    else:
        found.set_result(told)
