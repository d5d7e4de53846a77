"""What an operator can ask of a system: the verbs behind the control socket and the command line."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from archstone import context
from archstone.context import Call, Principal
from archstone.errors import ConfigError, NotFoundError
from archstone.messaging import DeadLetter
from archstone.observability import SpanRecord, waterfall
from archstone.runtime.backup import back_up
from archstone.runtime.embedded import Embedded
from archstone.runtime.wiring import Part
from archstone.sagas import SagaInfo, Sagas, SagaUnknownError

__all__ = ["OPERATOR", "Operator", "VerbError"]

OPERATOR: Final = Principal("operator", frozenset({"admin", "service"}))
"""Who acts when somebody with access to the data folder asks: file permissions are the authority."""

Arguments = Mapping[str, Any]


class VerbError(ConfigError, code="runtime.verb"):
    """There is no such verb, or its arguments do not fit. Nothing was done."""


class Operator:
    """Answers verbs about one open system, whether it acts or was only opened to be looked at."""

    def __init__(self, embedded: Embedded) -> None:
        self._embedded = embedded
        self._verbs: dict[str, Callable[[Arguments], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "admin": self._admin,
            "trace": self._trace,
            "sagas": self._sagas,
            "saga": self._saga,
            "saga-resume": self._resume,
            "dead": self._dead,
            "dead-replay": self._replay,
            "backup": self._backup,
        }

    async def answer(self, verb: str, arguments: Arguments) -> dict[str, Any]:
        """Do what `verb` says and return its answer, encodable as JSON.

        Raises:
            VerbError: there is no such verb.
        """
        found = self._verbs.get(verb)
        if found is None:
            raise VerbError(f"no verb {verb!r}; there are {', '.join(sorted(self._verbs))}")
        with context.enter(Call(principal=OPERATOR)):
            return await found(arguments)

    async def _status(self, arguments: Arguments) -> dict[str, Any]:  # noqa: ARG002 - the form of a verb
        parts = self._embedded.parts
        backlogs = await self._embedded.bus.backlogs()
        return {
            "system": self._embedded.system.name,
            "ready": self._embedded.ready,
            "unsent": sum([await part.database.one(int, _UNSENT) for part in parts.services.values()]),
            "unhandled": sum(backlog.depth for backlog in backlogs),
            "dead": sum(backlog.dead for backlog in backlogs),
            "sagas_running": sum([len(await each.list("running", limit=1000)) for _, each in self._engines()]),
            "sagas_stuck": sum([len(await each.list("stuck", limit=1000)) for _, each in self._engines()]),
        }

    async def _admin(self, arguments: Arguments) -> dict[str, Any]:
        promote = self._embedded.system.promote
        if promote is None:
            raise VerbError(f"system {self._embedded.system.name!r} has no administrators")
        client = self._embedded.client(promote.contract)
        await getattr(client, promote.name)(str(arguments["email"]), "admin")
        return {}

    async def _trace(self, arguments: Arguments) -> dict[str, Any]:
        reference = str(arguments["reference"])
        store = self._embedded.spans
        store.flush()
        spans: Sequence[SpanRecord] = store.find(reference)
        if not spans and len(reference) == 32:
            spans = store.trace(_hexadecimal(reference))
        if not spans:
            raise NotFoundError(
                f"no trace of {reference!r}: name an order id, a saga id or a trace id; old ones are swept"
            )
        return {"waterfall": waterfall(spans), "spans": len(spans)}

    async def _sagas(self, arguments: Arguments) -> dict[str, Any]:
        limit = int(arguments.get("limit", 50))
        found = [
            (info, part.name)
            for part, engine in self._engines()
            for info in await engine.list(arguments.get("status"), limit=limit)
        ]
        found.sort(key=lambda pair: pair[0].started_at, reverse=True)
        return {"sagas": [_brief(info, service) for info, service in found[:limit]]}

    async def _saga(self, arguments: Arguments) -> dict[str, Any]:
        _, engine, info = await self._find(str(arguments["id"]))
        del engine
        steps = [asdict(step) for step in info.steps]
        return {"saga": {**_plain(asdict(info)), "steps": len(steps)}, "steps": steps}

    async def _resume(self, arguments: Arguments) -> dict[str, Any]:
        _, engine, info = await self._find(str(arguments["id"]))
        await engine.resume(info.id)
        return {}

    async def _dead(self, arguments: Arguments) -> dict[str, Any]:
        wanted = arguments.get("id")
        letters = await self._embedded.bus.dead(limit=int(arguments.get("limit", 50)) if wanted is None else 100_000)
        return {"letters": [_letter(each) for each in letters if wanted is None or each.id == int(wanted)]}

    async def _replay(self, arguments: Arguments) -> dict[str, Any]:
        bus = self._embedded.bus
        wanted = arguments.get("id")
        ids = [each.id for each in await bus.dead(limit=10_000)] if wanted is None else [int(wanted)]
        return {"replayed": await bus.replay(*ids)}

    async def _backup(self, arguments: Arguments) -> dict[str, Any]:
        embedded = self._embedded
        target = Path(str(arguments["file"]))
        info = await back_up(embedded.folder.path, embedded.system.name, embedded.parts.databases, target)
        return {"files": len(info.files), "size_bytes": info.size_bytes, "taken_at_us": info.taken_at_us}

    def _engines(self) -> list[tuple[Part, Sagas]]:
        parts = self._embedded.parts.services.values()
        return [(part, part.dispatcher.sagas) for part in parts if part.dispatcher.sagas is not None]

    async def _find(self, saga_id: str) -> tuple[Part, Sagas, SagaInfo]:
        for part, engine in self._engines():
            try:
                return part, engine, await engine.inspect(saga_id)
            except SagaUnknownError:
                continue
        raise NotFoundError(f"no saga {saga_id!r} in any service; `archstone sagas SYSTEM` lists them")


_UNSENT: Final = "SELECT count(*) FROM _archstone_outbox"


def _brief(info: SagaInfo, service: str) -> dict[str, Any]:
    return {
        "id": info.id,
        "service": service,
        "name": info.method,
        "status": info.status,
        "started": info.started_at.isoformat(timespec="seconds"),
        "error": info.why,
    }


def _letter(letter: DeadLetter) -> dict[str, Any]:
    envelope = letter.envelope
    return {
        "id": letter.id,
        "group": letter.channel.group,
        "name": envelope.name,
        "key": envelope.key,
        "attempts": letter.attempts,
        "error": letter.error,
        "died": letter.buried_at.isoformat(timespec="seconds"),
        "message": envelope.id,
        "payload": envelope.payload.decode(errors="replace"),
        "headers": envelope.headers.decode(errors="replace"),
    }


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()}


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0
