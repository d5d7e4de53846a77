"""A reverse-proxy cache: answers `GET` and `HEAD` with what the application said a moment ago, if it said that it may.

Promise: an answer is kept only if its headers give it an explicit time and let shared caches have it, and is served
for that time, with `Age`. Of many who ask for a page at once one reaches the application; if that answer may not be
kept, or it failed, each of the others asks for itself. A change (`POST`, `PUT`, `PATCH`, `DELETE` that succeeds) makes
the answers of its URL wrong, also one that was on its way. Requests with `Authorization`, `Cookie` or `Range` are
passed on and never kept.

After its time an answer is served only if it says so: for `stale-while-revalidate` seconds, while one request in the
background asks anew, and for `stale-if-error` seconds in place of an error (500, 502, 503, 504, or an exception before
the answer has begun). What a change has made wrong is never served so.

Do not use it for pages that differ by something that is in no `Vary` header.

Source: RFC 9111 as a shared cache without heuristics (section 4.2.2); RFC 5861 for stale answers; RFC 9211 for
`Cache-Status`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from email.utils import parsedate_to_datetime
from math import floor
from typing import Any, Final, TypeAlias

from archstone import context
from archstone.cache.cache import Cache
from archstone.cache.errors import CacheStoreError
from archstone.cache.http.response import (
    CODEC,
    Headers,
    Stored,
    age_s,
    directives,
    end_to_end,
    lifetime_s,
    seconds_of,
    stale_s,
    values,
)
from archstone.cache.store import Entry, Lease, Write
from archstone.context import Call
from archstone.observability import get_logger
from archstone.resilience import within
from archstone.resilience.flight import Flight, SingleFlight

__all__ = ["HttpCache"]

_log = get_logger("archstone.cache")

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PASSED_ON: Final = frozenset({b"authorization", b"cookie", b"range"})
_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
_ERRORS: Final = frozenset({500, 502, 503, 504})
"""Statuses in whose place a stale answer may be served: RFC 5861, section 4."""
_REVALIDATE: Final = "stale-while-revalidate"
_IF_ERROR: Final = "stale-if-error"
_LEASE_S: Final = 60.0


class HttpCache:
    """An ASGI application before another one."""

    def __init__(
        self,
        app: App,
        cache: Cache,
        *,
        max_body_bytes: int = 1_000_000,
        max_refreshes: int = 64,
        refresh_limit_s: float = 30.0,
    ) -> None:
        """Put a cache before `app`.

        Args:
            app: Any ASGI application.
            cache: Keeps the answers; open while requests come.
            max_body_bytes: Longer answers are passed on and not kept.
            max_refreshes: Requests in the background at once. Beyond, stale answers are served and later readers try.
            refresh_limit_s: Seconds that one of them may take, above 0. The end of the ASGI lifespan ends them all.
        """
        self._app = app
        self._cache = cache
        self._max_body_bytes = max_body_bytes
        self._max_refreshes = max_refreshes
        self._refresh_limit_s = refresh_limit_s
        self._refreshes = SingleFlight()
        self._asked: dict[str, asyncio.Future[bool]] = {}
        """Pages that one request has gone to ask for: whether the others look again, or ask for themselves."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] not in _SAFE:
            await self._change(scope, receive, send)
        elif scope["method"] in {"GET", "HEAD"} and not _passed_on(scope):
            await self._read(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _change(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def watching(message: Message) -> None:
            # Before the client hears of it: whoever has the answer reads what is new.
            if message["type"] == "http.response.start" and 200 <= message["status"] < 400:
                await self._forget(_url(scope))
            await send(message)

        await self._app(scope, receive, watching)

    async def _forget(self, url: str) -> None:
        try:
            await self._cache.invalidate(tag=url)
        except CacheStoreError as error:
            # The change is made; to answer it with an error would be wrong. The old answers live for their time.
            _log.warning("http_cache_not_invalidated", url=url, error=str(error))

    async def _live(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def watching() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._refreshes.stop()  # while the application can still answer, and the cache is open
            return message

        await self._app(scope, watching, send)

    async def _read(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        asks = directives(scope["headers"])
        url = _url(scope)
        while True:
            entry = await self._find(url, scope["headers"])
            if entry is not None and _good_enough(entry, asks):
                await _answer(entry, scope, send, "hit")
                return
            if entry is not None and _good_enough(entry, asks, stale=_REVALIDATE):
                self._refresh(scope, url)
                await _answer(entry, scope, send, f"hit; ttl={floor(entry.fresh_s - entry.age_s)}")
                return
            if "only-if-cached" in asks:
                await _gone(send)
                return
            spare = entry if entry is not None and _good_enough(entry, asks, stale=_IF_ERROR) else None
            asked = self._asked.get(url)
            if asked is None or scope["method"] == "HEAD" or (entry is not None and spare is None):
                break
            await asyncio.wait((asked,))
            if not asked.result():
                if spare is None:
                    break
                await _answer(spare, scope, send, "fwd=stale; collapsed")
                return
        await self._ask(scope, receive, send, url=url, spare=spare)

    def _refresh(self, scope: MutableMapping[str, Any], url: str) -> None:
        """Ask for a page in the background, as nobody, unless somebody does."""
        headers = tuple(pair for pair in scope["headers"] if pair[0] not in _CONDITIONS)
        if url in self._asked or self._refreshes.find(url) or len(self._refreshes) >= self._max_refreshes:
            return
        alone = {**scope, "method": "GET", "headers": headers}

        async def work(_flight: Flight) -> None:
            try:
                async with within(self._refresh_limit_s, name=f"refresh of {url}"):
                    copy = _Copy(_to_nobody, self._max_body_bytes)
                    await self._first(alone, _nothing_more(), copy, url=url, for_nobody=True)
            except Exception as error:  # noqa: BLE001 - whatever the application raises, the old answer stays
                _log.warning("http_cache_refresh_failed", url=url, error=repr(error))

        self._refreshes.begin(url, work, name=f"refresh of {url}", call=Call(trace=context.current().trace), alone=True)

    async def _ask(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, *, url: str, spare: Entry | None
    ) -> None:
        """Ask the application; serve `spare` in place of an error."""
        copy = _Copy(send, self._max_body_bytes, withhold_errors=spare is not None)
        try:
            if scope["method"] == "HEAD":
                await self._app(scope, receive, copy)
            else:
                await self._first(scope, receive, copy, url=url)
        except Exception as error:
            if spare is None or copy.begun:
                raise
            _log.warning("http_cache_stale_if_error", url=url, error=repr(error))
        if spare is not None and not copy.begun:
            await _answer(spare, scope, send, f"fwd=stale; fwd-status={copy.status}" if copy.status else "fwd=stale")

    async def _first(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        copy: "_Copy",
        *,
        url: str,
        for_nobody: bool = False,
    ) -> None:
        """Ask with a `GET`, and keep the answer; others who want the page wait for that.

        Args:
            scope: The request.
            receive: Its body.
            copy: Takes the answer.
            url: Its page.
            for_nobody: Do not ask if the answer could not be kept, since another process is asking.
        """
        kept = cut_off = False
        lease: Lease | None = None
        asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        first = self._asked.setdefault(url, asked) is asked
        try:
            lease = await self._claim(f"{url} {_chosen(scope['headers'], ())}")
            if lease is not None or not for_nobody:
                await self._app(scope, receive, copy)
            kept = lease is not None and copy.whole and await self._keep(lease, url, scope["headers"], copy)
        except asyncio.CancelledError:
            cut_off = True
            raise
        finally:
            if first:
                del self._asked[url]
                asked.set_result(kept or cut_off)
            if lease is not None and not kept:
                await self._release(lease)

    async def _find(self, url: str, headers: Headers) -> Entry | None:
        """Return the answer to a request with `headers`."""
        try:
            entry = (await self._cache.store.read((f"{url} ",), CODEC))[0]
            if entry is None or entry.value.status:
                return entry
            names = tuple(name for name, _ in entry.value.headers)
            return (await self._cache.store.read((f"{url} {_chosen(headers, names)}",), CODEC))[0]
        except CacheStoreError:
            return None

    async def _claim(self, key: str) -> Lease | None:
        try:
            claim = await self._cache.store.claim(key, CODEC, lease_s=_LEASE_S, refresh=True)
        except CacheStoreError:
            return None
        return claim if isinstance(claim, Lease) else None

    async def _release(self, lease: Lease) -> None:
        try:
            await self._cache.store.release(lease)
        except CacheStoreError:
            return  # it ends at its time

    async def _keep(self, lease: Lease, url: str, headers: Headers, copy: "_Copy") -> bool:
        """Keep an answer under the URL, or, if it varies, under what it varies by, which is kept under the URL."""
        good_s, old_s = lifetime_s(copy.status, copy.headers), age_s(copy.headers)
        if good_s <= old_s:
            return False
        stored = Stored(copy.status, end_to_end(copy.headers), bytes(copy.body))
        keep_s = good_s + max(stale_s(copy.headers, _REVALIDATE), stale_s(copy.headers, _IF_ERROR))
        answer = Write(stored, CODEC, (url,), good_s, keep_s, good_s, age_s=old_s)
        names = tuple(sorted(name.encode("latin-1") for name in set(values(copy.headers, b"vary"))))
        try:
            if not names:
                return await self._cache.store.fill(lease, answer)
            varies = answer._replace(value=Stored(0, tuple((name, b"") for name in names), b""))
            # Claimed before the other is filled: what was invalidated since the application was asked refuses that one,
            # and what is invalidated from now on refuses this one.
            chosen = await self._claim(f"{url} {_chosen(headers, names)}")
            if chosen is None:
                return False
            if await self._cache.store.fill(lease, varies):
                return await self._cache.store.fill(chosen, answer)
            await self._release(chosen)
        except CacheStoreError:
            return False
        return False


class _Copy:
    """Passes an answer on, and keeps a copy while it is not too long."""

    def __init__(self, send: Send, max_body_bytes: int, *, withhold_errors: bool = False) -> None:
        self._send = send
        self._left = max_body_bytes
        self._withhold_errors = withhold_errors
        self.begun = False
        """Whether anything of it has been passed on."""
        self.status = 0
        self.headers: Headers = ()
        self.body = bytearray()
        self.whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple((bytes(name).lower(), bytes(text)) for name, text in message.get("headers", ()))
        elif message["type"] == "http.response.body":
            body: bytes = message.get("body", b"")
            self._left -= len(body)
            if self._left >= 0:
                self.body += body
                self.whole = not message.get("more_body", False)
            else:
                self.body.clear()
        if self.begun or not (self._withhold_errors and self.status in _ERRORS):
            self.begun = True
            await self._send(message)


def _passed_on(scope: MutableMapping[str, Any]) -> bool:
    headers: Headers = scope["headers"]
    return any(name in _PASSED_ON for name, _ in headers) or "no-store" in directives(headers)


def _url(scope: MutableMapping[str, Any]) -> str:
    headers: Headers = scope["headers"]
    host = next((text.decode("latin-1").lower() for name, text in headers if name == b"host"), "")
    path = scope.get("raw_path") or scope["path"].encode()
    return f"{scope.get('scheme', 'http')}://{host}{path.decode('latin-1')}?{scope['query_string'].decode('latin-1')}"


def _chosen(headers: Headers, names: tuple[bytes, ...]) -> str:
    """Return the request's values of the headers that answers vary by."""
    return "\n".join(f"{name.decode('latin-1')}:{','.join(values(headers, name))}" for name in names)


def _good_enough(entry: Entry, asks: Mapping[str, str], *, stale: str | None = None) -> bool:
    """Return whether a request may have `entry`: fresh, or for so long after its end as `stale` of its headers says."""
    spare_s = stale_s(entry.value.headers, stale) if stale else 0
    if "no-cache" in asks or entry.age_s >= entry.fresh_s + spare_s:
        return False
    most, fresh = seconds_of(asks.get("max-age", "")), seconds_of(asks.get("min-fresh", ""))
    if most is not None and entry.age_s > most:
        return False
    return fresh is None or entry.fresh_s - entry.age_s >= fresh


async def _to_nobody(message: Message) -> None:
    """Take an answer that nobody waits for."""


def _nothing_more() -> Receive:
    """Return what gives an empty request, and then waits as a client does."""
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        return await asyncio.get_running_loop().create_future()

    return receive


async def _answer(entry: Entry, scope: MutableMapping[str, Any], send: Send, how: str) -> None:
    stored: Stored = entry.value
    age = int(entry.age_s)
    headers = [*stored.headers, (b"age", b"%d" % age), (b"cache-status", f"archstone; {how}".encode())]
    status, body = stored.status, stored.body
    if status == 200 and _known(scope["headers"], stored.headers):
        kept = {b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"last-modified", b"age"}
        status, body, headers = 304, b"", [pair for pair in headers if pair[0] in kept]
    if scope["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _gone(send: Send) -> None:
    await send({"type": "http.response.start", "status": 504, "headers": [(b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": b""})


def _known(asked: Headers, stored: Headers) -> bool:
    """Return whether whoever asks has the answer already: by tag, weakly compared, else by date."""
    tags = [text for name, text in asked if name == b"if-none-match"]
    ours = next((text for name, text in stored if name == b"etag"), b"")
    if tags:
        given = {tag.strip().removeprefix(b"W/") for line in tags for tag in line.split(b",")}
        return b"*" in given or (bool(ours) and ours.removeprefix(b"W/") in given)
    since = next((text for name, text in asked if name == b"if-modified-since"), b"").decode("latin-1")
    changed = next((text for name, text in stored if name == b"last-modified"), b"").decode("latin-1")
    try:
        return parsedate_to_datetime(changed) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False
