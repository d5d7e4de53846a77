"""The control socket: how the command line reaches the process that owns a data folder.

A Unix socket of mode 0600 in the folder. A connection carries one request line `{"verb": …, "arguments": {…}}` and gets
one answer line, `{"answer": …}` or `{"error": {"code": …, "message": …}}`. Lines are JSON, at most 16 MB.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from archstone.errors import ArchstoneError, BackendError
from archstone.observability import get_logger

__all__ = ["ControlAbsentError", "ControlError", "ControlServer", "Handler", "ask"]

LINE_LIMIT_BYTES: Final = 16 * 1024 * 1024
PATH_LIMIT: Final = 100
"""Unix socket paths hold about 107 bytes (104 on macOS); longer ones are reached by a relative name."""
_LINE_S: Final = 10.0

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


class ControlAbsentError(ControlError, code="runtime.control-absent"):
    """Nobody listens on the socket: the process is starting, ending or gone. Nothing was asked."""


class ControlServer:
    """Listens on the socket between `open` and `close`; at most 8 requests at once."""

    def __init__(self, path: Path, handler: Handler, *, grace_s: float = 5.0) -> None:
        """Describe it; nothing listens yet.

        Args:
            path: Of the socket.
            handler: Answers the requests.
            grace_s: Seconds that requests have to finish when it closes. At least 0.
        """
        self._grace_s = grace_s
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._places = asyncio.Semaphore(8)
        self._requests: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. A socket left by a process that died is replaced."""
        self._path.unlink(missing_ok=True)
        listener = _socket()
        try:
            with _short(self._path) as name:
                # Nothing else of this process runs between the two masks: no await, and no thread makes files now.
                mask = os.umask(0o177)
                try:
                    listener.bind(name)
                finally:
                    os.umask(mask)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LINE_LIMIT_BYTES)
        except BaseException:
            listener.close()
            raise

    async def close(self) -> None:
        """Stop listening, remove the socket, and let requests that are being answered finish for `grace_s`."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self._path.unlink(missing_ok=True)
        if self._requests:
            _, late = await asyncio.wait(self._requests, timeout=self._grace_s)
            for request in late:
                request.cancel()
            if late:
                await asyncio.wait(late)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio starts this in a task of its own
        self._requests.add(task)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with self._places:
                    async with asyncio.timeout(_LINE_S):  # who connects and says nothing must not keep a place
                        line = await _line(reader)
                    writer.write(orjson.dumps(await self._answer(line)) + b"\n")
                    await writer.drain()
        finally:
            self._requests.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            verb, arguments = _request(line)
            return {"answer": await self._handler(verb, arguments)}
        except ArchstoneError as error:
            return {"error": {"code": error.code, "message": str(error)}}
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the asking process gets one line
            get_logger("archstone.runtime").error("control request failed", exc_info=error)
            what = f"the request failed inside, {type(error).__name__}: {error}; the log of the process says where"
            return {"error": {"code": ControlError.code, "message": what}}


def _request(line: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        request = orjson.loads(line)
        return str(request["verb"]), dict(request.get("arguments") or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ControlError(
            f"a request is a line {{'verb': ..., 'arguments': {{...}}}} of JSON, not this: {error}"
        ) from error


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:  # the reader's word for a line beyond its limit
        return b""


async def ask(path: Path, verb: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = 60.0) -> Any:
    """Send one request to the process behind the socket and return its answer.

    Raises:
        ControlError: nobody answers, it took longer than `timeout_s`, or the process refused; the text says which.
    """
    try:
        async with asyncio.timeout(timeout_s):
            line = await _exchange(path, orjson.dumps({"verb": verb, "arguments": dict(arguments or {})}) + b"\n")
    except TimeoutError as error:
        what = f"{path}: no answer to {verb!r} within {timeout_s:g} s; the process is busy, try again later"
        raise ControlError(what) from error
    except OSError as error:
        why = error.strerror or error
        raise ControlAbsentError(
            f"{path}: nobody answers ({why}); start the system, or try again in a moment"
        ) from error
    if not line:
        raise ControlError(f"{path}: the process ended before it answered {verb!r}; look at its log")
    answer = orjson.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"]["message"], answer["error"]["code"])
    return answer["answer"]


async def _exchange(path: Path, request: bytes) -> bytes:
    connection = _socket()
    try:
        with _short(path) as name:
            connection.connect(name)  # a local socket: it is there or it is not, nothing is waited for
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_LIMIT_BYTES)
    except BaseException:
        connection.close()
        raise
    try:
        writer.write(request)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


@contextmanager
def _short(path: Path) -> Generator[str]:
    """Give a name for the socket that fits the kernel's limit, for the time of a block that does not await."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        yield str(path)
        return
    # A relative name fits always. Threads of this process use absolute paths only, so that this is safe for them.
    folder, before = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC), os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchdir(folder)
        yield path.name
    finally:
        os.fchdir(before)
        os.close(folder)
        os.close(before)
