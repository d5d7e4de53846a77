"""What is remembered of a FIX session when its connection ends: numbers, and what can be sent again."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from archstone.systems.exchange.entry.fix.orders import Orders
from archstone.systems.exchange.entry.reports import Position

__all__ = ["Kept", "Sent"]


class Sent(NamedTuple):
    """A message that was sent, or the gap where one was that is not sent again."""

    kind: str
    fields: list[tuple[int, object]]
    at: str | None
    """When it was sent first. None: it is a gap."""


class Kept:
    """Of one account, as long as the server lives."""

    def __init__(self, orders: Orders, *, keep: int, told: int) -> None:
        self.incoming = self.outgoing = 1
        """The next number in each direction."""
        self.position = Position(0)
        """Of the last report that was told."""
        self.told = told
        """Reports up to this command may have been told before all that is remembered."""
        self.orders = orders
        self.tag = 0
        self._sent: OrderedDict[int, Sent] = OrderedDict()
        """By number, at most `keep`."""
        self._keep = keep

    def reset(self) -> None:
        """Begin with number 1 in both directions; reports go on where they were."""
        self.incoming = self.outgoing = 1
        self._sent.clear()

    def remember(self, sent: Sent) -> None:
        """Keep a message that is about to be sent."""
        self._sent[self.outgoing] = sent
        if len(self._sent) > self._keep:
            self._sent.popitem(last=False)

    def again(self, first: int, last: int) -> Iterator[tuple[int, Sent]]:
        """Give the messages from one number to another (0: to the newest) again, and gaps for what is not sent again.

        It may be left and gone on with: what is sent meanwhile is not in it.
        """
        last = min(last or self.outgoing - 1, self.outgoing - 1)
        gap = first
        for number, sent in [each for each in self._sent.items() if first <= each[0] <= last]:
            if gap < number:
                yield gap, _gap(number)
            yield number, sent
            gap = number + 1
        if gap <= last:
            yield gap, _gap(last + 1)


def _gap(following: int) -> Sent:
    """Say that what comes before a number was of no importance."""
    return Sent("4", [(123, "Y"), (36, following)], None)
