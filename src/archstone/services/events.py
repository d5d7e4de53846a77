"""What the bus and the clock call: handlers of events by topic, and periodic work, each once in effect.

for route in event_routes(dispatcher):
bus.subscribe(route.topic, route.group, route.handle, names=route.names)
for work in periodic(dispatcher):
tasks.create_task(work.run())
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from archstone import context, world
from archstone.context import Call, Principal
from archstone.data import Database, Envelope, Event, Transaction
from archstone.errors import ConfigError, InvalidError
from archstone.messaging import Inbox
from archstone.observability import get_logger, span
from archstone.sagas import Sagas
from archstone.services.dispatch import Dispatcher
from archstone.services.keys import KEEP_S, sweep
from archstone.services.local_steps import saga_id
from archstone.services.points import AFTER_HANDLED
from archstone.services.subscribing import Every, Handler

__all__ = ["EventRoute", "EventUnreadableError", "Periodic", "event_routes", "periodic"]

_SWEEP_EVERY_S: Final = 600.0
_SHARED_BYTES: Final = 16_384
"""Longest event that is kept for the next service that hears of it."""
_log = get_logger("archstone.services")


class EventUnreadableError(InvalidError, code="services.event-unreadable"):
    """A message holds an event that this code cannot read. Nothing was done."""

    def __init__(self, service: str, event: str, version: int, reason: str) -> None:
        super().__init__(service, event, version, reason)
        self.service = service
        self.event = event
        self.version = version
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"service {self.service!r} cannot read event {self.event!r} version {self.version}: {self.reason}: "
            "release code that can, then replay it from the dead letters"
        )


class EventRoute(NamedTuple):
    """What a service wants of one topic."""

    topic: str
    group: str
    """The service's name: its instances share the work."""
    names: frozenset[str]
    """The events that it handles; the bus need not deliver others."""
    handle: Callable[[Envelope], Coroutine[Any, Any, None]]
    """Handles one message. Returns when the effect is durable; raises if it must come again."""


def event_routes(dispatcher: Dispatcher) -> tuple[EventRoute, ...]:
    """Return what the bus should deliver to the service, one route per topic."""
    info = dispatcher.service.service_info
    topics: dict[str, list[Handler]] = {}
    for handler in info.handlers:
        topics.setdefault(handler.event.event_topic, []).append(handler)
    return tuple(
        EventRoute(
            topic, info.name, frozenset(each.event.event_name for each in found), _Topic(dispatcher, found).handle
        )
        for topic, found in topics.items()
    )


class _Bound(NamedTuple):
    """A handler of one service instance."""

    name: str
    """`service.method`: what the inbox notes."""
    method: Callable[[Event], Coroutine[Any, Any, None]]
    handler: Handler


class _Topic:
    """The handlers of one service for the events of one topic."""

    def __init__(self, dispatcher: Dispatcher, handlers: list[Handler]) -> None:
        self._service = dispatcher.service
        self._db: Database = dispatcher.service.db
        self._inbox: Inbox = dispatcher.inbox
        self._sagas: Sagas | None = dispatcher.sagas
        self._principal = dispatcher.principal
        self._events: dict[str, dict[int, type[Event]]] = {}
        self._handlers: dict[type[Event], list[_Bound]] = {}
        for handler in handlers:
            self._events.setdefault(handler.event.event_name, {})[handler.event.event_version] = handler.event
            bound = _Bound(f"{self._service.name}.{handler.method}", getattr(self._service, handler.method), handler)
            self._handlers.setdefault(handler.event, []).append(bound)

    async def handle(self, envelope: Envelope) -> None:
        """Give the event to its handlers, each in a transaction of its own in which it is noted that it has it."""
        event = self._decode(envelope)
        if event is None:
            return
        token = context.set_current(_own_call(self._principal))
        try:
            handlers = self._handlers[type(event)]
            for handler in handlers:
                if len(handlers) == 1:
                    # The span of the consumer tells it all.
                    await self._once(handler, event, envelope.id)
                else:
                    with span(f"handle {handler.name}", kind="consumer", ref=envelope.key, event=envelope.name):
                        await self._once(handler, event, envelope.id)
                world.point(AFTER_HANDLED)
        finally:
            context.leave(token)

    def _decode(self, envelope: Envelope) -> Event | None:
        """Return the event; None if no handler wants it."""
        versions = self._events.get(envelope.name)
        if versions is None:
            return None
        event = versions.get(envelope.version)
        where = (self._service.name, envelope.name, envelope.version)
        if event is None:
            known = ", ".join(map(str, sorted(versions)))
            raise EventUnreadableError(*where, f"this code handles version {known}")
        try:
            payload = envelope.payload
            return _decoded(event, payload) if len(payload) <= _SHARED_BYTES else event.decode(payload)
        except ValidationError as error:
            raise EventUnreadableError(*where, str(error.errors(include_url=False, include_input=False))) from error

    async def _once(self, handler: _Bound, event: Event, message_id: str) -> None:
        name = handler.name

        async def handle(tx: Transaction) -> None:
            if not await self._inbox.handle_once(tx, name, message_id):
                return
            if not handler.handler.is_saga:
                await handler.method(event)
            elif self._sagas is not None:
                await self._sagas.start(tx, handler.method, event, id=saga_id(name, message_id))

        await self._db.run(handle)


