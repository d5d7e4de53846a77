"""What an operator may do to a run: look at sagas and dead letters, and put right what needs a person.

Whoever asks must have the role `admin`, whatever the page above has checked; every act is written to the log with who
did what, whether it succeeded or not.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from archstone.context import Principal
from archstone.errors import ArchstoneError, DeniedError, NotFoundError
from archstone.gateway.console import (
    ADMIN,
    Letter,
    LetterPage,
    SagaCall,
    SagaDetail,
    SagaLine,
    SagaPage,
    StatusFilter,
)
from archstone.messaging import Bus, DeadLetter
from archstone.observability import get_logger, open_spans
from archstone.runtime.console.sagas_told import MAX_STEPS, error_text, instant_us, saga_story
from archstone.runtime.console.telling import Teller
from archstone.sagas import SagaInfo, Sagas

if TYPE_CHECKING:
    from archstone.sagas import StepInfo

__all__ = ["Acts", "audited", "check_operator"]

_log = get_logger("archstone.audit")
_MOST: Final = 200
_TEXT_LIMIT: Final = 2_000
_ERROR_LIMIT: Final = 300


def check_operator(who: Principal) -> None:
    """Raise DeniedError unless `who` is an operator."""
    if ADMIN not in who.roles:
        raise DeniedError(f"{who.id or 'somebody not signed in'} is no operator: the role {ADMIN!r} is needed")


class Acts:
    """The words of an operator, over one run."""

    def __init__(self, teller: Teller, bus: Bus) -> None:
        self._teller = teller
        self._bus = bus

    async def sagas(
        self, who: Principal, *, status: StatusFilter | None = None, limit: int = 50, before: str | None = None
    ) -> SagaPage:
        """Return sagas of all services, newest first."""
        check_operator(who)
        size, below = min(max(limit, 1), _MOST), _read_cursor(before)
        found: list[tuple[SagaInfo, str]] = []
        for service, engine in self._teller.engines():
            listed = await engine.list(status, limit=size + 1, before=below.get(service))
            found += [(info, service) for info in listed]
        found.sort(key=lambda pair: (pair[0].started_at, pair[1], pair[0].number), reverse=True)
        page = found[:size]
        below |= {service: info.number for info, service in page}
        return SagaPage(
            items=tuple(_line(info, service) for info, service in page),
            next=_cursor(below) if len(found) > size else None,
        )

    async def saga(self, who: Principal, saga: str) -> SagaDetail:
        """Return a saga."""
        check_operator(who)
        service, _, info = await self._find(saga)
        return SagaDetail(
            saga=saga_story(info, service, parent=None, spans=open_spans(ref=saga)),
            caused_by=info.caused_by,
            correlation=info.correlation_id,
            trace=info.trace_id,
            arguments=info.arguments[:_TEXT_LIMIT],
            answer=None if info.answer is None else info.answer[:_TEXT_LIMIT],
            calls=tuple(map(_call, info.steps[:MAX_STEPS])),
            can_resume=info.status == "stuck",
            can_cancel=info.status in {"queued", "running", "stuck"} and info.failure is None,
        )

    async def resume(self, who: Principal, saga: str) -> None:
        """Run a stuck saga again."""
        with audited(who, "resume a saga", saga=saga):
            _, engine, _ = await self._find(saga)
            await engine.resume(saga)

    async def cancel(self, who: Principal, saga: str) -> None:
        """Have a saga undone."""
        with audited(who, "cancel a saga", saga=saga):
            _, engine, _ = await self._find(saga)
            await engine.cancel(saga, by=who.id)

    async def dead(
        self, who: Principal, *, group: str | None = None, limit: int = 50, before: int | None = None
    ) -> LetterPage:
        """Return dead letters, newest first."""
        check_operator(who)
        size = min(max(limit, 1), _MOST)
        letters = await self._bus.letters(group=group, before=before, limit=size + 1)
        page = letters[:size]
        return LetterPage(items=tuple(map(_letter, page)), next=page[-1].id if len(letters) > size else None)

    async def replay(self, who: Principal, *ids: int, group: str | None = None) -> int:
        """Deliver dead letters again."""
        with audited(who, "replay dead letters", ids=_some(ids), group=group):
            return await self._bus.replay(*ids, group=group)

    async def drop(self, who: Principal, *ids: int) -> int:
        """Delete dead letters."""
        with audited(who, "drop dead letters", ids=_some(ids)):
            return await self._bus.drop(*ids)

    async def _find(self, saga: str) -> tuple[str, Sagas, SagaInfo]:
        found = await self._teller.find(saga)
        if found is None:
            raise NotFoundError(f"no saga {saga!r} in any service; it was never started, or is past its retention")
        return found


@contextmanager
def audited(who: Principal, act: str, **facts: Any) -> Generator[None]:
    """Write into the log what an operator does in this block, and whether it was done or refused.

    Raises:
        DeniedError: `who` is no operator.
    """
    try:
        check_operator(who)
        yield
    except ArchstoneError as error:
        _log.warning("an operator was refused", act=act, by=who.id, **facts, why=str(error))
        raise
    except BaseException as error:
        _log.error("an act of an operator did not end well", act=act, by=who.id, **facts, why=type(error).__name__)
        raise
    _log.warning("an operator acted", act=act, by=who.id, **facts)


def _some(ids: Sequence[int]) -> list[int]:
    return list(ids[:100])


def _line(info: SagaInfo, service: str) -> SagaLine:
    failed = info.status == "failed" and info.answer is not None
    return SagaLine(
        id=info.id,
        service=service,
        method=info.method,
        status=info.status,
        began_us=instant_us(info.started_at) or 0,
        ended_us=instant_us(info.finished_at),
        attempts=info.attempts,
        why=None if info.why is None else info.why[:_ERROR_LIMIT],
        error=error_text(info.answer) if failed and info.answer is not None else None,
        caused_by=info.caused_by,
    )


def _call(step: "StepInfo") -> SagaCall:
    return SagaCall(
        step=step.id,
        arguments=step.arguments[:_TEXT_LIMIT],
        undo=None if step.undo is None else step.undo[:_TEXT_LIMIT],
        answer=None if step.answer is None else step.answer[:_TEXT_LIMIT],
    )


def _letter(letter: DeadLetter) -> Letter:
    envelope = letter.envelope
    return Letter(
        id=letter.id,
        group=letter.channel.group,
        topic=letter.channel.topic,
        name=envelope.name,
        key=envelope.key,
        message=envelope.id,
        attempts=letter.attempts,
        error=letter.error[:_ERROR_LIMIT],
        died_us=instant_us(letter.buried_at) or 0,
        payload=envelope.payload.decode(errors="replace")[:_TEXT_LIMIT],
    )


def _cursor(below: dict[str, int]) -> str:
    return ",".join(f"{service}:{number}" for service, number in sorted(below.items()))


def _read_cursor(cursor: str | None) -> dict[str, int]:
    """Return the number below which to go on, by service; what is not a cursor of ours begins at the newest."""
    pairs = [each.rpartition(":") for each in (cursor or "").split(",")]
    return {service: int(number) for service, _, number in pairs if number.isdecimal() and len(number) < 19}
