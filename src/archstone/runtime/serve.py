"""`archstone up`: an embedded system behind an HTTP server, from start to drain.

SIGTERM and SIGINT drain: no new connections, requests in flight finish, work in flight finishes or is left to the
next start. A second signal ends at once, which loses nothing either.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, NoReturn, Protocol

from archstone import world
from archstone.errors import ConfigError
from archstone.observability import configure_logging, get_logger
from archstone.runtime.chaos import Lifeline, become_parent
from archstone.runtime.config import Loaded, Settings
from archstone.runtime.control import ControlServer
from archstone.runtime.embedded import Embedded
from archstone.runtime.folder import FolderInUseError, owner_of
from archstone.runtime.operator import Operator
from archstone.services import System

try:
    import uvicorn
    import uvloop

    from archstone.runtime.tls import Tls, TlsConfig
    from archstone.runtime.wire import Connection, doors, sockets, take_over_log
    from archstone.security.http import HttpsRedirect
except ImportError as error:  # pragma: no cover: shown by the test of the core install
    message = "serving needs an HTTP server: pip install 'archstone[systems]'"
    raise ConfigError(message) from error

__all__ = ["PortInUseError", "View", "run_loop", "serve", "serve_again_when_killed"]

_BACKLOG: Final = 2048
_COLLECT_AFTER: Final = (50_000, 20, 50)
"""Allocations, and collections of the younger generations, between two collections; CPython's own: 700, 10, 10."""


