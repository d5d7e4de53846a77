"""The origin behind HTTP, in a process of its own: for trials in real time.

    python -m archstone.lab.herd.remote         # prints its port; ends with its input

    POST /begin/{places}/{load_s}/{seed}        a new origin, which counts from now on
    GET  /load/{key}                            the value; 503 if the line is full
    GET  /record                                what was seen, as JSON

A client that hangs up has given up; the work it asked for is done all the same. One request per connection: what is
measured is the herd, not keep-alive.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, unquote

import orjson

from archstone.lab.herd.origin import Origin, OriginFullError, OriginRecord, OriginSettings
from archstone.lab.http import LabError

__all__ = ["RemoteOrigin", "origin_process"]

_LOCAL: Final = "127.0.0.1"
_BACKLOG: Final = 4096


class RemoteOrigin:
    """The client's side of an origin of another process."""

    def __init__(self, port: int, settings: OriginSettings) -> None:
        self._port = port
        self._settings = settings

    async def begin(self) -> None:
        """Count from now on."""
        places, load_s, seed = self._settings
        await self._ask("POST", f"/begin/{places}/{load_s}/{quote(seed, safe='')}")

    async def load(self, key: str) -> bytes:
        """Return the value of `key`.

        Raises:
            OriginFullError: Too many are in line.
        """
        return await self._ask("GET", f"/load/{quote(key, safe='')}")

    async def end(self) -> OriginRecord:
        """Return what was seen since `begin`."""
        return OriginRecord(**orjson.loads(await self._ask("GET", "/record")))

    async def _ask(self, method: str, path: str) -> bytes:
        reader, writer = await asyncio.open_connection(_LOCAL, self._port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status = head.partition(b" ")[2][:3]
        if status == b"503":
            raise OriginFullError(path)
        if status != b"200":
            raise LabError(f"the origin answered {method} {path} with {status.decode() or 'nothing'}")
        return body


class _Server:
    """Answers requests out of one origin at a time."""

    def __init__(self) -> None:
        self._origin = Origin(OriginSettings(1, 1.0, ""))

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            answering = asyncio.ensure_future(self._answer(head.decode("latin-1").split()[1]))
            hung_up = asyncio.ensure_future(reader.read(1))
            await asyncio.wait((answering, hung_up), return_when=asyncio.FIRST_COMPLETED)
            hung_up.cancel()
            answering.cancel()  # nothing happens if it is done
            with contextlib.suppress(asyncio.CancelledError):
                status, body = await answering
                writer.write(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        writer.close()

    async def _answer(self, path: str) -> tuple[int, bytes]:
        match [unquote(part) for part in path.split("/")[1:]]:
            case ["load", key]:
                try:
                    return 200, await self._origin.load(key)
                except OriginFullError:
                    return 503, b""
            case ["begin", places, load_s, seed]:
                self._origin = Origin(OriginSettings(int(places), float(load_s), seed))
                await self._origin.begin()
                return 200, b""
            case ["record"]:
                return 200, orjson.dumps((await self._origin.end()).as_json())
            case _:
                return 404, b""


@asynccontextmanager
async def origin_process() -> AsyncGenerator[int]:
    """Run the origin for the block, and yield its port.

    Raises:
        LabError: It does not start.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "archstone.lab.herd.remote", stdin=pipe, stdout=pipe
    )
    assert child.stdout is not None  # it was asked for as a pipe
    try:
        line = await child.stdout.readline()
        if not line.strip().isdigit():
            raise LabError(f"the origin ended with {await child.wait()}; its last words are above")
        yield int(line)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _serve() -> None:
    server = await asyncio.start_server(_Server(), _LOCAL, 0, backlog=_BACKLOG)
    async with server:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        # Its input ends with whoever started it, however that ended.
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_serve())
