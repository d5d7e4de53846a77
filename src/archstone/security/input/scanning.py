"""Have a file looked at for malware by ClamAV, over TCP or a socket of the machine, without a library.

    scanner = ClamAv("tcp://clamav.internal:3310")          # or unix:///run/clamav/clamd.ctl
    await scanner.scan(pieces)

Promise: no verdict is no leave: a scanner that is away, that answers something else, or whose own limit is shorter than
the file, raises. The file is sent as it is read; at most one piece is in memory.

Source: clamd(8), INSTREAM.
"""

import asyncio
from collections.abc import AsyncIterable
from typing import Final
from urllib.parse import urlsplit

from archstone.errors import ConfigError
from archstone.security.input.errors import InputError, ScannerError

__all__ = ["ClamAv"]

_LONGEST_ANSWER: Final = 4_096
_PIECE: Final = 65_536


class ClamAv:
    """A running clamd. Nothing is opened before the first scan; each has a connection of its own."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        """Say where it is.

        Args:
            url: `tcp://host:port` or `unix:///path`.
            timeout_s: Longest time for a scan. Above 0.
        """
        parts = urlsplit(url)
        good = (parts.scheme == "tcp" and parts.hostname and parts.port) or (parts.scheme == "unix" and parts.path)
        if not good or not timeout_s > 0:
            raise ConfigError(f"scanner {url!r}, {timeout_s} s: write tcp://host:3310 or unix:///path, and above 0 s")
        self._url = url
        self._parts = parts
        self._timeout_s = timeout_s

    async def scan(self, pieces: AsyncIterable[bytes]) -> None:
        """Send a file and wait for the verdict. Cancelled, it leaves no connection behind.

        Raises:
            InputError: It is infected.
            ScannerError: There is no verdict.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(pieces)
        except TimeoutError as error:
            raise ScannerError(self._url, f"no verdict in {self._timeout_s:g} s") from error
        except OSError as error:
            raise ScannerError(self._url, error.strerror or "the connection was lost") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ScannerError(self._url, "it hung up without a verdict") from error
        if answer == "stream: OK":
            return
        if answer.startswith("stream: ") and answer.endswith(" FOUND"):
            found = answer.removeprefix("stream: ").removesuffix(" FOUND")[:100]
            raise InputError("infected", f"the scanner knows it as {found!r}")
        raise ScannerError(self._url, f"it answered {answer[:100]!r}")

    async def _ask(self, pieces: AsyncIterable[bytes]) -> str:
        reader, writer = await self._connect()
        try:
            writer.write(b"zINSTREAM\0")
            async for piece in pieces:
                for at in range(0, len(piece), _PIECE):
                    part = piece[at : at + _PIECE]
                    writer.write(len(part).to_bytes(4) + part)
                    await writer.drain()
            writer.write(bytes(4))
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace").strip()
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._parts.scheme == "unix":
            return await asyncio.open_unix_connection(self._parts.path, limit=_LONGEST_ANSWER)
        return await asyncio.open_connection(self._parts.hostname, self._parts.port, limit=_LONGEST_ANSWER)
