"""A stand-in for clamd: the whole of INSTREAM as clamd(8) has it, with two signatures and a limit on streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

# The standard test file of the antivirus industry, in two pieces so that no scanner takes this file for it.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@dataclass
class Clamd:
    port: int = 0
    limit_bytes: int = 1_000_000
    answer: bytes | None = None
    """What it says whatever comes. None: what it finds."""
    silent: bool = False
    scanned: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            command = await reader.readuntil(b"\0")
            if command != b"zINSTREAM\0":
                writer.write(b"UNKNOWN COMMAND\0")
                return
            stream = b""
            while size := int.from_bytes(await reader.readexactly(4)):
                if len(stream) + size > self.limit_bytes:
                    writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                    return
                stream += await reader.readexactly(size)
            self.scanned.append(stream)
            if self.silent:
                await asyncio.sleep(60)
            writer.write(self.answer if self.answer is not None else self._verdict(stream) + b"\0")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    def _verdict(stream: bytes) -> bytes:
        return b"stream: Eicar-Signature FOUND" if EICAR in stream else b"stream: OK"


@asynccontextmanager
async def clamd(**how: object) -> AsyncIterator[Clamd]:
    found = Clamd(**how)  # type: ignore[arg-type]
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await found.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
