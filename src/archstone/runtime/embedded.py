"""Embedded mode: a whole system in one process, durable in its data folder.

    async with running(shop, data=tmp_path) as run:
        order = await run.client(Orders, as_="ann").place(...)

Start: folder and lock, span store, databases with migrations, bus, then everything that acts: consumers, sagas left
by the last run, relays, periodic work; only then it is ready. Stop is the same backwards: not ready, intake stopped,
work in flight finished or left on disk for the next start. A process that is killed skips that and loses nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from archstone import context
from archstone.context import Principal
from archstone.data import Database
from archstone.errors import ConfigError
from archstone.gateway import Gateway, GatewayParts
from archstone.messaging import Bus
from archstone.observability import Alerts, LoopLag, SpanStore, get_logger
from archstone.resilience import RateLimit, SharedState
from archstone.runtime.chaos import Lifeline
from archstone.runtime.config import Settings, check_crash_point
from archstone.runtime.console import RunConsole
from archstone.runtime.figures import Figures
from archstone.runtime.folder import DataFolder
from archstone.runtime.strays import tell_of_strays
from archstone.runtime.watching import watch
from archstone.runtime.wiring import Part, Parts, hold, token_verifier, wire
from archstone.services import InProcess, Periodic, System, client, event_routes, periodic

__all__ = ["Embedded", "running"]

C = TypeVar("C")

_DEFAULTS = Settings()
_log = get_logger("archstone.runtime")


class Embedded:
    """One system on one data folder. `async with` opens it; `start` makes it act; `drain` stops that again."""

    def __init__(
        self,
        system: System,
        folder: Path,
        settings: Settings = _DEFAULTS,
        *,
        encode: bool = False,
        fresh: bool = False,
        lifeline: Lifeline | None = None,
    ) -> None:
        """Describe it; nothing is opened.

        Args:
            system: What to run.
            folder: Its data folder; made if it is not there.
            settings: By default all defaults.
            fresh: Empty the folder first; refused where the services keep their data elsewhere (`database_url`).
            encode: Encode and decode whatever crosses between services, as tests and simulations do.
            lifeline: To the parent that starts this process again when it is killed. None: nobody does.
        """
        self.system = system
        self.settings = settings
        self.lifeline = lifeline
        self.folder = DataFolder(folder, system.name)
        self.spans = SpanStore(self.folder.traces, spans_per_s=settings.spans_per_s, max_age_s=settings.trace_keep_s)
        self.bus = Bus(
            self.folder.database_url("bus"),
            grace_s=settings.drain_s,
            dead_retention_s=settings.dead_keep_s,
            sweep_every_s=settings.sweep_every_s,
        )
        self.lag = LoopLag()
        self.alerts = Alerts()
        """What somebody must hear of; watch more, or add hooks, before it starts."""
        self.ready = False
        """Whether requests may come: false until everything has started, and from the beginning of the drain on."""
        self.url: str | None = None
        """Where the front door listens; None where nobody serves it over a network."""
        self._encode = encode
        self._fresh = fresh
        self._parts: Parts | None = None
        self._console: RunConsole | None = None
        self._asgi: Any = None
        self._life = AsyncExitStack()
        self._work: list[asyncio.Task[None]] = []
        self._acting = AsyncExitStack()

    @property
    def parts(self) -> Parts:
        """The wired services.

        Raises:
            ConfigError: It is not open.
        """
        if self._parts is None:
            raise ConfigError(f"system {self.system.name!r} is not open: use it inside `async with`")
        return self._parts

    @property
    def console(self) -> RunConsole:
        """What pages may know of this run, and an operator may do to it.

        Raises:
            ConfigError: It is not open.
        """
        if self._console is None:
            raise ConfigError(f"system {self.system.name!r} is not open: use it inside `async with`")
        return self._console

    @property
    def asgi(self) -> Any:
        """The front door as an ASGI application.

        Raises:
            ConfigError: The system has no gateway.
        """
        if self._asgi is None:
            raise ConfigError(
                f"system {self.system.name!r} has no gateway: give it one, System(..., gateway=Gateway())"
            )
        return self._asgi

    async def __aenter__(self) -> Self:
        if self.settings.database_url:
            Database(self.settings.database_url)  # says what is wrong with it, and has its engine declare its points
        check_crash_point()  # now: whatever declares one has been imported
        if self._fresh and self.settings.database_url:
            raise ConfigError(
                f"system {self.system.name!r}: fresh=True empties the data folder, and the services keep their data in "
                "the database of the setting database_url: drop it yourself, or name another one and another folder"
            )
        try:
            await self.folder.open(fresh=self._fresh)
            self._life.callback(self.folder.close)
            await self._life.enter_async_context(self.spans)
            self._parts = await wire(
                self.system,
                self.folder,
                self.bus,
                self.settings,
                encode=self._encode,
                lag=lambda: self.lag.lag_s,
                life=self._life,
            )
            self._subscribe(self._parts)
            await self._life.enter_async_context(self.bus)
            self._parts = self._parts.with_database("bus", getattr(self.bus.broker, "database", None))
            self._console = RunConsole(self, self._parts)
            self._asgi = self._front_door(self._parts)
        except BaseException:
            await self._life.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain what still acts, and close everything in reverse order."""
        try:
            await self.drain()
        finally:
            self._parts = None
            await self._life.aclose()

    def _subscribe(self, parts: Parts) -> None:
        for part in parts.services.values():
            for route in event_routes(part.dispatcher):
                self.bus.subscribe(
                    route.topic, route.group, route.handle, names=route.names, principal=part.dispatcher.principal
                )

    def _front_door(self, parts: Parts) -> Any:
        gateway = self.system.gateway
        if not isinstance(gateway, Gateway):
            return None
        verify = token_verifier(parts)
        return _as_set(gateway, self.settings).build(
            GatewayParts(
                routes=parts.routes(self.system),
                access=parts.access,
                ready=self.readiness,
                acts=lambda: self.ready,
                metrics=Figures(self, parts).render,
                lag=lambda: self.lag.lag_s,
                title=self.system.name,
                provided=parts.provided,
                shared=parts.provided.get(SharedState),
                console=self.console,
                **({} if verify is None else {"verify": verify}),
            )
        )

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Return whether requests may come, and what is said about it: the alerts because of which they may not."""
        unready = self.alerts.unready()
        return self.ready and not unready, {"system": self.system.name, **({"alerts": unready} if unready else {})}

    async def start(self) -> None:
        """Begin to act: consumers, sagas left by the last run, relays, periodic work. Then it is ready."""
        parts = self.parts
        self.console.start()
        await tell_of_strays(self.system, self.bus)
        await self._acting.enter_async_context(self.lag)
        for part in parts.services.values():
            await part.dispatcher.start()
        await self.bus.start()
        for part in parts.services.values():
            await self._acting.enter_async_context(part.relay)
            for work in self._periodic(part):
                self._act(work.run(), work.name)
        await watch(self.alerts, parts)
        await self._acting.enter_async_context(self.alerts)
        self.ready = True

    def _periodic(self, part: Part) -> Sequence[Periodic]:
        settings = self.settings
        return periodic(part.dispatcher, sweep_every_s=settings.sweep_every_s, key_keep_s=settings.key_keep_s)

    def _act(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._work.append(asyncio.create_task(work, name=name))

    async def drain(self) -> None:
        """Stop acting: what is in flight finishes within `drain_s` or stays on disk for the next start."""
        self.ready = False
        await self._stop_work()
        parts = self._parts
        if parts is None:
            return
        hold(parts)  # all before any of them waits: whom a step would call may be closed by then
        await self.bus.drain()
        drains = [asyncio.ensure_future(part.dispatcher.drain()) for part in parts.services.values()]
        _, late = await asyncio.wait(drains, timeout=self.settings.drain_s)
        for drain in late:
            drain.cancel()
        if late:
            _log.warning("work in flight is left for the next start", services=len(late))
        for failed in [each for each in await asyncio.gather(*drains, return_exceptions=True) if each is not None]:
            if not isinstance(failed, asyncio.CancelledError):
                _log.error("a service did not drain", exc_info=failed)
        await self._acting.aclose()

    async def _stop_work(self) -> None:
        """End what is periodic, and what watches."""
        work, self._work = self._work, []
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work)
        if self._console is not None:
            await self._console.drain()

    def client(self, contract: type[C], *, as_: str | Principal | None = None) -> C:
        """Return a client of a contract of the system.

        Args:
            as_: Who calls: a principal, or the id of a customer. None: the principal of the running context.
        """
        who = Principal(as_, frozenset({"customer"})) if isinstance(as_, str) else as_
        keeper = self.parts.keeper(self.system, contract)
        return client(contract, InProcess(keeper.dispatcher, encode=self._encode, as_=who))


def _as_set(gateway: Gateway, settings: Settings) -> Gateway:
    """Return the gateway with what the settings say over its own values."""
    changes: dict[str, Any] = {}
    if (limit_per_s := settings.rate_limit_per_s) is not None:
        changes["rate_limit"] = RateLimit(limit_per_s, burst=2 * limit_per_s)
    if settings.deadline_s is not None:
        changes["time_limit_s"] = settings.deadline_s
    if settings.body_limit_bytes is not None:
        changes["body_limit_bytes"] = settings.body_limit_bytes
    if settings.docs is not None:
        changes["documents"] = settings.docs == "public"
    if settings.metrics_from is not None:
        changes["metrics_from"] = tuple(filter(None, settings.metrics_from.split(",")))
    return replace(gateway, **changes)


@asynccontextmanager
async def running(
    system: System,
    *,
    data: Path,
    settings: Settings | None = None,
    options: Mapping[str, str] | None = None,
    encode: bool = True,
) -> AsyncGenerator[Embedded]:
    """Run a system in this process for the block: open, start, drain, close. Made for tests and notebooks.

    Args:
        data: The data folder; made if it is not there.
        settings: Framework settings; by default all defaults, without looking at files or the environment.
        options: The system's own options, over those of `settings`.
        encode: Encode and decode whatever crosses between services.
    """
    chosen = settings or _DEFAULTS
    if options:
        chosen = chosen.model_copy(update={"options": {**chosen.options, **options}})
    # A call that happens to run here (a test's own) must not become the principal of the system's own work.
    with context.enter(context.Call()):
        async with Embedded(system, data, chosen, encode=encode) as embedded:
            await embedded.start()
            yield embedded
