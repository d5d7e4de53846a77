"""What the desk promises to people and their programs: the market to everybody, trading to whoever has an account.

Prices are whole ticks, quantities whole lots, money whole cents; `/instruments` says what a tick and a lot are.

One thing above 400 lines: what is said on one interface, its fields one by one.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, command, query
from archstone.systems.exchange.desk.words import PhaseWord, SelfTradeWord, SideWord, TifWord
from archstone.systems.exchange.matching import MAX_PRICE, MAX_QUANTITY
from archstone.systems.exchange.venue.port import MAX_NUMBER

__all__ = [
    "Bucket",
    "Candle",
    "CandlePage",
    "Depth",
    "Fill",
    "FillPage",
    "Instrument",
    "InstrumentPage",
    "Latency",
    "LatencyPage",
    "Level",
    "Limits",
    "Lots",
    "Most",
    "NewOrder",
    "Number",
    "Order",
    "OrderPage",
    "OrderRefusedError",
    "Outcome",
    "Portfolio",
    "Position",
    "Price",
    "Quotes",
    "Symbol",
    "Trade",
    "TradePage",
    "Trading",
    "UnknownInstrumentError",
    "UnknownOrderError",
    "Value",
]

Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9-]{0,11}$")]
Number = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
"""What an account calls an order: each new one has a higher number than all before."""
Price = Annotated[int, Field(ge=1, le=MAX_PRICE)]
Lots = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
Instant = Annotated[int, Field(ge=0)]
"""Nanoseconds since 1970."""


class UnknownInstrumentError(DomainError, code="exchange.unknown-instrument", status=404):
    """Nothing of that symbol is traded."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        self.symbol = symbol

    def __str__(self) -> str:
        return f"nothing called {self.symbol!r} is traded here: GET /instruments lists what is"


class UnknownOrderError(DomainError, code="exchange.unknown-order", status=404):
    """The account has no order of that number that is still known."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"you have no order {self.number}, or it ended long ago: GET /orders lists those that work"


class OrderRefusedError(DomainError, code="exchange.order-refused", status=409):
    """The exchange refused a command; nothing has changed. `reason` is one of a fixed list of words."""

    def __init__(self, number: int, reason: str, text: str) -> None:
        super().__init__(number, reason, text)
        self.number = number
        self.reason = reason
        self.text = text

    def __str__(self) -> str:
        return f"order {self.number} was refused: {self.text} ({self.reason})"


class Value(BaseModel):
    """A model that cannot be changed once made."""

    model_config = ConfigDict(frozen=True)


class Instrument(Value):
    """Something that is traded, and how it does."""

    symbol: Symbol
    book: int
    """Its number in the binary protocol and in market data."""
    name: str
    lot: str
    tick: int
    """Units of the last shown digit of a price in one tick."""
    decimals: int
    """Digits of a price after the point: a price is `ticks * tick / 10**decimals`."""
    value: int
    """Cents that a lot is worth per tick."""
    most_lots: int
    """Of one order."""
    phase: PhaseWord
    last: int
    """Price of the newest trade, or where trading began."""
    first: int
    """Price that changes are measured from: the last one of the day before."""
    high: int
    """Of this day's trades, UTC; 0: there was none."""
    low: int
    """The same."""
    lots: int
    """Traded this day."""
    bid: int
    """Best price of buyers; 0: there is none."""
    ask: int
    """Best price of sellers; 0: there is none."""


class InstrumentPage(Value):
    """All that is traded."""

    items: tuple[Instrument, ...]


class Level(Value):
    """One price of one side."""

    price: int
    lots: int
    orders: int


class Depth(Value):
    """The best prices of both sides, the best first."""

    symbol: Symbol
    sequence: int
    """Of the last command that it shows."""
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Trade(Value):
    """A trade. `side` is that of who came; None: an auction."""

    sequence: int
    at_ns: Instant
    price: int
    lots: int
    side: SideWord | None


class TradePage(Value):
    """Trades, newest first."""

    items: tuple[Trade, ...]


class Candle(Value):
    """What became of the price in one stretch of time."""

    begins_s: int
    open: int
    high: int
    low: int
    close: int
    lots: int


