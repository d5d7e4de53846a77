"""One bot at work: what it has open and holds, by the events alone, and how much it may still send."""

from dataclasses import dataclass, field, replace
from random import Random

from archstone.systems.exchange.bots.view import Bot, Market, Open, View
from archstone.systems.exchange.matching import Command, Kind, Reason, Side, Told
from archstone.systems.exchange.venue import order_id, order_of

__all__ = ["Seat", "Seen"]

Seen = dict[str, int]
"""An event, by the names of its fields."""
_LEAP = 1_000_000
"""Numbers of orders that are left out when one has been used already."""


@dataclass(slots=True, kw_only=True)
class Seat:
    """An account with the bot that acts for it, in one market."""

    bot: Bot
    market: Market
    account: int
    random: Random
    most_per_s: float
    due_s: float = 0.0
    """When it decides next, on the clock of `world.monotonic`."""
    number: int = 0
    """The last that an order was given."""
    position: int = 0
    open: dict[int, Open] = field(default_factory=dict[int, Open])
    sent: int = 0
    refused: int = 0
    traded: int = 0
    """Lots."""
    _may: float = 0.0
    """Commands that it may send now."""

    def decided(self, view: View, now_s: float) -> list[Command]:
        """Return what the bot wants, with account and ids, no more than it may send; it decides again after a while."""
        wait_s = self.bot.every_s
        most = max(1.0, self.most_per_s * wait_s)
        self._may = min(2 * most, self._may + most)
        self.due_s = now_s + wait_s * self.random.uniform(0.5, 1.5)
        wanted = self.bot.decide(view)[: int(self._may)]
        self._may -= len(wanted)
        self.sent += len(wanted)
        return [self._signed(each) for each in wanted]

    def _signed(self, command: Command) -> Command:
        if command.kind != Kind.NEW:
            return command._replace(account=self.account)
        self.number += 1
        return command._replace(account=self.account, id=order_id(self.account, self.number))

    def note(self, event: Seen) -> None:
        """Take in an event that names an order of this account."""
        match event["kind"]:
            case Told.ACCEPTED:
                order = Open(event["id"], Side(event["side"]), event["price"], event["quantity"])
                self.open[order.id] = order
            case Told.REJECTED:
                self.refused += 1
                if event["reason"] == Reason.NUMBER:
                    self.number = max(self.number, order_of(event["id"])[1]) + _LEAP
            case Told.REPLACED if event["id"] in self.open:
                self._left(event["id"], event["quantity"], price=event["price"])
            case Told.CANCELED:
                self.open.pop(event["id"], None)
            case Told.TRADED:
                self._traded(event)
            case _:
                pass

    def _traded(self, event: Seen) -> None:
        """Take in a trade: of the taker, of the maker, or of both where an auction let an account trade with itself."""
        taker = event["side"] or Side.BUY
        for order, left, side in (
            (event["id"], event["left"], taker),
            (event["other"], event["other_left"], 3 - taker),
        ):
            if order_of(order)[0] == self.account:
                self.traded += event["quantity"]
                self.position += event["quantity"] if side == Side.BUY else -event["quantity"]
                self._left(order, left)

    def _left(self, id: int, left: int, *, price: int | None = None) -> None:
        if (order := self.open.get(id)) is None:
            return
        if left:
            self.open[id] = replace(order, left=left, price=order.price if price is None else price)
        else:
            del self.open[id]
