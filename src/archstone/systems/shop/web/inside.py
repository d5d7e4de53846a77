"""What the panel behind the counter shows of an order: the run's own story of it, in words and in bars.

Everything is told of the one order whose id is the story's: its traces as waterfalls, its sagas with their steps, its
events with who handled them, and when the shop was started again in between. Where no saga carries the order, its first
list of steps is the chain of its events.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from archstone.gateway import EventTold, Handling, Row, SagaStory, StepStory, Story, TraceStory
from archstone.systems.shop.web.chain import Chain, Link, chain_of

__all__ = ["Inside", "inside"]

WIDE: Final = 1000
"""Units across a waterfall."""
LEAST: Final = 4
"""Units of the shortest bar, so that it is seen."""
MOST_ROWS: Final = 60
_DEEPEST: Final = 4

_STEPS: Final = {
    "hold_goods": "Set the goods aside",
    "give_up": "Put the goods back",
    "take_money": "Ask the bank for the money",
    "refund": "Give the money back",
    "make_out_parcel": "Make out the parcel",
    "cancel": "Cancel the parcel",
    "sell_goods": "Take the goods off the shelf",
    "confirm": "Confirm the order",
    "stop_parcel": "Stop the parcel",
    "release": "Put the goods back",
    "keep": "Keep the order: the parcel had left",
    "close": "Close the order",
    "confirmed": "Write the mail of confirmation",
    "cancelled": "Write the mail of cancellation",
    "refunded": "Write the mail about the refund",
    "give_money_back": "Give money back",
    "charge": "Charge the card at the bank",
    "record_capture": "Note that it is paid",
    "sleep": "Wait",
    "tell_taken": "Tell the next in the chain: paid",
    "tell_refused": "Tell the next in the chain: not paid",
    "tell_returned": "Tell the next in the chain: money given back",
}
_SAGAS: Final = {
    "checkout": "Checkout: from order to confirmation",
    "call_off": "Cancellation: back to where it was",
    "tell_confirmed": "Mail: confirmed",
    "tell_cancelled": "Mail: cancelled",
    "tell_refunded": "Mail: money given back",
    "charge": "Payment: the bank asked until it answers",
    "give_money_back": "Refund",
    "refund": "Payment: money given back",
    "take_money": "A link of the chain: payments takes the money",
    "give_back": "A link of the chain: payments gives the money back",
}
_EVENTS: Final = {
    "orders.order-placed": "An order was placed",
    "orders.order-confirmed": "An order was confirmed",
    "orders.order-cancelled": "An order was cancelled",
    "inventory.stock-reserved": "Goods were set aside",
    "inventory.stock-sold": "Goods were sold",
    "inventory.stock-released": "Goods were put back",
    "payments.payment-captured": "Money was taken",
    "payments.payment-refunded": "Money was given back",
    "shipping.shipment-created": "A parcel was made out",
    "shipping.shipment-moved": "The parcel moved on",
    "shipping.shipment-cancelled": "The parcel was cancelled",
    "orders.refund-asked": "A refund was asked for",
    "orders.order-refunded": "The order heard of the refund",
    "orders.refund-refused": "A refund was refused",
    "orders.refund-failed": "A refund failed: the bank does not answer",
    "orders.refund-asked-again": "A refund was asked for again",
    "orders.cancellation-asked": "The buyer wants to cancel",
    "orders.cancellation-refused": "It was too late to cancel",
    "orders.parcel-moved": "The order heard of its parcel",
    "orders.checkout-begun": "Please hold the goods",
    "inventory.goods-held": "Goods are held: please take the money",
    "payments.money-taken": "Money is taken: please make out the parcel",
    "shipping.parcel-made-out": "Parcel is made out: please sell the goods",
    "inventory.goods-sold": "Goods are sold: please confirm",
    "inventory.goods-refused": "Not enough goods: please cancel",
    "payments.money-refused": "No money: please put the goods back",
    "inventory.sale-refused": "The goods are gone: please stop the parcel",
    "orders.checkout-turned-back": "Please turn everything back",
    "shipping.parcel-stopped": "No parcel will leave: please give the money back",
    "payments.money-returned": "No money is kept: please put the goods back",
    "inventory.goods-put-back": "Goods are back: please cancel",
}
_LINKS: Final = frozenset({"take_money", "give_back"})
"""Sagas that are links of a chain. They are known also where spans, and so events, were not kept."""
_NOW: Final = {"Stuck": "stuck", "At work": "live", "Turned back": "back", "All done": "done"}
_STATES: Final = {"begun": "at work", "done": "done", "failed": "failed", "undone": "undone"}


class Bar(NamedTuple):
    """A row of a waterfall. Places are in units of which a trace is a thousand wide."""

    name: str
    indent: int
    at: int
    width: int
    kind: str
    status: str
    took: str
    error: str | None
    told: str
    """What it says to who cannot see it."""


class Fall(NamedTuple):
    """A trace."""

    title: str
    took: str
    bars: tuple[Bar, ...]
    cuts: tuple[int, ...]
    """Where the shop was started again."""
    left_out: int


class Step(NamedTuple):
    """A step of a saga."""

    words: str
    operation: str
    state: str
    told: str
    error: str | None


class Way(NamedTuple):
    """A saga."""

    title: str
    method: str
    told: str
    going_back: bool
    steps: tuple[Step, ...]
    left_out: int
    error: str | None


class Handler(NamedTuple):
    """A group that was told of an event."""

    group: str
    state: str
    told: str


class News(NamedTuple):
    """An event."""

    words: str
    name: str
    state: str
    left: str
    handlers: tuple[Handler, ...]


class Inside(NamedTuple):
    """Everything."""

    headline: str
    now: str
    """`live`, `done`, `back` for turned back, `stuck` or `nothing`."""
    restarts: str
    falls: tuple[Fall, ...]
    by_events: bool
    """Whether no saga carries the order: then the first of the ways is the chain of its events, if that is known."""
    ways: tuple[Way, ...]
    news: tuple[News, ...]


def inside(story: Story) -> Inside:
    """Return a story as the panel shows it."""
    began_us = story.began_us or story.now_us
    chain = chain_of(story)
    ways = tuple(_way(saga, story.now_us) for saga in story.sagas)
    if chain is not None:
        ways = (_chain_way(chain), *ways)
    news = tuple(_news(event) for event in story.events)
    return Inside(
        headline=_headline(story),
        now=_NOW[_stand(story)] if story.found else "nothing",
        restarts=_restarts(story, began_us),
        falls=tuple(_fall(trace, story.starts_us) for trace in story.traces if trace.rows),
        by_events=chain is not None or any(saga.method in _LINKS for saga in story.sagas),
        ways=ways,
        news=news,
    )


def _headline(story: Story) -> str:
    if not story.found:
        return "Nothing is known of this order yet."
    steps = [step for saga in story.sagas for step in saga.steps]
    done = sum(step.state in {"done", "undone"} for step in steps)
    handled = sum(each.state == "handled" for event in story.events for each in event.handlings)
    counted = f"{done} of {len(steps)} steps, {len(story.events)} events, handled {handled} times"
    return f"{_stand(story)}: {counted}"


def _stand(story: Story) -> str:
    chain = chain_of(story)
    if any(saga.status == "stuck" for saga in story.sagas) or (chain is not None and chain.broken):
        return "Stuck"
    if story.live:
        return "At work"
    back = any(saga.status == "failed" for saga in story.sagas) or (chain is not None and chain.going_back)
    return "Turned back" if back else "All done"


def _restarts(story: Story, began_us: int) -> str:
    if not story.starts_us:
        return ""
    times = ", ".join(f"{_took(at - began_us)} after it began" for at in story.starts_us[-3:])
    count = len(story.starts_us)
    return (
        f"The shop was started again {'once' if count == 1 else f'{count} times'} in between ({times})."
        " What was done before stayed done; the rest was taken up where the journal says it stood."
    )


def _fall(trace: TraceStory, starts_us: Iterable[int]) -> Fall:
    whole = max(1, trace.duration_us)
    rows = trace.rows[:MOST_ROWS]
    bars = tuple(_bar(row, whole) for row in rows)
    left_out = trace.left_out + len(trace.rows) - len(rows)
    cuts = tuple((at - trace.began_us) * WIDE // whole for at in starts_us if 0 < at - trace.began_us < whole)
    return Fall(trace.rows[0].name, _took(trace.duration_us), bars, cuts, left_out)


def _bar(row: Row, whole: int) -> Bar:
    at = min(WIDE - LEAST, row.offset_us * WIDE // whole)
    width = max(LEAST, min(WIDE - at, row.duration_us * WIDE // whole))
    took = f"{_took(row.duration_us)}{'…' if row.status == 'open' else ''}"
    again = f", attempt {row.attempts}" if row.attempts > 1 else ""
    told = f"{row.name}: {row.status}{again}, from {_took(row.offset_us)}, took {took}"
    return Bar(
        row.name, min(row.depth, _DEEPEST), at, width, row.kind, row.status, took, row.error,
        f"{told}. {row.error}" if row.error else told,
    )  # fmt: skip


def _way(saga: SagaStory, now_us: int) -> Way:
    took = _took((saga.ended_us or now_us) - saga.began_us)
    status = {"running": "goes on", "stuck": "is stuck", "done": "done", "failed": "turned back"}[saga.status]
    told = f"{status}, {took}" if saga.status != "running" or not saga.going_back else f"is being undone, {took}"
    return Way(
        _SAGAS.get(saga.method, saga.method), f"{saga.service}.{saga.method}", told, saga.going_back,
        tuple(_step(step) for step in saga.steps), saga.left_out, saga.why or saga.error,
    )  # fmt: skip


def _chain_way(chain: Chain) -> Way:
    told = "turned back" if chain.going_back else "done" if chain.ended else "goes on"
    if chain.broken:
        told = "stands still until its deadline turns it back"
    steps = tuple(
        Step(_EVENTS.get(link.name, link.name), link.name, link.state, _said(link), link.error) for link in chain.links
    )
    return Way("Checkout by events: from order to confirmation", "choreography", told, chain.going_back, steps, 0, None)


def _said(link: Link) -> str:
    parts = [f"{link.said_by} \u2192 {', '.join(link.heard_by) or 'nobody yet'}", _STATES[link.state]]
    return ", ".join([*parts, *([] if link.took_us is None else [_took(link.took_us)])])


def _step(step: StepStory) -> Step:
    verb = step.operation.rpartition(".")[2].rpartition(":")[2]
    parts = [_STATES[step.state]]
    if step.begun_us is not None and step.ended_us is not None:
        parts.append(_took(step.ended_us - step.begun_us))
    if step.attempts > 1:
        parts.append(f"{step.attempts} attempts")
    if step.can_undo and step.state == "done":
        parts.append("can be undone")
    return Step(_STEPS.get(verb, verb.replace("_", " ")), step.operation, step.state, ", ".join(parts), step.error)


def _news(event: EventTold) -> News:
    handlers = tuple(Handler(each.group, each.state, _handled(each)) for each in event.handlings)
    states = {each.state for each in event.handlings}
    state = "dead" if "dead" in states else "handled" if event.sent_us and states <= {"handled"} else "waiting"
    left = "in the outbox" if event.sent_us is None else f"left after {_took(event.sent_us - event.published_us)}"
    return News(_EVENTS.get(event.name, event.name), event.name, state, left, handlers)


def _handled(handling: Handling) -> str:
    parts: Iterable[str] = (
        handling.state,
        f"{handling.attempts} attempts" if handling.attempts > 1 else "",
        handling.error or "",
    )
    return ", ".join(part for part in parts if part)


def _took(us: int) -> str:
    if us < 1_000:
        return f"{max(0, us)} \u00b5s"
    if us < 1_000_000:
        return f"{us / 1_000:.1f} ms"
    return f"{us / 1_000_000:.2f} s" if us < 60_000_000 else f"{us // 60_000_000} min"
