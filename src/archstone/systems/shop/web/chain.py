"""The chain of an order that goes by events, as its story tells it: nobody keeps it, so it is read from the news."""

from typing import Final, NamedTuple

from archstone.gateway import EventTold, Story

__all__ = ["Chain", "Link", "chain_of"]

FORWARD: Final = (
    "orders.checkout-begun",
    "inventory.goods-held",
    "payments.money-taken",
    "shipping.parcel-made-out",
    "inventory.goods-sold",
)
BACK: Final = (
    "inventory.goods-refused",
    "payments.money-refused",
    "inventory.sale-refused",
    "orders.checkout-turned-back",
    "shipping.parcel-stopped",
    "payments.money-returned",
    "inventory.goods-put-back",
)
ORDER: Final = {name: place for place, name in enumerate((*FORWARD, *BACK))}
"""Which of two links comes first that were said in the same microsecond."""
ENDS: Final = frozenset({"orders.order-confirmed", "orders.order-cancelled"})


class Link(NamedTuple):
    """An event of the chain."""

    name: str
    state: str
    """As of a step: `begun` while somebody has not handled it, `done`, or `failed` where somebody has given it up."""
    said_by: str
    heard_by: tuple[str, ...]
    took_us: int | None
    """From its transaction to the end of the last handler. None: not yet, or not known."""
    error: str | None


class Chain(NamedTuple):
    """What is known of it."""

    links: tuple[Link, ...]
    """In the order in which they were said."""
    going_back: bool
    ended: bool

    @property
    def broken(self) -> bool:
        """Whether it stands still until its deadline: somebody has given up a link, and no other end is known."""
        return not self.ended and any(link.state == "failed" for link in self.links)


def chain_of(story: Story) -> Chain | None:
    """Return the chain of a story. None: there is none, since a saga carries the order, or nothing is known of it."""
    found = [event for event in story.events if event.name in ORDER]
    if not found:
        return None
    return Chain(
        links=tuple(map(_link, sorted(found, key=lambda event: (event.published_us, ORDER[event.name])))),
        going_back=any(event.name in BACK for event in found),
        ended=any(event.name in ENDS for event in story.events),
    )


def _link(event: EventTold) -> Link:
    states = {each.state for each in event.handlings}
    open_yet = event.sent_us is None or not states <= {"handled"}
    ends = [each.ended_us for each in event.handlings if each.ended_us is not None]
    return Link(
        name=event.name,
        state="failed" if "dead" in states else "begun" if open_yet else "done",
        said_by=event.service or event.name.partition(".")[0],
        heard_by=tuple(each.group for each in event.handlings),
        took_us=max(ends) - event.published_us if ends and not open_yet else None,
        error=next((each.error for each in event.handlings if each.error), None),
    )
