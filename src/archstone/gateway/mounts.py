"""Other ASGI applications beside the contracts: FastAPI, Starlette, pages.

Promise: the longest prefix wins; the application sees its prefix as `root_path`; its answers get the request id and
the security headers that it did not set itself, no content policy (pages have their own); its failure becomes a
problem document if it has not begun to answer. It is neither shed nor limited: a stream may stay for hours. A web
socket is its own from the first message on: it decides whom it accepts, and nothing is added.
"""

from collections.abc import Callable, Mapping

from archstone.errors import ConfigError
from archstone.gateway.hardening import guarded
from archstone.services.http import ASGIApp, Message, Receive, Response, Scope, Send

__all__ = ["Mount", "mount_of", "mounts", "serve_mount"]

Mount = tuple[str, ASGIApp]
Pairs = list[tuple[bytes, bytes]]


def mounts(*tables: Mapping[str, ASGIApp]) -> tuple[Mount, ...]:
    """Return all mounts, longest prefix first.

    Raises:
        ConfigError: A prefix does not begin with a slash, ends with one, or is claimed twice.
    """
    found = [(prefix, app) for table in tables for prefix, app in table.items()]
    faults = [f"mount {prefix!r}: write it as '/name'" for prefix, _ in found if not _fits(prefix)]
    prefixes = [prefix for prefix, _ in found]
    faults += [f"mount {prefix!r} is claimed twice" for prefix in sorted(set(prefixes)) if prefixes.count(prefix) > 1]
    if faults:
        raise ConfigError("; ".join(faults))
    return tuple(sorted(found, key=lambda mount: -len(mount[0])))


def _fits(prefix: str) -> bool:
    return not prefix or (prefix.startswith("/") and not prefix.endswith("/"))


def mount_of(path: str, table: tuple[Mount, ...]) -> Mount | None:
    """Return the mount that a path belongs to: whole segments, so `/page` does not take `/pages`."""
    for mount in table:
        prefix = mount[0]
        if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
            return mount
    return None


async def serve_mount(
    mount: Mount,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    extra: Pairs,
    refuse: Callable[[Exception], Response],
) -> None:
    """Let a mounted application answer, with the headers of `extra` that it does not set itself."""
    prefix, app = mount
    if scope["type"] == "websocket":
        await app({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)
        return
    started = False

    async def guarded_send(message: Message) -> None:
        nonlocal started
        if message["type"] == "http.response.start":
            started = True
            message = {**message, "headers": guarded(message.get("headers", ()), extra)}
        await send(message)

    try:
        await app({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, guarded_send)
    except Exception as error:
        if started:
            raise  # the answer has begun: only the server can end it, by closing the connection
        response = refuse(error)
        response.headers = guarded(response.headers, extra)
        await response.send(send)
