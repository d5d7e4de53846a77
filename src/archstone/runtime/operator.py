"""What an operator can ask of a system: the verbs behind the control socket and the command line."""

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json, to_json

from archstone import context, world
from archstone.context import Call, Principal
from archstone.errors import DomainError, InvalidError, NotFoundError
from archstone.messaging import DeadLetter
from archstone.observability import SpanRecord, waterfall
from archstone.runtime.audit_asked import AuditVerbs
from archstone.runtime.backup import back_up
from archstone.runtime.embedded import Embedded
from archstone.runtime.sagas_asked import SagaVerbs
from archstone.runtime.strays import forget_group
from archstone.runtime.verb import Arguments, VerbError, read_number, read_text
from archstone.services import InProcess

__all__ = ["OPERATOR", "Operator", "VerbError"]

OPERATOR: Final = Principal("operator", frozenset({"admin", "service"}))
"""Who acts when somebody with access to the data folder asks: file permissions are the authority."""

_UNSENT: Final = "SELECT count(*) FROM _archstone_outbox"
_TRACE_ID: Final = re.compile("[0-9a-f]{32}")
_ALL_LETTERS: Final = 100_000
_REPLAYED_AT_ONCE: Final = 10_000


class Operator:
    """Answers verbs about one open system, whether it acts or was only opened to be looked at."""

    def __init__(self, embedded: Embedded) -> None:
        self._embedded = embedded
        self._verbs: dict[str, Callable[[Arguments], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "admin": self._admin,
            "trace": self._trace,
            **SagaVerbs(embedded, OPERATOR).verbs(),
            "dead": self._dead,
            "dead-replay": self._replay,
            "forget": self._forget,
            "call": self._call,
            "backup": self._backup,
            **AuditVerbs(embedded).verbs(),
        }
        if embedded.lifeline is not None:
            self._verbs["kill"] = self._kill

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

    async def _status(self, arguments: Arguments) -> dict[str, Any]:
        parts = self._embedded.parts
        backlogs = await self._embedded.bus.backlogs()
        engines = [part.dispatcher.sagas for part in parts.services.values() if part.dispatcher.sagas is not None]
        return {
            "system": self._embedded.system.name,
            "ready": self._embedded.ready,
            "url": self._embedded.url,
            "unsent": sum([await part.database.one(int, _UNSENT) for part in parts.services.values()]),
            "unhandled": sum(backlog.depth for backlog in backlogs),
            "dead": sum(backlog.dead for backlog in backlogs),
            "sagas_running": sum([len(await each.list("running", limit=1000)) for each in engines]),
            "sagas_stuck": sum([len(await each.list("stuck", limit=1000)) for each in engines]),
        }

    async def _admin(self, arguments: Arguments) -> dict[str, Any]:
        system, email = self._embedded.system, read_text(arguments, "email")
        operation = system.promote
        if operation is None:
            raise VerbError(f"system {system.name!r} has no administrators: its System(...) names no promote=")
        keeper = self._embedded.parts.keeper(system, operation.contract)
        request = to_json({"email": email, "role": "admin"})
        try:
            await InProcess(keeper.dispatcher).call(operation, operation.decode({}, {}, request, strict=True))
        except (DomainError, InvalidError) as error:
            raise VerbError(f"{email} is not made an administrator: {error}; name a registered address") from error
        return {}

    async def _call(self, arguments: Arguments) -> dict[str, Any]:
        """Call an operation of a contract, arguments and answer as the contract encodes them."""
        wanted = read_text(arguments, "operation")
        operation = next((each for each in self._embedded.system.operations if each.full_name == wanted), None)
        if operation is None:
            raise VerbError(f"no operation {wanted!r}: name it as Contract.method")
        keeper = self._embedded.parts.keeper(self._embedded.system, operation.contract)
        decoded = operation.decode_arguments(to_json(arguments.get("arguments", {})))
        answer = await InProcess(keeper.dispatcher).call(operation, decoded)
        return {"answer": from_json(operation.encode_result(answer))}

    async def _trace(self, arguments: Arguments) -> dict[str, Any]:
        reference = read_text(arguments, "reference")
        store = self._embedded.spans
        spans: Sequence[SpanRecord] = store.find(reference)
        if not spans and _TRACE_ID.fullmatch(reference):
            spans = store.trace(int(reference, 16))
        if not spans:
            raise NotFoundError(
                f"no trace of {reference!r}: name an order id, a saga id or a trace id; old ones are swept"
            )
        answer: dict[str, Any] = {"waterfall": waterfall(spans), "spans": len(spans)}
        return {**answer, "records": [_span(each) for each in spans]} if arguments.get("records") else answer

    async def _dead(self, arguments: Arguments) -> dict[str, Any]:
        bus, wanted = self._embedded.bus, arguments.get("id")
        retrying = await bus.retrying()
        if wanted is None:
            letters = await bus.dead(limit=read_number(arguments, "limit", default=50))
            return {"letters": [_letter(each) for each in letters], "retrying": retrying}
        number = read_number(arguments, "id")
        found = [_letter(each) for each in await bus.dead(limit=_ALL_LETTERS) if each.id == number]
        if not found:
            raise self._no_letter(number)
        return {"letters": found, "retrying": retrying}

    async def _replay(self, arguments: Arguments) -> dict[str, Any]:
        bus, wanted = self._embedded.bus, arguments.get("id")
        if wanted is None:
            replayed = await bus.replay(*[each.id for each in await bus.dead(limit=_REPLAYED_AT_ONCE)])
        elif not (replayed := await bus.replay(number := read_number(arguments, "id"))):
            raise self._no_letter(number)
        return {"replayed": replayed, "acts": self._embedded.ready}

    async def _forget(self, arguments: Arguments) -> dict[str, Any]:
        return await forget_group(self._embedded.system, self._embedded.bus, read_text(arguments, "group"))

    async def _backup(self, arguments: Arguments) -> dict[str, Any]:
        embedded = self._embedded
        target = Path(read_text(arguments, "file"))
        info = await back_up(embedded.folder.path, embedded.system.name, embedded.parts.databases, target)
        return {"files": len(info.files), "size_bytes": info.size_bytes, "taken_at_us": info.taken_at_us}

    async def _kill(self, arguments: Arguments) -> dict[str, Any]:
        """Kill this process once the answer is out, or where it next passes `point`. `--chaos` starts it again."""
        lifeline, point = self._embedded.lifeline, arguments.get("point")
        assert lifeline is not None  # or there is no such verb
        if point is None:
            lifeline.kill_soon()
        elif point in world.crash_points():
            world.arm(point, strike=lifeline.kill)
        else:
            raise VerbError(f"no crash point {point!r}; there are {', '.join(sorted(world.crash_points()))}")
        return {"pid": os.getpid(), "point": point}

    def _no_letter(self, number: int) -> NotFoundError:
        return NotFoundError(f"no dead letter {number}; `archstone dead {self._embedded.system.called}` lists them")


def _span(span: SpanRecord) -> dict[str, Any]:
    fields = span._asdict()
    parent = None if span.parent_id is None else f"{span.parent_id:016x}"
    return {**fields, "trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}", "parent_id": parent}


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