class CandlePage(Value):
    """Candles, oldest first. A stretch without trades has none."""

    items: tuple[Candle, ...]


class Order(Value):
    """An order of an account."""

    number: Number
    symbol: Symbol
    side: SideWord
    price: int
    """0: a market order."""
    quantity: int
    left: int
    filled: int
    tif: TifWord
    display: int
    """Lots shown at a time; 0: all."""
    trigger: int
    """It sleeps until a trade touches this price; 0: it is awake."""
    post_only: bool
    status: Annotated[str, StringConstraints(pattern="^(working|sleeping|filled|canceled)$")]
    reason: str
    """Why it was canceled, one word; empty: it was not."""
    at_ns: Instant


class NewOrder(Value):
    """An order to be placed."""

    symbol: Symbol
    side: SideWord
    quantity: Lots
    number: Number | None = None
    """None: the next one."""
    price: Price | None = None
    """None: a market order."""
    tif: TifWord | None = None
    """None: `gtc` with a price, `ioc` without."""
    display: Lots | None = None
    """Lots shown at a time. None: all."""
    trigger: Price | None = None
    """None: it does not sleep."""
    post_only: bool = False
    self_trade: SelfTradeWord = "cancel_taker"


class OrderPage(Value):
    """Orders, newest first."""

    items: tuple[Order, ...]


class Fill(Value):
    """A trade of one of the account's orders."""

    sequence: int
    at_ns: Instant
    number: Number
    symbol: Symbol
    side: SideWord
    price: int
    lots: int
    role: Annotated[str, StringConstraints(pattern="^(taker|maker|auction)$")]


class FillPage(Value):
    """Fills, newest first."""

    items: tuple[Fill, ...]


class Outcome(Value):
    """What became of a command by the time that it was answered."""

    sequence: int
    order: Order


class Position(Value):
    """What is held of one instrument, or owed."""

    symbol: Symbol
    lots: int
    """Below 0: owed."""
    cost: int
    """Cents paid for what is held; below 0: got for what is owed."""
    realised: int
    """Cents made with what is held no more, before fees."""
    open_profit: int
    """Cents that would be made at the last price, before fees."""


class Portfolio(Value):
    """How an account stands, at the last prices; money in cents."""

    account: int
    cash: int
    paid_in: int
    fees: int
    """What trading has cost so far, as clearing books it; `cash` and `worth` do not know of it. Below 0: rebates."""
    worth: int
    """Cash and positions."""
    profit: int
    """What it is worth less fees and what was paid in."""
    reserved: int
    """What open buys cost at worst."""
    available: int
    """Buying power: cash and credit, less what is reserved, margin, and what all that is owed would cost."""
    exposure: int
    """All positions, each taken as positive."""
    killed: bool
    """Whether its orders are refused."""
    positions: tuple[Position, ...]


class Limits(Value):
    """What an account is bound to. None: to nothing."""

    credit: int | None
    """Cents that may be missing."""
    quantity: int | None
    """Lots of one order."""
    value: int | None
    """Cents of one order."""
    position: int | None
    """Lots of one book, once all that is open were done."""
    rate: int | None
    """Commands within a second."""
    orders: int | None
    """Working orders."""


class Most(Value):
    """How much of an order would be taken, as things are."""

    lots: int
    """By money and limits; 0: none. Whether the price is taken is another question."""
    price: int
    """The worst price that it is reckoned by; of a market order the collar's bound."""


class Bucket(Value):
    """How many took at most so long, and longer than the bucket before says."""

    at_most_ns: int
    count: int


class Latency(Value):
    """How long something took, counted since the start. Nanoseconds; 0: nothing was counted."""

    what: str
    engine: str
    """Its class."""
    count: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    most_ns: int
    buckets: tuple[Bucket, ...]


class LatencyPage(Value):
    """What is measured."""

    items: tuple[Latency, ...]


