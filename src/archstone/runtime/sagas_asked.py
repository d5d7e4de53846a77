"""The verbs about sagas behind the control socket: list, show, resume, cancel, fork, signal.

They go to the engine of the service that has the saga, as the pages of an administration do. While the system runs, all
but looking is written into its log.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any, Final, get_args

from archstone.context import Principal
from archstone.errors import ArchstoneError, NotFoundError
from archstone.runtime.console.acts import audited
from archstone.runtime.embedded import Embedded
from archstone.runtime.verb import Arguments, VerbError, read_number, read_text
from archstone.sagas import SagaInfo, Sagas, SagaStatus, SagaUnknownError

__all__ = ["SagaVerbs"]

_STATUSES: Final = get_args(SagaStatus)


class SagaVerbs:
    """Answers what is asked about the sagas of one open system.

    Args:
        embedded: The system, whether it acts or was only opened to be looked at.
        who: Who asks.
    """

    def __init__(self, embedded: Embedded, who: Principal) -> None:
        self._embedded = embedded
        self._who = who

    def verbs(self) -> dict[str, Callable[[Arguments], Awaitable[dict[str, Any]]]]:
        """Return the verbs by name."""
        return {
            "sagas": self.list,
            "saga": self.show,
            "saga-resume": self.resume,
            "saga-cancel": self.cancel,
            "saga-fork": self.fork,
            "saga-signal": self.signal,
        }

    async def list(self, arguments: Arguments) -> dict[str, Any]:
        """Return sagas of all services, newest first."""
        limit, status = read_number(arguments, "limit", default=50), arguments.get("status")
        if status is not None and status not in _STATUSES:
            raise VerbError(f"status {status!r}: a saga is {', '.join(_STATUSES)}; name one of these or none")
        age_s = None if arguments.get("older_s") is None else float(read_number(arguments, "older_s"))
        found = [
            (info, service)
            for service, engine in self._engines()
            for info in await engine.list(status, method=arguments.get("name"), older_than_s=age_s, limit=limit)
        ]
        found.sort(key=lambda pair: pair[0].started_at, reverse=True)
        return {"sagas": [_brief(info, service) for info, service in found[:limit]]}

    async def show(self, arguments: Arguments) -> dict[str, Any]:
        """Return one saga with its steps."""
        _, info = await self._find(read_text(arguments, "id"))
        steps = [_plain(asdict(step)) for step in info.steps]
        return {"saga": {**_plain(asdict(info)), "steps": len(steps)}, "steps": steps}

    async def resume(self, arguments: Arguments) -> dict[str, Any]:
        """Let stuck sagas go on, each by itself."""
        return await self._each(arguments, self._resume)

    async def cancel(self, arguments: Arguments) -> dict[str, Any]:
        """Have sagas undone, each by itself."""
        if not self._embedded.ready:
            raise VerbError(f"a saga is cancelled while its system runs: `archstone up {self._embedded.system.called}`")
        return await self._each(arguments, self._cancel)

    async def fork(self, arguments: Arguments) -> dict[str, Any]:
        """Start a saga that begins where another was before a step."""
        saga, step, as_id = read_text(arguments, "id"), read_text(arguments, "step"), read_text(arguments, "as")
        version = None if arguments.get("version") is None else read_number(arguments, "version")
        engine, _ = await self._find(saga)
        with self._noted("fork a saga", saga=saga, step=step, fork=as_id):
            new = await engine.fork(saga, from_step=step, as_id=as_id, version=version)
        return {"new": new, "acts": self._embedded.ready}

    async def signal(self, arguments: Arguments) -> dict[str, Any]:
        """Send a saga a signal."""
        saga, name, key = read_text(arguments, "id"), read_text(arguments, "name"), arguments.get("key")
        engine, _ = await self._find(saga)
        with self._noted("signal a saga", saga=saga, signal=name, key=key):
            new = await engine.signal(saga, name, arguments.get("value"), key=key)
        return {"new": new, "acts": self._embedded.ready}

    async def _each(self, arguments: Arguments, act: Callable[[str], Awaitable[None]]) -> dict[str, Any]:
        sagas: Sequence[str] = arguments.get("ids", ())
        outcomes: list[dict[str, Any]] = []
        for saga in sagas:
            try:
                await act(str(saga))
            except ArchstoneError as error:
                outcomes.append({"id": saga, "done": False, "error": str(error)})
            else:
                outcomes.append({"id": saga, "done": True, "error": None})
        return {"outcomes": outcomes, "acts": self._embedded.ready}

    async def _resume(self, saga: str) -> None:
        engine, info = await self._find(saga)
        if info.status != "stuck":
            raise VerbError(f"saga {info.id!r} is {info.status}: only a stuck one can be resumed; nothing was done")
        with self._noted("resume a saga", saga=saga):
            await engine.resume(saga)

    async def _cancel(self, saga: str) -> None:
        engine, _ = await self._find(saga)
        with self._noted("cancel a saga", saga=saga):
            await engine.cancel(saga, by=self._who.id)

    def _noted(self, act: str, **facts: Any) -> AbstractContextManager[None]:
        """Write an act into the log, if the system runs; otherwise there is none but the terminal of who asks."""
        return audited(self._who, act, **facts) if self._embedded.ready else nullcontext()

    def _engines(self) -> "list[tuple[str, Sagas]]":
        parts = self._embedded.parts.services.values()
        return [(part.name, part.dispatcher.sagas) for part in parts if part.dispatcher.sagas is not None]

    async def _find(self, saga: str) -> tuple[Sagas, SagaInfo]:
        for _, engine in self._engines():
            try:
                return engine, await engine.inspect(saga)
            except SagaUnknownError:
                continue
        called = self._embedded.system.called
        raise NotFoundError(f"no saga {saga!r} in any service; `archstone sagas {called}` lists them")


def _brief(info: SagaInfo, service: str) -> dict[str, Any]:
    return {
        "id": info.id,
        "service": service,
        "name": info.method,
        "version": info.version,
        "status": info.status,
        "started": info.started_at.isoformat(timespec="seconds"),
        "parent": info.parent,
        "error": info.why,
    }


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()}
