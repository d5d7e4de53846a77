"""The control socket: how the command line reaches the process that owns a data folder.

A Unix socket of mode 0600 in the folder. A connection carries one request line `{"verb": …, "arguments": {…}}` and gets
one answer line, `{"answer": …}` or `{"error": {"code": …, "message": …}}`. Lines are JSON, at most 16 MB.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from archstone.errors import ArchstoneError, BackendError
from archstone.observability import get_logger

__all__ = ["ControlError", "ControlServer", "Handler", "ask"]

LINE_LIMIT_BYTES: Final = 16 * 1024 * 1024
PATH_LIMIT: Final = 100
"""Unix socket paths hold about 107 bytes; longer folders are reached through a file descriptor."""

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""Answers a verb with its arguments; the answer must be encodable as JSON."""


class ControlError(BackendError, code="runtime.control"):
    """The running process refused or failed a request of the command line."""

    def __init__(self, what: str, cause_code: str = "") -> None:
        super().__init__(what, cause_code)
        self.what = what
        self.cause_code = cause_code

    def __str__(self) -> str:
        return self.what


class ControlServer:
    """Listens on the socket between `open` and `close`; at most 8 requests at once."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._places = asyncio.Semaphore(8)

    async def open(self) -> None:
        """Listen. A socket left by a process that died is replaced."""
        self._path.unlink(missing_ok=True)
        with _short(self._path) as name:
            mask = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._serve, name, limit=LINE_LIMIT_BYTES)
            finally:
                os.umask(mask)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async with self._places:
                answer = await self._answer(await reader.readline())
                writer.write(orjson.dumps(answer) + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = orjson.loads(line)
            return {"answer": await self._handler(str(request["verb"]), dict(request.get("arguments", {})))}
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            if not isinstance(error, ArchstoneError):
                return {"error": {"code": "runtime.control", "message": f"bad control request: {error}"}}
            return {"error": {"code": error.code, "message": str(error)}}
        except ArchstoneError as error:
            return {"error": {"code": error.code, "message": str(error)}}
        except Exception as error:
            get_logger("archstone.runtime").exception("control request failed")
            return {"error": {"code": "runtime.control", "message": f"{type(error).__name__}: {error}"}}


async def ask(path: Path, verb: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = 60.0) -> Any:
    """Send one request to the process behind the socket and return its answer.

    Raises:
        ControlError: nobody answers there, it took longer than `timeout_s`, or the process refused; the text says which.
    """
    try:
        async with asyncio.timeout(timeout_s):
            line = await _exchange(path, orjson.dumps({"verb": verb, "arguments": dict(arguments or {})}) + b"\n")
    except TimeoutError as error:
        raise ControlError(f"{path}: no answer to {verb!r} within {timeout_s:g} s; the process may be busy") from error
    except OSError as error:
        raise ControlError(f"{path}: nobody answers ({error.strerror}); is the system running?") from error
    if not line:
        raise ControlError(f"{path}: the process ended before it answered {verb!r}; look at its log")
    answer = orjson.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"]["message"], answer["error"]["code"])
    return answer["answer"]


async def _exchange(path: Path, request: bytes) -> bytes:
    with _short(path) as name:
        reader, writer = await asyncio.open_unix_connection(name, limit=LINE_LIMIT_BYTES)
    try:
        writer.write(request)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name for the socket that fits the kernel's limit, for the time of the block."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
