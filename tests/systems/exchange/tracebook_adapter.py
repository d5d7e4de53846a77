"""Our engines as tracebook-conformance asks them: its events become commands, ours its observations.

What has no counterpart is put together of what has:

    reduce    a replace by fewer lots at the same price, or a cancel if nothing is left
    replace   a replace; where ours would keep its place, which theirs never does, a cancel and a new order
    clear     a mass cancel of each account

A quantity is counted in 2^20ths, since that halves them again and again, and a price in ticks of the configuration.
"""

from collections import defaultdict
from decimal import Decimal

from tracebook import MarketEvent
from tracebook.conformance import (
    BookSnapshot,
    BookState,
    ConformanceConfig,
    EngineMetadata,
    Observation,
    Outcome,
    RestingOrder,
    TradeFill,
    canonical_decimal,
)
from tracebook.core.order import OrderType, SelfTradePolicy

from archstone.systems.exchange.matching import (
    Command,
    Engine,
    Event,
    Kind,
    Reason,
    ReferenceEngine,
    SelfTrade,
    Side,
    TimeInForce,
    Told,
    Type,
)
from archstone.systems.exchange.matching.book import Order
from archstone.systems.exchange.matching.native import NativeEngine

__all__ = ["Adapter", "BothAdapter"]

LOT = 2**20
TIMES = {OrderType.IOC: TimeInForce.IOC, OrderType.FOK: TimeInForce.FOK}
POLICIES = {
    SelfTradePolicy.NONE: SelfTrade.NONE,
    SelfTradePolicy.CANCEL_RESTING: SelfTrade.CANCEL_MAKER,
    SelfTradePolicy.CANCEL_INCOMING: SelfTrade.CANCEL_TAKER,
}
REASONS = {Reason.UNKNOWN: "ORDER_NOT_ACTIVE", Reason.DUPLICATE: "DUPLICATE_ORDER_ID", Reason.FIELD: "INVALID_ORDER"}
OWNER = 2
"""What an owner lacks to be an account: the one that is nobody has -1."""


class Adapter:
    """The engine in Python."""

    metadata = EngineMetadata("archstone", "in Python", "Python")

    def __init__(self, config: ConformanceConfig) -> None:
        self._config = config
        self._books: dict[str, ReferenceEngine] = {}

    def apply(self, event: MarketEvent, index: int) -> Observation:
        book = self._books.get(event.symbol)
        if book is None:
            book = self._opened(event.symbol) if event.op in {"new", "clear"} else ReferenceEngine()
        told = [each for command in self._commands(book, event) for each in self._done(book, command)]
        trades = tuple(self._trade(event.symbol, each) for each in told if each.kind == Told.TRADED)
        state = self.snapshot()
        return Observation(index, outcome(event, told), trades, state.digest(), state.order_count)

    def snapshot(self) -> BookState:
        return BookState(tuple(self._shown(symbol, book) for symbol, book in sorted(self._books.items())))

    def close(self) -> None:
        pass

    def _opened(self, symbol: str) -> ReferenceEngine:
        return self._books.setdefault(symbol, ReferenceEngine())

    def _done(self, book: ReferenceEngine, command: Command) -> list[Event]:
        return book.apply(command)

    # Their events as our commands

    def _commands(self, book: ReferenceEngine, event: MarketEvent) -> list[Command]:
        if event.op == "clear":
            accounts = {order.account: None for queue in book.queues() for order in queue}
            return [Command(Kind.MASS_CANCEL, account=account) for account in accounts]
        assert event.order_id is not None
        if event.op == "new":
            return [self._new(event)]
        order = book.find(event.order_id)
        if order is None or event.op == "cancel":
            return [Command(Kind.CANCEL, event.order_id, 1 if order is None else order.account)]
        return self._reduced(order, event) if event.op == "reduce" else self._replaced(order, event)

    def _new(self, event: MarketEvent) -> Command:
        assert event.order_id is not None
        market = event.order_type is OrderType.MARKET
        return Command(
            Kind.NEW,
            event.order_id,
            event.owner + OWNER,
            Side.BUY if event.side == 1 else Side.SELL,
            Type.MARKET if market else Type.LIMIT,
            TIMES.get(event.order_type, TimeInForce.GTC),
            stp=POLICIES[self._config.self_trade_policy],
            price=0 if market else self._ticks(event.price),
            quantity=lots(event.quantity),
        )

    def _reduced(self, order: Order, event: MarketEvent) -> list[Command]:
        left = order.left - lots(event.quantity)
        if not left:
            return [Command(Kind.CANCEL, order.id, order.account)]
        return [Command(Kind.REPLACE, order.id, order.account, price=order.price, quantity=left)]

    def _replaced(self, order: Order, event: MarketEvent) -> list[Command]:
        price = order.price if event.price is None else self._ticks(event.price)
        quantity = order.left if event.quantity is None else lots(event.quantity)
        if price != order.price or quantity > order.left:
            return [Command(Kind.REPLACE, order.id, order.account, price=price, quantity=quantity)]
        new = Command(Kind.NEW, order.id, order.account, order.side, stp=order.stp, price=price, quantity=quantity)
        return [Command(Kind.CANCEL, order.id, order.account), new]

    def _ticks(self, price: float | None) -> int:
        return round((price or 0) / self._config.tick_size)

    # Our books as theirs

    def _price(self, ticks: int) -> str:
        return canonical_decimal(ticks * Decimal(str(self._config.tick_size)))

    def _quantity(self, lots: int) -> str:
        return canonical_decimal(Decimal(lots) / LOT, self._config.quantity_decimal_places)

    def _trade(self, symbol: str, event: Event) -> TradeFill:
        buy, sell = (event.id, event.other) if event.side == Side.BUY else (event.other, event.id)
        return TradeFill(symbol, buy, sell, self._price(event.price), self._quantity(event.quantity))

    def _shown(self, symbol: str, book: ReferenceEngine) -> BookSnapshot:
        buys, sells, *_ = book.queues()
        return BookSnapshot(symbol, *(tuple(self._resting(order) for order in queue) for queue in (buys, sells)))

    def _resting(self, order: Order) -> RestingOrder:
        return RestingOrder(order.id, self._price(order.price), self._quantity(order.left), order.account - OWNER)


class BothAdapter(Adapter):
    """Both engines: that in C++ must say what the one in Python says, and hold the same queues."""

    metadata = EngineMetadata("archstone", "in C++", "C++")

    def __init__(self, config: ConformanceConfig) -> None:
        super().__init__(config)
        self._fast = defaultdict[ReferenceEngine, Engine](NativeEngine)

    def _done(self, book: ReferenceEngine, command: Command) -> list[Event]:
        told = self._fast[book].apply(command)
        assert told == book.apply(command)
        assert self._fast[book].digest() == book.digest()
        return told


def lots(quantity: float | None) -> int:
    """Return a quantity as lots. It must be a whole number of them."""
    found = (quantity or 0) * LOT
    assert found == int(found), f"{quantity} is no whole number of lots"
    return int(found)


def outcome(event: MarketEvent, told: list[Event]) -> Outcome:
    """Return whether an event was done, and why not."""
    refused = next((each for each in told if each.kind == Told.REJECTED), None)
    if refused is None:
        return Outcome("applied")
    reason = REASONS[Reason(refused.reason)]
    return Outcome("rejected", "INVALID_REPLACEMENT" if (event.op, reason) == ("replace", "INVALID_ORDER") else reason)