class PortInUseError(ConfigError, code="runtime.port-in-use"):
    """The front door cannot listen there: something else does, or the address is not this machine's."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(host, port, why)
        self.host = host
        self.port = port
        self.why = why

    def __str__(self) -> str:
        return f"cannot listen on {self.host}:{self.port} ({self.why}): choose another with --port, or --port 0"


class View(Protocol):
    """Shows the running system to a person, who has the terminal then; log lines go to the view."""

    @property
    def log(self) -> IO[Any]:
        """Takes the lines of the log, as JSON."""
        ...

    async def show(self, embedded: Embedded, url: str) -> None:
        """Show it from when it is ready until it has drained; this is cancelled then."""
        ...


class Door(NamedTuple):
    """Where requests come in."""

    listener: socket.socket
    tls: Tls | None
    """None: http."""
    redirecting: socket.socket | None
    """Where http is sent to https. None: nowhere."""

    def close(self) -> None:
        """Listen no more."""
        self.listener.close()
        if self.redirecting is not None:
            self.redirecting.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: they would end the process before the system has drained."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def serve_again_when_killed(folder: Path, settings: Settings, command: Sequence[str]) -> NoReturn:
    """Become the parent of `command`, which serves a system on the folder: listen, start it, again when it is killed.

    Raises:
        FolderInUseError: another process runs on the folder.
        PortInUseError: the front door cannot listen.
    """
    _refuse_used(folder)
    become_parent(_listen(settings), command, as_json=_logs_json(settings))


async def serve(
    system: System,
    folder: Path,
    loaded: Loaded,
    *,
    fresh: bool = False,
    ready: Callable[[str], None] | None = None,
    lifeline: Lifeline | None = None,
    view: View | None = None,
) -> None:
    """Run `system` on the data folder until a signal comes, then drain. Files that the process makes are private.

    Args:
        fresh: Empty the folder first; refused while a process runs on it.
        ready: Called with the URL once requests are answered.
        lifeline: To the parent that starts this process again when it is killed, and has listened for it.
        view: Shows how it does, and takes the log. None: the log goes to stderr.

    Raises:
        FolderInUseError: another process runs on the folder.
        PortInUseError: before anything is opened.
    """
    os.umask(0o077)  # databases, mails and traces are for the owner alone
    settings = loaded.settings
    if lifeline is not None:
        lifeline.watch(drain_s=settings.drain_s)
    if view is None:
        configure_logging(settings.log_level, json=_logs_json(settings))
    else:
        configure_logging(settings.log_level, stream=view.log)
    take_over_log()
    _refuse_used(folder)
    tls = Tls.of(settings)  # before anything is opened: a certificate that cannot be read leaves no trace
    listener = _listen(settings) if lifeline is None else lifeline.listener
    door = Door(listener, tls, None if settings.redirect_port is None else _listen(settings, redirecting=True))
    try:
        async with contextlib.AsyncExitStack() as life:
            embedded = await life.enter_async_context(
                Embedded(system, folder, settings, fresh=fresh, lifeline=lifeline)
            )
            control = ControlServer(embedded.folder.socket, Operator(embedded).answer)
            await control.open()
            life.push_async_callback(control.close)
            host, port = listener.getsockname()[:2]
            scheme = "http" if tls is None else "https"
            url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
            embedded.url = url
            await _serve_until_signal(embedded, door, url, ready=ready, view=view)
    finally:
        door.close()


async def _serve_until_signal(
    embedded: Embedded,
    door: Door,
    url: str,
    *,
    ready: Callable[[str], None] | None,
    view: View | None,
) -> None:
    log = get_logger("archstone.runtime")
    servers = _servers(embedded, door)
    begun = world.monotonic()

    def stop() -> None:
        if servers[0][0].should_exit:
            log.warning("second signal: ending at once; nothing is lost")
            os._exit(1)
        embedded.ready = False
        for each, _ in servers:
            each.should_exit = True

    loop = asyncio.get_running_loop()
    acts = {signal.SIGTERM: stop, signal.SIGINT: stop, **({} if door.tls is None else {signal.SIGHUP: door.tls.reload})}
    for number, act in acts.items():
        loop.add_signal_handler(number, act)
    try:
        await embedded.start()
        _settle_memory()
        more = {} if embedded.lifeline is None else {"chaos": "killed, it is started again"}
        log.info("ready", system=embedded.system.name, url=url, data=str(embedded.folder.path), pid=os.getpid(), **more)
        if embedded.lifeline is not None:
            embedded.lifeline.ready()
        if ready is not None:
            ready(url)
        async with _shown(view, embedded, url):
            await asyncio.gather(*(each.serve(sockets=sockets) for each, sockets in servers))
            log.info("draining", after_s=round(world.monotonic() - begun, 1))
            await embedded.drain()
    finally:
        for number in acts:
            loop.remove_signal_handler(number)


def _servers(embedded: Embedded, door: Door) -> list[tuple[_Server, list[socket.socket]]]:
    """Return who serves the front door, and who sends http there, each with where it listens."""
    settings = embedded.settings
    found = [(_server(embedded.asgi, settings, tls=door.tls), doors(door.listener))]
    if door.redirecting is not None:
        elsewhere = HttpsRedirect(port=door.listener.getsockname()[1])
        found.append((_server(elsewhere, settings), [door.redirecting]))
    return found


def _server(app: Any, settings: Settings, *, tls: Tls | None = None) -> _Server:
    config = TlsConfig(
        app, log_config=None, access_log=False, lifespan="off", http=Connection, loop="none",
        server_header=False, proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=settings.trusted_proxies,
        backlog=_BACKLOG, timeout_graceful_shutdown=max(1, round(settings.drain_s)), **sockets(),
    )  # fmt: skip
    config.context = None if tls is None else tls.context
    return _Server(config)


@contextlib.asynccontextmanager
async def _shown(view: View | None, embedded: Embedded, url: str) -> AsyncGenerator[None]:
    """Show the system for the block. A view that fails is told of in the log, and the system goes on without."""
    if view is None:
        yield
        return
    showing = asyncio.create_task(view.show(embedded, url), name="archstone view")
    showing.add_done_callback(lambda done: _tell_failed(done, embedded.settings))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


def _tell_failed(showing: asyncio.Task[None], settings: Settings) -> None:
    if not showing.cancelled() and (error := showing.exception()) is not None:
        configure_logging(settings.log_level, json=_logs_json(settings))
        get_logger("archstone.runtime").error("the view failed; the system runs on", exc_info=error)


def _logs_json(settings: Settings) -> bool:
    return not sys.stderr.isatty() if settings.log_format == "auto" else settings.log_format == "json"


def _refuse_used(folder: Path) -> None:
    # Before the port is tried: that both want the same one is not what to tell.
    if (owner := owner_of(folder)) is not None:
        raise FolderInUseError(str(folder), *owner)


def _settle_memory() -> None:
    """Take what has been loaded out of the collector's sight, and have it look less often.

    A checkout makes thousands of objects that live for milliseconds and almost no cycles. With the collector's own
    thresholds the whole heap is walked many times a second: a fifth of the time of a busy shop.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _listen(settings: Settings, *, redirecting: bool = False) -> socket.socket:
    port = settings.redirect_port or 0 if redirecting else settings.port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, port))
        # At once, so that of two processes that start together one is refused here. Early clients wait in the queue.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise PortInUseError(settings.host, port, error.strerror or str(error)) from error
    return listener