@lru_cache(maxsize=256)
def _decoded(event: type[Event], payload: bytes) -> Event:
    """Return what a message holds; once for all services that hear of it, since nothing can change it."""
    return event.decode(payload)


class Periodic:
    """Work that is done again and again."""

    def __init__(self, name: str, seconds: float, once: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.name = name
        """`inventory.expire`."""
        self.seconds = seconds
        """From the end of one run to the beginning of the next."""
        self.once = once
        """Does it once, now."""

    async def run(self) -> None:
        """Do it until cancelled. A run that fails is logged; the next comes in its time."""
        while True:
            await asyncio.sleep(self.seconds)
            try:
                await self.once()
            except Exception as error:  # noqa: BLE001 - the next run comes in its time, whatever failed
                _log.error("periodic work failed", work=self.name, next_in_s=self.seconds, exc_info=error)


def periodic(
    dispatcher: Dispatcher, *, sweep_every_s: float = _SWEEP_EVERY_S, key_keep_s: float = KEEP_S
) -> tuple[Periodic, ...]:
    """Return the periodic work of the service, and the sweeping of the framework's tables in its database.

    Args:
        dispatcher: Of the service.
        sweep_every_s: Seconds between two sweeps of a table.
        key_keep_s: Seconds that an idempotency key is kept.
    """
    info = dispatcher.service.service_info
    own = [
        Periodic(f"{info.name}.{work.method}", work.seconds, _periodic_run(dispatcher, work)) for work in info.periodic
    ]
    sweeps: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = [
        ("keys", lambda: _sweep_keys(dispatcher.service.db, key_keep_s))
    ]
    if info.handlers:
        sweeps.append(("inbox", dispatcher.inbox.sweep))
    if dispatcher.sagas is not None:
        sweeps.append(("sagas", dispatcher.sagas.sweep))
    return (*own, *(Periodic(f"{info.name}: sweep of {name}", sweep_every_s, run) for name, run in sweeps))


def _periodic_run(dispatcher: Dispatcher, work: Every) -> Callable[[], Coroutine[Any, Any, None]]:
    service = dispatcher.service
    method: Callable[[], Coroutine[Any, Any, None]] = getattr(service, work.method)
    name = f"{service.name}.{work.method}"

    async def once() -> None:
        token = context.set_current(_own_call(dispatcher.principal))
        try:
            with span(f"every {name}"):
                if not work.is_saga:
                    await service.db.run(lambda _: method())
                elif dispatcher.sagas is None:
                    raise ConfigError(f"{name}: its service has no engine for sagas")
                else:
                    await dispatcher.sagas.run(method)
        finally:
            context.leave(token)

    return once


async def _sweep_keys(db: Database, keep_s: float) -> None:
    while await sweep(db, keep_s=keep_s):
        pass


def _own_call(principal: Principal) -> Call:
    """Return the running call as the service's own: what came before is a record, not authority."""
    _, deadline_s, trace, _, correlation_id, causation_id, _, _ = context.current()
    return Call(principal, deadline_s, trace, None, correlation_id, causation_id)
