"""What surveillance promises: market figures for everybody, alerts with their evidence for staff."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, command, query
from archstone.systems.exchange.surveillance.candles import Interval

__all__ = [
    "Alert",
    "AlertPage",
    "Average",
    "CandlePage",
    "Market",
    "MarketCandle",
    "MarketTrade",
    "Relation",
    "Surveillance",
    "UnknownAlertError",
    "UnknownSymbolError",
]

Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
"""How a book is called; one without a name by its number."""
Limit = Annotated[int, Field(ge=1, le=1_000)]
"""Rows wanted at most, in [1, 1000]."""
AccountNumber = Annotated[int, Field(ge=1, lt=2**32)]
AlertNumber = Annotated[int, Field(ge=1, lt=2**63)]
Note = Annotated[str, StringConstraints(min_length=1, max_length=2_000, strip_whitespace=True)]
"""1 to 2,000 characters."""


class Value(BaseModel):
    """A model that cannot be changed once made."""

    model_config = ConfigDict(frozen=True)


class UnknownSymbolError(DomainError, code="exchange.unknown-symbol", status=404):
    """No book is called so."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        self.symbol = symbol

    def __str__(self) -> str:
        return f"no book is called {self.symbol!r}: look at the list of instruments"


class UnknownAlertError(DomainError, code="exchange.unknown-alert", status=404):
    """There is no such alert, or it is closed."""

    def __init__(self, alert: int) -> None:
        super().__init__(alert)
        self.alert = alert

    def __str__(self) -> str:
        return f"alert {self.alert} is not among the open ones"


class MarketCandle(Value):
    """One stretch of time. Prices in ticks."""

    start: datetime
    open: int
    high: int
    low: int
    close: int
    lots: int
    trades: int
    """0: nothing was traded, and all four prices are the last one before."""
    average: float
    """Weighted by volume; the close where nothing was traded."""
    closed: bool
    """Nothing can be added any more: commands of after its end have been read."""


class CandlePage(Value):
    """Candles without gaps, oldest first."""

    symbol: str
    interval: Interval
    candles: tuple[MarketCandle, ...]
    next_after: datetime | None
    """Give it back as `after` for those that follow. None: there are none yet."""


class MarketTrade(Value):
    """One trade. Who traded is not told."""

    sequence: int
    number: int
    """Which of its command's trades; both together name it."""
    at: datetime
    price: int
    lots: int
    aggressor: Literal["buyer", "seller"] | None
    """Who came second. None: in an auction."""


class Average(Value):
    """The average price over a time."""

    symbol: str
    since: datetime
    until: datetime
    average: float | None
    """Ticks, weighted by volume. None: nothing was traded."""
    lots: int
    trades: int


class Alert(Value):
    """Something that looks like abuse, and by what it was found."""

    id: int
    rule: Literal["layering", "washing"]
    symbol: str
    account: int
    sequence: int
    """Of the command that completed the pattern."""
    at: datetime
    parameters: str
    """JSON object: those of the rule when it was found."""
    evidence: str
    """JSON object: orders and trades, by sequence."""
    verdict: Literal["abuse", "harmless"] | None
    """None: it is open."""
    note: str | None
    closed_by: str | None
    closed_at: datetime | None


class AlertPage(Value):
    """Alerts, newest first."""

    items: tuple[Alert, ...]
    next_before: int | None
    """Give it back as `before` for older ones. None: these are the last."""


class Relation(Value):
    """An account, and the person whose it is."""

    account: int
    person: int


class Market(Contract, version="1.0"):
    """What was traded."""

    @query("/market/{symbol}/candles", public=True, requires=ANYONE, raises=(UnknownSymbolError,))
    async def candles(
        self, symbol: Symbol, interval: Interval = Interval.MINUTE, after: datetime | None = None, limit: Limit = 300
    ) -> CandlePage:
        """Return candles that begin after a moment, without gaps; without one, the last of them."""
        ...

    @query("/market/{symbol}/trades", public=True, requires=ANYONE, raises=(UnknownSymbolError,))
    async def trades(self, symbol: Symbol, limit: Limit = 100) -> tuple[MarketTrade, ...]:
        """Return the last trades, newest first."""
        ...

    @query("/market/{symbol}/average", public=True, requires=ANYONE, raises=(UnknownSymbolError,))
    async def average(self, symbol: Symbol, since: datetime, until: datetime | None = None) -> Average:
        """Return the average price weighted by volume, over whole minutes."""
        ...


class Surveillance(Contract, version="1.0"):
    """What looks like abuse."""

    @query("/surveillance/alerts", public=True, requires="surveillance:read")
    async def alerts(
        self, state: Literal["open", "all"] = "open", before: AlertNumber | None = None, limit: Limit = 50
    ) -> AlertPage:
        """Return alerts, newest first: those nobody has judged, or all."""
        ...

    @command(
        "/surveillance/alerts/{alert}/verdict", public=True, requires="surveillance:judge", raises=(UnknownAlertError,)
    )
    async def close(self, alert: AlertNumber, verdict: Literal["abuse", "harmless"], note: Note) -> None:
        """Say what became of an alert, once."""
        ...

    @command("/surveillance/relations", public=True, requires="surveillance:judge")
    async def relate(self, account: AccountNumber, person: AccountNumber | None) -> None:
        """Say whose an account is, by a number of the person; None: nobody's but its own."""
        ...

    @query("/surveillance/relations", public=True, requires="surveillance:read")
    async def relations(self) -> tuple[Relation, ...]:
        """Return all accounts that belong to a person, at most 10,000."""
        ...
