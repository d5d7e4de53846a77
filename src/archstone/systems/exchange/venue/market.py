"""One book of the venue, with the terms on which it trades."""

from dataclasses import dataclass, field

from archstone.systems.exchange.matching import MAX_PRICE, Command, Phase, ReferenceEngine, Side
from archstone.systems.exchange.venue.accounts import Open
from archstone.systems.exchange.venue.breaker import BASIS, Breaker

__all__ = ["Market", "market_of"]

_SECOND_NS = 1_000_000_000
_WINDOW_S, _PAUSE_S, _AUCTION_S = 60, 30, 30


@dataclass(slots=True)
class Market:
    """One book."""

    book: int
    value: int
    """Of a lot, for each tick of its price. In [1, `MAX_PRICE`]."""
    most: int
    """Lots of an order. 0: as many as there can be."""
    collar: int
    """How far a price may be from the last one, in basis points. 0: any."""
    margin: int
    """What a lot that is sold short needs besides, in basis points of what it is worth. In [0, `BASIS`]."""
    breaker: Breaker
    engine: ReferenceEngine
    orders: dict[int, Open] = field(default_factory=dict[int, Open])
    """What is open, by id."""
    tripped: bool = False
    """Whether a trade of the command that is being done is to halt it."""

    @property
    def worth(self) -> int:
        """What a lot is worth at the last price. 0: there was no trade."""
        return self.engine.last * self.value

    def base(self, trigger: int) -> int:
        """Return the price from which an order's may not be too far: its trigger, or the book's reference. 0: none."""
        return trigger or self.engine.reference

    def most_for(self, price: int, trigger: int) -> int:
        """Return the highest price that a sell at `price` may get as things are: the bids', or what one goes by."""
        [*best] = self.engine.depth(Side.BUY, 1)
        return max(price, self.base(trigger), best[0][0] if best else 0)

    def margin_of(self, lots: int, price: int) -> int:
        """Return the money that so many lots, sold short, need besides."""
        return lots * price * self.value * self.margin // BASIS

    def bounds(self, base: int) -> tuple[int, int]:
        """Return the lowest and the highest price that the collar allows."""
        if not self.collar:
            return 1, MAX_PRICE
        away = base * self.collar // BASIS
        return max(1, base - away), min(MAX_PRICE, base + away)

    def worst(self, side: int, trigger: int) -> int:
        """Return the worst price that a market order may take. 0: nothing says where prices are."""
        base = self.base(trigger)
        if not base:
            [*best] = self.engine.depth(Side.SELL if side == Side.BUY else Side.BUY, 1)
            base = best[0][0] if best else 0
        low, high = self.bounds(base)
        return (high if side == Side.BUY else low) if base else 0


def market_of(command: Command, book: int) -> Market | None:
    """Return the book that OPEN describes. None: its fields are not in their ranges."""
    sound = (
        book > 0
        and command.type in {*Phase}
        and 0 < command.price <= MAX_PRICE
        and all(0 <= each <= MAX_PRICE for each in (command.quantity, command.display, command.trigger))
        and command.id <= BASIS
    )
    if not sound:
        return None
    window_s, pause_s, auction_s = command.tif or _WINDOW_S, command.flags or _PAUSE_S, command.stp or _AUCTION_S
    breaker = Breaker(command.trigger, window_s * _SECOND_NS, pause_s * _SECOND_NS, auction_s * _SECOND_NS)
    engine = ReferenceEngine(phase=Phase(command.type))
    return Market(book, command.price, command.quantity, command.display, command.id, breaker, engine)
