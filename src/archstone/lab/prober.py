"""Asks for a system's health ten times a second from a process of its own, on a connection of its own.

    python -m archstone.lab.prober http://127.0.0.1:8080      # until its input ends; then prints what it saw

Whoever sends thousands of requests a second cannot time a single one well: its own loop is busy. Plain blocking
sockets in a process that does nothing else can. Each probe is timed from when it was due. Those that fall due while
one waits for its answer are not sent: they would have met the same stall, so they count the rest of it (HdrHistogram's
correction for coordinated omission).
"""

import contextlib
import select
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson

from archstone import world
from archstone.lab.connection import Target

__all__ = ["PATHS", "Probe", "probe_until_input_ends"]

PATHS: Final = ("/health/live", "/health/ready")
EVERY_S: Final = 0.1
"""Seconds between two probes of one path."""
_TIMEOUT_S: Final = 5.0
_LIMIT: Final = 1_000_000
_HEAD_LIMIT_BYTES: Final = 65_536


class Probe(NamedTuple):
    """One answer about health."""

    at_s: float
    """When it was due, on `world.monotonic()`, which processes of one machine share."""
    path: str
    took_s: float
    status: int
    """0: no answer within 5 s, or no connection."""


class _Asker:
    """One kept-alive connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._socket: socket.socket | None = None

    def ask(self, path: str) -> int:
        """Return the status of the answer, 0 if there is none."""
        request = f"GET {path} HTTP/1.1\r\nHost: {self._target.authority}\r\n\r\n".encode()
        try:
            connection = self._socket = self._socket or self._open()
            connection.sendall(request)
            return self._status(connection)
        except (OSError, ValueError):
            self.close()
            return 0

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None

    def _open(self) -> socket.socket:
        target = self._target
        connection = socket.create_connection((target.host, target.port), timeout=_TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not target.tls:
            return connection
        return ssl.create_default_context().wrap_socket(connection, server_hostname=target.host)

    def _status(self, connection: socket.socket) -> int:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65_536)
            if not part or len(data) > _HEAD_LIMIT_BYTES:
                raise OSError("no whole head")
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(body) < length:
            part = connection.recv(65_536)
            if not part:
                raise OSError("no whole body")
            body += part
        if any(line.startswith(b"connection:") and b"close" in line for line in lines):
            self.close()
        return int(lines[0].split()[1])


def probe_until_input_ends(target: Target) -> Iterator[Probe]:
    """Yield a probe of each path every 100 ms until standard input ends."""
    asker, began_s, free_s = _Asker(target), world.monotonic(), 0.0
    status = 0
    try:
        for number in range(_LIMIT):
            path = PATHS[number % len(PATHS)]
            due_s = began_s + number * EVERY_S / len(PATHS)
            # Whoever started this closes the pipe, also by dying: both make it readable.
            if select.select([sys.stdin], [], [], max(0.0, due_s - world.monotonic()))[0]:
                return
            if due_s >= free_s:
                status = asker.ask(path)
                free_s = world.monotonic()
            yield Probe(due_s, path, free_s - due_s, status)
    finally:
        asker.close()


def main() -> None:
    """Probe the URL that is the first argument; print the probes as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this hears of it, too, and closes the pipe
    probes = [[*probe] for probe in probe_until_input_ends(Target.of(sys.argv[1]))]
    sys.stdout.buffer.write(orjson.dumps(probes))


if __name__ == "__main__":
    main()
