"""Events as stories tell them: who published them, when they left, and what each group made of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from archstone.gateway.story import EventTold, Handling, HandlingState
from archstone.messaging import DeadLetter, UnderWay
from archstone.observability import SpanRecord

__all__ = ["MAX_EVENTS", "Facts", "Unsent", "events_of"]

MAX_EVENTS: Final = 200
"""Events of one story."""

Wanting = Callable[[str, str], Sequence[str]]
"""Groups that get messages of a topic and a name."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """An event that is still in an outbox."""

    id: str
    name: str
    service: str
    published_us: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about the events of one story, beside its spans."""

    unsent: Sequence[Unsent]
    under_way: Sequence[UnderWay]
    letters: Sequence[DeadLetter]
    wanting: Wanting
    behind: frozenset[str]
    """Groups with so large a backlog that not all of it is in memory."""


@dataclass(slots=True)
class _Event:
    id: str
    name: str
    published_us: int
    service: str | None = None
    sent_us: int | None = None
    attempts: dict[str, list[SpanRecord]] = field(default_factory=dict[str, list[SpanRecord]])


def events_of(spans: Iterable[SpanRecord], facts: Facts, groups: Mapping[str, str]) -> tuple[EventTold, ...]:
    """Return the events of a story in the order of publishing, the newest left out beyond the bound.

    Args:
        spans: Of the story's traces, open ones too.
        facts: What outboxes and queues say.
        groups: Group by the name of a consumer span.
    """
    events: dict[str, _Event] = {}
    for span in spans:
        _take(events, span, groups)
    for each in facts.unsent:
        events.setdefault(each.id, _Event(each.id, each.name, each.published_us, each.service))
    for envelope in (each.envelope for each in (*facts.under_way, *facts.letters)):
        known = events.setdefault(envelope.id, _Event(envelope.id, envelope.name, envelope.at))
        known.sent_us = known.sent_us or envelope.at  # it left, and nothing says when
    under_way = {(each.envelope.id, each.channel.group): each for each in facts.under_way}
    letters = {(each.envelope.id, each.channel.group): each for each in facts.letters}
    ordered = sorted(events.values(), key=lambda event: (event.published_us, event.id))[:MAX_EVENTS]
    return tuple(_told(event, facts, under_way, letters) for event in ordered)


def _take(events: dict[str, _Event], span: SpanRecord, groups: Mapping[str, str]) -> None:
    about = span.attributes
    message_id, name = about.get("message_id"), about.get("message")
    if span.kind not in {"producer", "consumer"} or not isinstance(message_id, str):
        return
    published_us = cast("int", about.get("published_us", span.start_us))
    event = events.setdefault(message_id, _Event(message_id, str(name), published_us))
    if span.kind == "producer":
        event.sent_us = span.start_us + span.duration_us
        event.service = str(about.get("database", "")).rpartition("/")[2] or None
    else:
        group = groups.get(span.name, span.name.removeprefix("handle "))
        event.attempts.setdefault(group, []).append(span)
        if event.sent_us is None:
            event.sent_us = span.start_us  # at the latest


def _told(
    event: _Event,
    facts: Facts,
    under_way: Mapping[tuple[str, str], UnderWay],
    letters: Mapping[tuple[str, str], DeadLetter],
) -> EventTold:
    wanted = () if event.sent_us is None else facts.wanting(event.name.partition(".")[0], event.name)
    groups = {*event.attempts, *wanted, *(group for each, group in (*under_way, *letters) if each == event.id)}
    handlings = [
        _handling(
            group,
            event.attempts.get(group, ()),
            under_way.get((event.id, group)),
            letters.get((event.id, group)),
            facts,
        )
        for group in sorted(groups)
    ]
    return EventTold(
        id=event.id,
        name=event.name,
        service=event.service,
        published_us=event.published_us,
        sent_us=event.sent_us,
        handlings=tuple(handlings),
    )


def _handling(
    group: str, attempts: Sequence[SpanRecord], waits: UnderWay | None, letter: DeadLetter | None, facts: Facts
) -> Handling:
    last = max(attempts, key=lambda span: span.start_us, default=None)
    state = _state(group, last, waits, letter, facts)
    error = None if last is None else last.attributes.get("error.message")
    if letter is not None:
        error = letter.error
    ended = last is not None and last.status != "open"
    return Handling(
        group=group,
        state=state,
        attempts=_attempts(last, waits, letter),
        began_us=None if last is None else last.start_us,
        ended_us=last.start_us + last.duration_us if last is not None and ended else None,
        error=None if error is None or state == "handled" else str(error)[:300],
        letter=None if letter is None else letter.id,
    )


def _state(
    group: str, last: SpanRecord | None, waits: UnderWay | None, letter: DeadLetter | None, facts: Facts
) -> HandlingState:
    if last is not None and last.status == "open":
        return "running"
    if waits is not None and (last is None or last.status != "ok"):
        return waits.state
    if letter is not None:
        return "dead"
    if last is not None:
        # Failed, and neither comes again nor is kept: a dead letter that was dropped.
        return "handled" if last.status == "ok" else "dead"
    # No span was kept of it. It is not under way, so it was handled, unless it waits where we do not look.
    return "waiting" if group in facts.behind else "handled"


def _attempts(last: SpanRecord | None, waits: UnderWay | None, letter: DeadLetter | None) -> int:
    made = 0 if last is None else cast("int", last.attributes.get("attempt", 1))
    if waits is not None:
        made = max(made, waits.attempts)
    return made if letter is None else max(made, letter.attempts)