class Quotes(Contract, version="1.0"):
    """What everybody may see, as it is now."""

    @query("/instruments", public=True, requires=ANYONE)
    async def instruments(self) -> InstrumentPage:
        """Return all that is traded, with its best prices."""
        ...

    @query("/instruments/{symbol}/depth", public=True, requires=ANYONE, raises=(UnknownInstrumentError,))
    async def depth(self, symbol: Symbol, levels: Annotated[int, Field(ge=1, le=200)] = 20) -> Depth:
        """Return the best prices of both sides."""
        ...

    @query("/instruments/{symbol}/trades", public=True, requires=ANYONE, raises=(UnknownInstrumentError,))
    async def trades(self, symbol: Symbol, limit: Annotated[int, Field(ge=1, le=1000)] = 100) -> TradePage:
        """Return the newest trades."""
        ...

    @query("/instruments/{symbol}/candles", public=True, requires=ANYONE, raises=(UnknownInstrumentError,))
    async def candles(self, symbol: Symbol, step_s: Annotated[int, Field(ge=1, le=3600)] = 60) -> CandlePage:
        """Return the newest candles of 1, 60, 300 or 3600 seconds, at most a thousand; other lengths have none."""
        ...

    @query("/engine/latency", public=True, requires=ANYONE)
    async def latency(self) -> LatencyPage:
        """Return how long the engine takes."""
        ...


class Trading(Contract, version="1.0"):
    """What an account does. A command may be sent again under the number of its order: it is done once."""

    @command(
        "/orders", public=True, requires="orders:write", raises=(OrderRefusedError, UnknownInstrumentError),
        record=False, key_required=False,
    )  # fmt: skip
    async def place(self, order: NewOrder) -> Outcome:
        """Place an order: without a price a market order, with a trigger a stop.

        With a number it is placed once, however often it is sent: the answer is how the order stands now. Without one
        it gets the next, and is another order each time.
        """
        ...

    @command(
        "/orders/{number}", method="DELETE", public=True, requires="orders:write",
        raises=(OrderRefusedError, UnknownOrderError), record=False, key_required=False,
    )  # fmt: skip
    async def cancel(self, number: Number) -> Outcome:
        """Cancel an order; one that has ended is answered as it ended."""
        ...

    @command(
        "/orders/{number}", method="PATCH", public=True, requires="orders:write",
        raises=(OrderRefusedError, UnknownOrderError), record=False, key_required=False,
    )  # fmt: skip
    async def replace(self, number: Number, quantity: Lots, price: Price | None = None) -> Outcome:
        """Change what is to be open of an order from now on, and its price; less at the same price keeps its place."""
        ...

    @command(
        "/orders/cancel", public=True, requires="orders:write", raises=(UnknownInstrumentError,), record=False,
        key_required=False,
    )  # fmt: skip
    async def cancel_all(self, symbol: Symbol | None = None, side: SideWord | None = None) -> OrderPage:
        """Cancel all orders of the account, or those of one instrument or side, and return them."""
        ...

    @query("/orders", public=True, requires="orders:read")
    async def orders(self, symbol: Symbol | None = None, ended: bool = False) -> OrderPage:  # noqa: FBT001, FBT002
        """Return the orders that work, or the newest two hundred that have ended."""
        ...

    @query("/orders/{number}", public=True, requires="orders:read", raises=(UnknownOrderError,))
    async def order(self, number: Number) -> Order:
        """Return an order."""
        ...

    @query("/fills", public=True, requires="orders:read")
    async def fills(self, limit: Annotated[int, Field(ge=1, le=500)] = 100) -> FillPage:
        """Return the newest fills."""
        ...

    @query("/portfolio", public=True, requires="orders:read")
    async def portfolio(self) -> Portfolio:
        """Return cash, positions and profit."""
        ...

    @query("/limits", public=True, requires="orders:read")
    async def limits(self) -> Limits:
        """Return what the account is bound to."""
        ...

    @query("/limits/most", public=True, requires="orders:read", raises=(UnknownInstrumentError,))
    async def most(
        self, symbol: Symbol, side: SideWord, price: Price | None = None, trigger: Price | None = None
    ) -> Most:
        """Return how many lots of an order the account may have at most, by its money and its limits."""
        ...
