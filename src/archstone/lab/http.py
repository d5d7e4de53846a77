"""Asks a system one thing after another: for what comes before and after a surge, where nothing is timed.

It waits and tries again where it is told to (429, 503), since preparing must not fail for being quick.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from archstone import world
from archstone.errors import BackendError
from archstone.lab.connection import Dial, Line, WireAnswer

__all__ = ["Http", "LabError", "good", "request_bytes", "some_at_once"]

T = TypeVar("T")
_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.1
_AT_ONCE: Final = 8


class LabError(BackendError, code="lab.target"):
    """The system under load did not do what the lab needs of it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return self.what


def request_bytes(head: bytes, common: bytes, body: bytes) -> bytes:
    """Return a whole request: its own lines, those of its sender, and the body with its length."""
    if not body:
        return b"%s%s\r\n" % (head, common)
    return b"%s%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (head, common, len(body), body)


class Http:
    """A few connections on which requests are awaited."""

    def __init__(self, dial: Dial, authority: str) -> None:
        self._dial = dial
        self._host = f"Host: {authority}\r\n".encode()
        self._idle: list[Line] = []

    async def ask(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, headers: bytes = b""
    ) -> tuple[int, Any]:
        """Return status and decoded JSON of an answer, None if it is not JSON.

        Raises:
            LabError: nothing but 429, 503 and broken connections came for a minute.
        """
        head = f"{method} {path} HTTP/1.1\r\n".encode()
        sent = b"" if body is None else json.dumps(body).encode()
        data = request_bytes(head, self._host + headers, sent)
        until_s = world.monotonic() + _PATIENCE_S
        while True:
            answer = await self._once(data)
            if answer.status not in {0, 429, 503}:
                return answer.status, _decoded(answer.body)
            if world.monotonic() > until_s:
                what = f"status {answer.status}" if answer.status else "a broken connection"
                raise LabError(f"{method} {path}: {what} for {_PATIENCE_S:g} s; is the system up, and not overloaded?")
            await asyncio.sleep(_PAUSE_S)

    def close(self) -> None:
        """End all connections."""
        while self._idle:
            self._idle.pop().close()

    async def _once(self, data: bytes) -> WireAnswer:
        line = None
        while self._idle and line is None:
            candidate = self._idle.pop()
            line = candidate if candidate.alive else None
        try:
            line = line or await self._dial()
        except OSError:
            return WireAnswer(0, b"", retry_after=False, begun=False)
        answered: asyncio.Future[WireAnswer] = asyncio.get_running_loop().create_future()
        line.send(data, lambda answer: None if answered.done() else answered.set_result(answer), want_body=True)
        try:
            answer = await answered
        except BaseException:
            line.close()
            raise
        if line.alive:
            self._idle.append(line)
        return answer


def good(status: int, told: Any, what: str) -> dict[str, Any]:
    """Return the JSON object of a good answer.

    Raises:
        LabError: it is none; the text says what it was about.
    """
    document = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    if not 200 <= status < 300 or not document:
        why = document.get("detail") or document.get("title") or "no JSON"
        raise LabError(f"{what}: {status}, {why}; is it the system that was meant?")
    return document


async def some_at_once(work: Sequence[Callable[[], Awaitable[T]]], *, at_once: int = _AT_ONCE) -> list[T]:
    """Return what comes of each piece of work, in their order, with so many under way at any time."""
    places = asyncio.Semaphore(at_once)

    async def one(each: Callable[[], Awaitable[T]]) -> T:
        async with places:
            return await each()

    return await asyncio.gather(*map(one, work))


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
